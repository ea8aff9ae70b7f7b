// The outage log when it is opened: what was not synchronised is dropped, and whatever else is not as it was
// written is refused without a change on disk.
#include "spool_outage_log_support.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <random>

namespace walferry {
namespace {

using namespace test;

TEST(OutageLog, DropsWhatIsNoWholeTransaction) {
    TestFolder folder;
    for (const int32_t frames : {1, 300}) {  // in one segment, over several
        {
            OutageLog log(folder.path(), "task", kRoom, kSmall);
            log.begin_session(kSource);
            append(log, {.row = 7, .define = true, .session = true}, Lsn{log.end().value + 10});
            for (int32_t row = 0; row < frames; row++) append(log, {.row = row, .size = 1000}, Lsn{});
            log.sync();
        }
        OutageLog log(folder.path(), "task", kRoom, kSmall);
        EXPECT_EQ(rows_of(log).back(), 7);
        EXPECT_EQ(log.end(), log.durable_end());
    }
    OutageLog log(folder.path(), "task", kRoom, kSmall);
    EXPECT_EQ(rows_of(log), (std::vector<int32_t>{7, 7}));
    EXPECT_EQ(log.end(), Lsn{20});
    EXPECT_EQ(segments_in(folder).size(), 2u);
}

TEST(OutageLog, DropsEverythingIfNothingIsWhole) {
    TestFolder folder;
    {
        OutageLog log(folder.path(), "task", kRoom, kSmall);
        log.begin_session(kSource);
        append(log, {.row = 0, .define = true, .session = true}, {});
        for (int32_t row = 1; row < 300; row++) append(log, {.row = row, .size = 1000}, Lsn{});
        log.sync();
    }
    OutageLog log(folder.path(), "task", kRoom, kSmall);
    EXPECT_TRUE(log.empty());
    EXPECT_GT(log.dropped_bytes(), 300000u);
    EXPECT_TRUE(segments_in(folder).empty());
    log.begin_session(kSource);
    write_rows(log, 0, 10);
    EXPECT_EQ(rows_of(log), numbers(0, 10));
}

// A machine that stops may have written any part of what was not synchronised.
TEST(OutageLog, DropsATornTailWhereverItWasTorn) {
    TestFolder folder;
    uint64_t synced = 0;
    {
        OutageLog log(folder.path(), "task", kRoom, kUnsynced);
        log.begin_session(kSource);
        write_rows(log, 0, 20, 100);
        log.sync();
        const std::string before = content_of(folder.path()).begin()->second;
        synced = before.find_last_not_of('\0') + 1;
        append(log, {.row = 20, .size = 150}, Lsn{210});
        append(log, {.row = 21, .size = 90}, Lsn{220});
    }
    const auto files = content_of(folder.path());
    const std::string name = files.begin()->first;
    ASSERT_TRUE(name.ends_with(".segment"));
    const std::string& whole = files.begin()->second;
    const uint64_t written = whole.find_last_not_of('\0') + 1;
    ASSERT_GT(written, synced + 240);
    const auto check = [&](uint64_t at) {
        OutageLog log(folder.path(), "task", kRoom, kUnsynced);
        ASSERT_EQ(log.end(), Lsn{200}) << at;
        ASSERT_EQ(log.durable_end(), Lsn{200}) << at;
        log.begin_session(kSource);
        write_rows(log, 20, 22, 100);
        log.sync();
        ASSERT_EQ(rows_of(log), numbers(0, 22)) << at;
    };
    for (uint64_t at = synced + 7; at < written; at++) {
        for (const std::string& rest :
             {std::string(), std::string(whole.size() - at, '\0'), std::string(whole.size() - at, '\xa5')}) {
            auto torn = files;
            torn[name] = whole.substr(0, at) + rest;
            restore(folder.path(), torn);
            check(at);
        }
    }
    restore(folder.path(), files);
    check(written);
}

TEST(OutageLog, RefusesAFlippedBitWithoutAChange) {
    TestFolder folder;
    {
        OutageLog log(folder.path(), "task", kRoom, kUnsynced);
        log.begin_session(kSource);
        write_rows(log, 0, 300, 333);
        log.begin_session(kSource);
        append(log, {.row = 300, .size = 100, .define = true, .session = true}, Lsn{5000});
        log.sync();
    }
    const auto segments = segments_in(folder);
    ASSERT_GE(segments.size(), 2u);
    for (const fs::path& path : segments) {
        const std::string text = content_of(folder.path())[path.filename().string()];
        const uint64_t size = text.find_last_not_of('\0') + 1;
        // Every byte of the header's used part, of the first entries and of the last ones, others in between.
        for (uint64_t at = 0; at < size;
             at += at < 80 || (at > 4090 && at < 4700) || at + 220 > size ? 1 : 509) {
            flip(path, at);
            const auto before = content_of(folder.path());
            ASSERT_EQ(error_of([&] { OutageLog(folder.path(), "task", kRoom, kUnsynced); }),
                      ErrorCode::outage_log_damaged)
                << path << " at " << at;
            ASSERT_EQ(content_of(folder.path()), before) << path << " at " << at;
            flip(path, at);
        }
    }
    EXPECT_EQ(rows_of(OutageLog(folder.path(), "task", kRoom, kUnsynced)), numbers(0, 301));
}

// No single fault of the state may cost what was confirmed.
TEST(OutageLog, KeepsEverythingWhenACopyOfItsStateIsLost) {
    TestFolder folder;
    for (int32_t turn = 0; turn < 4; turn++) {
        {
            OutageLog log(folder.path(), "task", kRoom, kSmall);
            log.begin_session(kSource);
            write_rows(log, turn * 10, turn * 10 + 10);
            log.sync();
        }
        const auto files = content_of(folder.path());
        for (uint64_t slot = 0; slot < 3; slot++) {
            for (const uint64_t at : {0u, 9u, 14u, 40u, 60u, 3000u}) {
                flip(folder.path() / "state", slot * 4096 + at);
                {
                    OutageLog log(folder.path(), "task", kRoom, kSmall);
                    EXPECT_EQ(log.durable_end(), Lsn{uint64_t(turn * 10 + 10) * 10});
                    EXPECT_EQ(rows_of(log), numbers(0, turn * 10 + 10));
                }
                restore(folder.path(), files);
            }
        }
    }
    for (uint64_t slot = 0; slot < 3; slot++) flip(folder.path() / "state", slot * 4096 + 50);
    EXPECT_EQ(error_of([&] { OutageLog(folder.path(), "task", kRoom); }), ErrorCode::outage_log_damaged);
    fs::remove(folder.path() / "state");
    EXPECT_EQ(error_of([&] { OutageLog(folder.path(), "task", kRoom); }), ErrorCode::outage_log_damaged);
    EXPECT_FALSE(fs::exists(folder.path() / "state"));
}

TEST(OutageLog, RefusesAMissingOrShortenedOrForeignSegment) {
    TestFolder folder, other;
    for (TestFolder* each : {&folder, &other}) {
        OutageLog log(each->path(), "task", kRoom, kSmall);
        log.begin_session(kSource);
        write_rows(log, 0, 300);
        log.sync();
    }
    const auto files = content_of(folder.path());
    const auto segments = segments_in(folder);
    ASSERT_GE(segments.size(), 4u);
    const auto refused = [&](const std::string& what) {
        const auto before = content_of(folder.path());
        EXPECT_EQ(error_of([&] { OutageLog(folder.path(), "task", kRoom, kSmall); }),
                  ErrorCode::outage_log_damaged)
            << what;
        EXPECT_EQ(content_of(folder.path()), before) << what;
        restore(folder.path(), files);
    };
    for (const fs::path& path : segments) {
        fs::remove(path);
        refused("missing " + path.string());
        for (const uint64_t size : {uint64_t(0), uint64_t(100), uint64_t(4096), uint64_t(20000)}) {
            fs::resize_file(path, size);
            refused("shortened " + path.string());
        }
        fs::remove(path);
        fs::copy_file(other.path() / path.filename(), path);
        refused("foreign " + path.string());
    }
    fs::rename(segments[1], folder.path() / "swap");
    fs::rename(segments[2], segments[1]);
    fs::rename(folder.path() / "swap", segments[2]);
    refused("swapped");
    EXPECT_EQ(rows_of(OutageLog(folder.path(), "task", kRoom, kSmall)), numbers(0, 300));
}

TEST(OutageLog, RefusesAnotherTaskAndAnotherSource) {
    TestFolder folder;
    {
        OutageLog log(folder.path(), "task", kRoom, kSmall);
        log.begin_session(kSource);
        write_rows(log, 0, 3);
        log.sync();
    }
    const auto before = content_of(folder.path());
    EXPECT_EQ(error_of([&] { OutageLog(folder.path(), "task2", kRoom); }),
              ErrorCode::outage_log_other_source);
    EXPECT_EQ(content_of(folder.path()), before);
    OutageLog log(folder.path(), "task", kRoom, kSmall);
    OutageLogSource source = kSource;
    source.slot = "other";
    EXPECT_EQ(error_of([&] { log.begin_session(source); }), ErrorCode::outage_log_other_source);
    source = kSource;
    source.system = SystemId{7002};
    EXPECT_EQ(error_of([&] { log.begin_session(source); }), ErrorCode::outage_log_other_source);
    source = kSource;
    source.timeline = Timeline{2};  // a failover
    log.begin_session(source);
    write_rows(log, 3, 5);
    Consumer consumer(log);
    consumer.take();
    EXPECT_EQ(consumer.sessions, (std::vector<OutageLogSource>{kSource, source}));
}

TEST(OutageLog, RefusesANewerVersion) {
    TestFolder folder;
    {
        OutageLog log(folder.path(), "task", kRoom, kSmall);
        log.begin_session(kSource);
        write_rows(log, 0, 3);
        log.sync();
    }
    const auto files = content_of(folder.path());
    const auto make_newer = [&](const fs::path& path, uint64_t at) {
        std::array<uint8_t, 4096> block;
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(std::streamoff(at));
        file.read(reinterpret_cast<char*>(block.data()), 4096);
        block[8] = uint8_t(outage_log::kVersion + 1);
        outage_log::seal_block(block);
        file.seekp(std::streamoff(at));
        file.write(reinterpret_cast<const char*>(block.data()), 4096);
    };
    // The newer release may have written one copy only.
    for (const uint64_t at : {0u, 4096u, 8192u}) {
        make_newer(folder.path() / "state", at);
        const auto before = content_of(folder.path());
        EXPECT_EQ(error_of([&] { OutageLog(folder.path(), "task", kRoom); }), ErrorCode::outage_log_version);
        EXPECT_EQ(content_of(folder.path()), before);
        restore(folder.path(), files);
    }
    make_newer(segments_in(folder)[0], 0);
    EXPECT_EQ(error_of([&] { OutageLog(folder.path(), "task", kRoom); }), ErrorCode::outage_log_version);
}

TEST(OutageLog, BelongsToOneProcess) {
    TestFolder folder;
    OutageLog log(folder.path(), "task", kRoom);
    try {
        OutageLog second(folder.path(), "task", kRoom);
        FAIL() << "two owners";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::outage_log_in_use);
        EXPECT_NE(error.why().find(std::to_string(getpid())), std::string::npos);
    }
    log.begin_session(kSource);
    write_rows(log, 0, 1);
}

}  // namespace
}  // namespace walferry
