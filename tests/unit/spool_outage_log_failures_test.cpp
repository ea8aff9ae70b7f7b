// The outage log under a full or failing disk, a power loss and a kill: what was synchronised is there after
// every end of the process.
#include "spool_outage_log_support.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <random>

namespace walferry {
namespace {

using namespace test;

TEST(OutageLog, SaysWhenItIsFullAndTakesMoreLater) {
    TestFolder folder;
    const uint64_t limit = 5 * kSegment / 2;
    OutageLog log(folder.path(), "task", limit, kSmall);
    log.begin_session(kSource);
    append(log, {.row = 0, .define = true, .session = true}, Lsn{10});
    int32_t row = 1;
    for (; log.has_room(2000); row++) append(log, {.row = row, .size = 1000}, Lsn{uint64_t(row + 1) * 10});
    EXPECT_LE(log.used_bytes(), limit);
    EXPECT_GT(log.used_bytes(), limit - 4000);
    EXPECT_FALSE(log.why_no_room().empty());
    const Lsn end = log.end();
    const auto before = content_of(folder.path());
    EXPECT_EQ(error_of([&] { append(log, {.row = row, .size = 4000}, Lsn{99999}); }),
              ErrorCode::outage_log_full);
    EXPECT_EQ(content_of(folder.path()), before);
    EXPECT_EQ(log.end(), end);
    EXPECT_EQ(log.sync(), end);
    EXPECT_EQ(rows_of(log), numbers(0, row));
    log.release(Lsn{700});
    EXPECT_TRUE(log.has_room(2000));
    append(log, {.row = row, .size = 1000}, Lsn{uint64_t(row + 1) * 10});
    EXPECT_EQ(rows_of(log).back(), row);
}

// A limit of the process stands for a full disk: the reservation fails.
TEST(OutageLog, IsFullWhenItsDiskIs) {
    TestFolder folder;
    OutageLog log(folder.path(), "task", kRoom, kSmall);
    log.begin_session(kSource);
    write_rows(log, 0, 10);
    rlimit old{};
    ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
    rlimit small = old;
    small.rlim_cur = kSegment / 2;
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    const bool room = log.has_room(kSegment);
    const ErrorCode code = error_of([&] { append(log, {.row = 9, .size = kSegment}, Lsn{5000}); });
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
    EXPECT_FALSE(room);
    EXPECT_EQ(code, ErrorCode::outage_log_full);
    EXPECT_NE(log.why_no_room().find(strerror(EFBIG)), std::string::npos);
    EXPECT_EQ(segments_in(folder).size(), 1u);
    append(log, {.row = 10, .size = kSegment}, Lsn{5000});
    log.sync();
    EXPECT_EQ(rows_of(log), numbers(0, 11));
}

// A write that fails within a segment.
TEST(OutageLog, TakesNothingMoreAfterAFailedWrite) {
    TestFolder folder;
    {
        OutageLog log(folder.path(), "task", kRoom, kSmall);
        log.begin_session(kSource);
        write_rows(log, 0, 10, 100);
        log.sync();
        rlimit old{};
        ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
        rlimit small = old;
        small.rlim_cur = 8192;
        ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
        const ErrorCode code = error_of([&] { append(log, {.row = 10, .size = 6000}, Lsn{5000}); });
        ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old), 0);
        EXPECT_EQ(code, ErrorCode::outage_log_failed);
        EXPECT_EQ(error_of([&] { log.sync(); }), ErrorCode::outage_log_failed);
        EXPECT_EQ(error_of([&] { log.has_room(1); }), ErrorCode::outage_log_failed);
        EXPECT_EQ(error_of([&] { append(log, {.row = 10}, Lsn{5000}); }), ErrorCode::outage_log_failed);
        EXPECT_EQ(log.durable_end(), Lsn{100});
        EXPECT_EQ(rows_of(log), numbers(0, 10));  // what is in it can be drained
    }
    EXPECT_EQ(rows_of(OutageLog(folder.path(), "task", kRoom, kSmall)), numbers(0, 10));
}

int synchronise_calls = 0;
int failing_call = 0;
int synchronise_or_fail(int file) {
    if (++synchronise_calls != failing_call) return fdatasync(file);
    errno = EIO;
    return -1;
}

TEST(OutageLog, NeverTrustsWhatCouldNotBeSynchronised) {
    const OutageLogOptions options{.segment_bytes = kSegment, .synchronise = synchronise_or_fail};
    int failures = 0;
    for (failing_call = 3;; failing_call++) {  // two to make the log
        TestFolder folder;
        Lsn confirmed;
        bool failed = false;
        synchronise_calls = 0;
        {
            OutageLog log(folder.path(), "task", kRoom, options);
            try {
                log.begin_session(kSource);
                for (int32_t row = 0; row < 200; row++) {
                    append(log, {.row = row, .size = 1000, .define = row == 0, .session = row == 0},
                           Lsn{uint64_t(row + 1) * 10});
                    if (row % 40 == 39) confirmed = log.sync();
                    if (row == 150) log.release(Lsn{200});
                }
            } catch (const Error& error) {
                ASSERT_EQ(error.code(), ErrorCode::outage_log_failed);
                failed = true;
                EXPECT_EQ(log.durable_end(), confirmed);
                EXPECT_EQ(error_of([&] { log.sync(); }), ErrorCode::outage_log_failed);
                EXPECT_EQ(error_of([&] { log.release(Lsn{10}); }), ErrorCode::outage_log_failed);
                EXPECT_EQ(log.durable_end(), confirmed);
            }
        }
        if (!failed) break;
        failures++;
        synchronise_calls = 0;
        OutageLog log(folder.path(), "task", kRoom, kSmall);
        EXPECT_GE(log.durable_end(), confirmed);
        if (confirmed != Lsn{}) {
            const std::vector<int32_t> rows = rows_of(log);
            EXPECT_EQ(rows, numbers(rows.front(), int32_t(log.end().value / 10)));
            EXPECT_LE(rows.front(), 20);
        }
    }
    EXPECT_GT(failures, 10);
}

// What a disk holds that keeps nothing but what it was told to.
struct StrictDisk {
    std::map<std::string, std::string> contents;  // of each file when it was synchronised
    std::map<std::string, std::string> files;     // those whose names are on it
};
StrictDisk strict_disk;
int calls_until_power_is_lost = 0;

int synchronise_strictly(int file) {
    if (--calls_until_power_is_lost < 0) {
        errno = EIO;
        return -1;
    }
    const fs::path path = fs::read_symlink("/proc/self/fd/" + std::to_string(file));
    if (!fs::is_directory(path)) {
        std::ostringstream text;
        text << std::ifstream(path, std::ios::binary).rdbuf();
        const std::string name = path.filename().string();
        strict_disk.contents[name] = text.str();
        if (strict_disk.files.contains(name)) strict_disk.files[name] = text.str();
        return 0;
    }
    strict_disk.files.clear();
    for (const auto& entry : fs::directory_iterator(path)) {
        const std::string name = entry.path().filename().string();
        // The state gets its name after it was synchronised.
        const bool renamed = name == "state" && !strict_disk.contents.contains(name);
        strict_disk.files[name] = strict_disk.contents[renamed ? "state.new" : name];
    }
    return 0;
}

TEST(OutageLog, KeepsWhatItHasToldWhenThePowerIsLost) {
    const OutageLogOptions options{.segment_bytes = kSegment, .synchronise = synchronise_strictly};
    bool lost = true;
    int kept = 0;
    for (int calls = 0; lost; calls++) {
        TestFolder folder, disk;
        strict_disk = {};
        calls_until_power_is_lost = calls;
        lost = false;
        Lsn confirmed, released;
        try {
            OutageLog log(folder.path(), "task", kRoom, options);
            log.begin_session(kSource);
            for (int32_t row = 0; row < 400; row++) {
                append(log, {.row = row, .size = 1000, .define = row == 0, .session = row == 0},
                       Lsn{uint64_t(row + 1) * 10});
                if (row % 30 == 29) confirmed = log.sync();
                if (row == 190) {
                    released = Lsn{1300};
                    log.release(released);
                }
                if (row == 300) {
                    released = confirmed = log.end();
                    log.release(released);
                }
            }
        } catch (const Error& error) {
            ASSERT_EQ(error.code(), ErrorCode::outage_log_failed);
            lost = true;
        }
        restore(disk.path(), strict_disk.files);
        OutageLog log(disk.path(), "task", kRoom, kSmall);
        ASSERT_GE(std::max(log.durable_end(), released), confirmed) << calls;
        if (log.empty()) continue;
        const std::vector<int32_t> rows = rows_of(log);
        ASSERT_EQ(rows, numbers(rows.front(), int32_t(log.end().value / 10))) << calls;
        ASSERT_LE(uint64_t(rows.front()) * 10, released.value) << calls;
        kept++;
    }
    EXPECT_GT(kept, 20);
}

TEST(OutageLog, KeepsWhatItHasToldThroughAKill) {
    TestFolder folder;
    std::mt19937 random(7);
    Lsn confirmed;
    for (int round = 0; round < 12; round++) {
        std::array<int, 2> told;
        ASSERT_EQ(pipe(told.data()), 0);
        const pid_t child = fork();
        if (child == 0) {
            close(told[0]);  // so that it ends with this process, whatever happens here
            try {
                OutageLog log(folder.path(), "task", kRoom, kSmall);
                log.begin_session(kSource);
                int32_t row = int32_t(log.end().value / 10);
                for (bool first = true;; first = false, row++) {
                    append(log,
                           {.row = row, .size = size_t(row * 37 % 9000), .define = first, .session = first},
                           Lsn{uint64_t(row + 1) * 10});
                    if (row % 5 != 0) continue;
                    const uint64_t end = log.sync().value;
                    if (write(told[1], &end, sizeof(end)) != sizeof(end)) _exit(2);
                }
            } catch (...) {
                _exit(3);
            }
        }
        close(told[1]);
        const uint64_t reports = 1 + random() % 30;
        for (uint64_t i = 0; i < reports; i++) {
            uint64_t end = 0;
            ASSERT_EQ(read(told[0], &end, sizeof(end)), ssize_t(sizeof(end)));
            EXPECT_GT(end, confirmed.value);
            confirmed = Lsn{end};
        }
        kill(child, SIGKILL);
        int status = 0;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFSIGNALED(status));
        uint64_t end = 0;
        while (read(told[0], &end, sizeof(end)) == ssize_t(sizeof(end))) confirmed = Lsn{end};
        close(told[0]);
        OutageLog log(folder.path(), "task", kRoom, kSmall);
        ASSERT_GE(log.durable_end(), confirmed);
        ASSERT_EQ(rows_of(log), numbers(0, int32_t(log.end().value / 10)));
    }
}

TEST(OutageLog, RefusesWhatItCouldNotGiveBack) {
    TestFolder folder;
    OutageLog log(folder.path(), "task", kRoom);
    const wire::test::Frame frame = FrameOf{.define = true, .session = true}.make();
    const auto add = [&](Lsn end) { log.append({frame.data(), frame.size()}, end); };
    EXPECT_EQ(error_of([&] { add(Lsn{10}); }), ErrorCode::internal);  // no session
    log.begin_session(kSource);
    add(Lsn{10});
    EXPECT_EQ(error_of([&] { add(Lsn{10}); }), ErrorCode::internal);
    wire::test::Frame spoilt = frame;
    spoilt[20] ^= 1;
    EXPECT_EQ(error_of([&] { log.append({spoilt.data(), spoilt.size()}, Lsn{20}); }), ErrorCode::internal);
    EXPECT_EQ(rows_of(log), numbers(0, 1));
}

TEST(OutageLog, NoticesDamageWhileItIsRead) {
    TestFolder folder;
    OutageLog log(folder.path(), "task", kRoom, kSmall);
    log.begin_session(kSource);
    write_rows(log, 0, 10);
    log.sync();
    flip(segments_in(folder)[0], 7000);
    EXPECT_EQ(error_of([&] { rows_of(log); }), ErrorCode::outage_log_damaged);
}

}  // namespace
}  // namespace walferry
