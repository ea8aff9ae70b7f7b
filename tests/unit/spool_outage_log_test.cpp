// The outage log on a real file system: what was synchronised is there after every end of the process, what
// was not is dropped, and whatever else is not as it was written is refused without a change on disk.
#include "spool/outage_log.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <sstream>
#include <vector>

#include "common_wire_support.h"
#include "record/frame_walker.h"
#include "spool_test_folder.h"

namespace walferry {
namespace {

namespace fs = std::filesystem;
using test::TestFolder;
using wire::test::FrameBuilder;
using Bytes = std::vector<uint8_t>;
using Kind = OutageLog::Item::Kind;

constexpr uint64_t kRoom = uint64_t(1) << 30;
constexpr uint64_t kSegment = 64 << 10;
const OutageLogOptions kSmall{.segment_bytes = kSegment};
// Where it is not the disk that is tested.
const OutageLogOptions kUnsynced{.segment_bytes = kSegment, .synchronise = [](int) { return 0; }};
const OutageLogSource kSource{SystemId{7001}, Timeline{1}, "slot", "shop"};

ErrorCode error_of(const std::function<void()>& action) {
    try {
        action();
    } catch (const Error& error) {
        return error.code();
    }
    ADD_FAILURE() << "no error";
    return ErrorCode::internal;
}

// A frame of one row of relation `id`, whose text says `row` and is `size` bytes long.
struct FrameOf {
    uint32_t id = 1;
    int32_t row = 0;
    size_t size = 20;
    bool define = false;
    bool session = false;
    std::vector<uint32_t> retire = {};
    wire::FrameKind kind = wire::FrameKind::transaction;

    wire::test::Frame make() const {
        const std::vector<wire::ColumnParts> columns = wire::test::example_columns();
        const std::string name = "t" + std::to_string(id);
        const wire::SessionParts parts{"0.1.0", 150020, "shop", "UTF8"};
        FrameBuilder builder;
        builder.parts.kind = kind;
        if (session) builder.parts.session = &parts;
        if (define) builder.add(wire::test::relation(id, name.c_str(), columns));
        for (const uint32_t retired : retire) builder.retire(retired);
        builder.add(wire::Operation::Insert, id, wire::kAfter,
                    wire::test::little_endian(uint32_t(row), 4) +
                        wire::test::sized(std::string(size, char('a' + row % 26))));
        const wire::Run run{1, 742, 1};
        if (wire::in_progress(kind)) {
            builder.parts.runs = &run;
            builder.parts.run_count = 1;
        }
        return builder.build();
    }
};

void append(OutageLog& log, const FrameOf& frame, Lsn end) {
    const wire::test::Frame bytes = frame.make();
    log.append({bytes.data(), bytes.size()}, end);
}

void observe(OutageLog& log, const FrameOf& frame) {
    const wire::test::Frame bytes = frame.make();
    wire::FrameReader reader;
    ASSERT_TRUE(reader.open(bytes.data(), bytes.size()).ok());
    log.observe(reader.header(), reader.batch());
}

// What a user of the log does: one walker per session, relations where they are told, rows of frames.
class Consumer {
 public:
    explicit Consumer(const OutageLog& log) : reader_(log) {}

    // Takes what there is; returns whether there was anything.
    bool take() {
        bool any = false;
        while (const auto item = reader_.next()) {
            any = true;
            if (item->kind == Kind::session) {
                walker_.emplace();
                sessions.push_back(*item->source);
                continue;
            }
            EXPECT_EQ((reinterpret_cast<uintptr_t>(item->frame.data()) + 7) % 8, 0u);
            if (!walker_) {
                ADD_FAILURE() << "a frame without a session";
                return any;
            }
            if (item->known)
                walker_->reopen(item->frame);
            else
                walker_->open(item->frame, *this);
            if (item->kind == Kind::relations) {
                ++heads;
                continue;
            }
            if (walker_->header().kind == wire::FrameKind::transaction) {
                walker_->visit(Ordinal{}, 0, *this);
                walker_->retire(1);
                walker_->release(1);
            } else {
                Ordinal next;
                walker_->visit_in_progress(walker_->transaction(), 0, {}, Ordinal{}, next, *this);
            }
            frames.emplace_back(item->frame.begin(), item->frame.end());
            ends.push_back(item->end);
            synced += item->synced;
        }
        return any;
    }

    void on_relation(FrameWalker<int>::Entry& entry) { relations.push_back(entry.schema.table); }
    void on_row(FrameWalker<int>::Entry& entry, const Row& row) {
        EXPECT_EQ(row.after[0].size, 4u);
        rows.push_back(int32_t(wire::load_u32(row.after[0].data)));
        EXPECT_EQ(entry.schema.server_version, server_version);
    }
    void on_message(const LogicalMessage&) {}

    std::vector<OutageLogSource> sessions;
    std::vector<std::string> relations;
    std::vector<int32_t> rows;
    std::vector<Bytes> frames;
    std::vector<Lsn> ends;
    size_t heads = 0;
    size_t synced = 0;
    uint32_t server_version = 150020;

 private:
    OutageLog::Reader reader_;
    std::optional<FrameWalker<int>> walker_;
};

std::vector<int32_t> rows_of(const OutageLog& log) {
    Consumer consumer(log);
    consumer.take();
    return consumer.rows;
}

std::vector<int32_t> numbers(int32_t from, int32_t to) {
    std::vector<int32_t> all;
    for (int32_t i = from; i < to; i++) all.push_back(i);
    return all;
}

// `count` transactions of one frame each, the row's number times 10 being the end.
void write_rows(OutageLog& log, int32_t from, int32_t to, size_t size = 1000) {
    for (int32_t row = from; row < to; row++) {
        append(log, {.row = row, .size = size, .define = row == from, .session = row == from},
               Lsn{uint64_t(row + 1) * 10});
    }
}

std::map<std::string, std::string> content_of(const fs::path& folder) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(folder)) {
        std::ostringstream text;
        text << std::ifstream(entry.path(), std::ios::binary).rdbuf();
        if (entry.path().filename() != "lock") files[entry.path().filename().string()] = text.str();
    }
    return files;
}

void restore(const fs::path& folder, const std::map<std::string, std::string>& files) {
    for (const auto& entry : fs::directory_iterator(folder)) fs::remove(entry.path());
    for (const auto& [name, text] : files) std::ofstream(folder / name, std::ios::binary) << text;
}

std::vector<fs::path> segments_in(const TestFolder& folder) {
    std::vector<fs::path> files = folder.files(".segment");
    std::sort(files.begin(), files.end());
    return files;
}

void flip(const fs::path& path, uint64_t at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(std::streamoff(at));
    const char byte = char(file.get() ^ 0x10);
    file.seekp(std::streamoff(at));
    file.put(byte);
}

TEST(OutageLog, IsEmptyAtFirst) {
    TestFolder folder;
    std::string id;
    {
        OutageLog log(folder.path() / "made" / "here", "task", kRoom);
        EXPECT_TRUE(log.empty());
        EXPECT_EQ(log.end(), Lsn{});
        EXPECT_EQ(log.durable_end(), Lsn{});
        EXPECT_EQ(log.used_bytes(), 0u);
        EXPECT_FALSE(log.source());
        EXPECT_EQ(log.sync(), Lsn{});
        EXPECT_FALSE(OutageLog::Reader(log).next());
        id = log.id();
        EXPECT_EQ(id.size(), 36u);
    }
    EXPECT_EQ(OutageLog(folder.path() / "made" / "here", "task", kRoom).id(), id);
    EXPECT_NE(OutageLog(folder.path() / "other", "task", kRoom).id(), id);
}

TEST(OutageLog, GivesBackSessionsAndFramesInOrder) {
    TestFolder folder;
    std::mt19937 random(1);
    std::vector<Bytes> frames;
    std::vector<Lsn> ends;
    std::vector<OutageLogSource> sessions;
    const auto check = [&](const OutageLog& log) {
        Consumer consumer(log);
        consumer.take();
        EXPECT_EQ(consumer.frames, frames);
        EXPECT_EQ(consumer.ends, ends);
        EXPECT_EQ(consumer.sessions, sessions);
        EXPECT_EQ(consumer.synced, frames.size());
        EXPECT_EQ(consumer.heads, 0u);  // who reads everything needs no repetition
    };
    {
        OutageLog log(folder.path(), "task", kRoom, kSmall);
        for (uint32_t session = 1; session <= 5; session++) {
            sessions.push_back({SystemId{7001}, Timeline{session}, "slot", "shop"});
            log.begin_session(sessions.back());
            for (int32_t i = 0; i < 100; i++) {
                // Of all sizes, one larger than any segment; a transaction of up to three frames.
                const size_t size = i == 50 ? 3 * kSegment : random() % 5000;
                const FrameOf frame{.id = uint32_t(1 + i / 20),
                                    .row = i,
                                    .size = size,
                                    .define = i % 20 == 0,
                                    .session = i == 0};
                const Lsn end{i % 3 == 0 ? (session * 1000 + uint64_t(i)) * 8 : 0};
                append(log, frame, end);
                frames.push_back(frame.make().bytes());
                ends.push_back(end);
            }
        }
        EXPECT_LT(log.durable_end(), log.end());
        EXPECT_EQ(log.sync(), log.end());
        EXPECT_EQ(log.end(), Lsn{5099 * 8});
        EXPECT_GT(segments_in(folder).size(), 20u);
        check(log);
    }
    OutageLog log(folder.path(), "task", kRoom, kSmall);
    EXPECT_EQ(log.durable_end(), Lsn{5099 * 8});
    EXPECT_EQ(log.begin(), Lsn{});
    EXPECT_EQ(log.source(), sessions.back());
    EXPECT_EQ(log.dropped_bytes(), 0u);
    check(log);
}

TEST(OutageLog, CountsItsRoom) {
    TestFolder folder;
    OutageLog log(folder.path(), "task", kRoom, kSmall);
    log.begin_session(kSource);
    write_rows(log, 0, 300);
    log.sync();
    uint64_t on_disk = 0;
    for (const auto& path : segments_in(folder)) on_disk += fs::file_size(path);
    EXPECT_EQ(log.used_bytes(), on_disk);
    const uint64_t before = log.used_bytes();
    const uint64_t released = log.release(Lsn{1500});
    EXPECT_GT(released, 0u);
    EXPECT_EQ(log.used_bytes(), before - released);
    // What ended later is all there, from the segment's beginning on.
    const std::vector<int32_t> rows = rows_of(log);
    EXPECT_EQ(rows, numbers(rows.front(), 300));
    EXPECT_LE(rows.front(), 150);
    EXPECT_GT(rows.front(), 50);
    EXPECT_EQ(log.begin(), Lsn{uint64_t(rows.front()) * 10});
    EXPECT_EQ(log.release(Lsn{1500}), 0u);
}

TEST(OutageLog, IsEmptyWhenEverythingIsReleased) {
    TestFolder folder;
    {
        OutageLog log(folder.path(), "task", kRoom, kSmall);
        log.begin_session(kSource);
        write_rows(log, 0, 100);
        Consumer consumer(log);
        consumer.take();
        log.release(Lsn{999});
        EXPECT_FALSE(log.empty());
        EXPECT_GT(log.release(Lsn{1000}), 0u);
        EXPECT_TRUE(log.empty());
        EXPECT_EQ(log.used_bytes(), 0u);
        EXPECT_EQ(log.begin(), Lsn{1000});
        EXPECT_EQ(log.durable_end(), Lsn{1000});  // it needs no disk any more
        EXPECT_TRUE(segments_in(folder).empty());
        // The session goes on; who has read everything hears nothing twice, who begins now hears what he
        // needs.
        append(log, {.row = 100}, Lsn{1010});
        consumer.take();
        EXPECT_EQ(consumer.rows, numbers(0, 101));
        EXPECT_EQ(consumer.sessions.size(), 1u);
        EXPECT_EQ(rows_of(log), numbers(100, 101));
        log.release(Lsn{1010});
    }
    OutageLog log(folder.path(), "task", kRoom, kSmall);
    EXPECT_TRUE(log.empty());
    EXPECT_EQ(log.end(), Lsn{1010});
    log.begin_session({SystemId{5}, Timeline{1}, "another slot", "shop"});  // nothing here objects
    append(log, {.row = 1, .define = true, .session = true}, Lsn{2000});
    log.sync();
    EXPECT_EQ(rows_of(log), numbers(1, 2));
}

TEST(OutageLog, KeepsTheSegmentsOfATransactionThatHasNotEnded) {
    TestFolder folder;
    OutageLog log(folder.path(), "task", kRoom, kSmall);
    log.begin_session(kSource);
    append(log, {.row = 0, .define = true, .session = true}, Lsn{100});
    for (int32_t row = 1; row < 200; row++) append(log, {.row = row, .size = 1000}, Lsn{});
    const size_t before = segments_in(folder).size();
    EXPECT_GT(before, 3u);
    EXPECT_EQ(log.release(Lsn{100}), 0u);
    append(log, {.row = 200}, Lsn{200});
    append(log, {.row = 201}, Lsn{201});
    EXPECT_EQ(log.release(Lsn{199}), 0u);
    EXPECT_GT(log.release(Lsn{200}), 0u);
    EXPECT_EQ(segments_in(folder).size(), 1u);  // the one being written has a transaction that is needed
    EXPECT_EQ(log.begin(), Lsn{200});
    EXPECT_EQ(rows_of(log), numbers(201, 202));
}

TEST(OutageLog, PassesOverTheRestOfATransactionThatWasReleased) {
    TestFolder folder;
    for (const bool reopened : {false, true}) {
        std::optional<OutageLog> log;
        log.emplace(folder.path(), "task", kRoom, kSmall);
        if (!reopened) {
            log->begin_session(kSource);
            append(*log, {.id = 1, .row = 0, .define = true, .session = true}, Lsn{100});
            while (segments_in(folder).size() < 3) append(*log, {.id = 1, .row = 1, .size = 1000}, Lsn{});
            // Later transactions use what the rest of this one tells.
            append(*log, {.id = 2, .row = 2, .define = true}, Lsn{});
            append(*log, {.id = 1, .row = 3}, Lsn{200});
            append(*log, {.id = 2, .row = 4}, Lsn{300});
            append(*log, {.id = 1, .row = 5}, Lsn{400});
            log->sync();
            EXPECT_GT(log->release(Lsn{200}), 0u);
        }
        EXPECT_EQ(log->begin(), Lsn{200});
        Consumer consumer(*log);
        consumer.take();
        EXPECT_EQ(consumer.rows, numbers(4, 6));
        EXPECT_EQ(consumer.ends, (std::vector<Lsn>{Lsn{300}, Lsn{400}}));
        EXPECT_EQ(consumer.relations, (std::vector<std::string>{"t1", "t2"}));
    }
}

// Kafka may hold more than was read here: what another one had written, say.
TEST(OutageLog, PassesOverWhatIsReleasedBeforeItWasRead) {
    TestFolder folder;
    OutageLog log(folder.path(), "task", kRoom, kSmall);
    log.begin_session(kSource);
    write_rows(log, 0, 100);
    Consumer consumer(log);
    consumer.take();
    write_rows(log, 100, 400);
    EXPECT_GT(log.release(Lsn{3000}), 0u);
    consumer.take();
    const int32_t first = consumer.rows[100];
    EXPECT_GT(first, 200);
    EXPECT_LE(first, 300);
    std::vector<int32_t> expected = numbers(0, 100);
    for (int32_t row = first; row < 400; row++) expected.push_back(row);
    EXPECT_EQ(consumer.rows, expected);
    EXPECT_EQ(consumer.sessions.size(), 2u);
    EXPECT_EQ(consumer.heads, 1u);
}

TEST(OutageLog, IsReadWhileItIsWritten) {
    TestFolder folder;
    OutageLog log(folder.path(), "task", kRoom, kSmall);
    Consumer consumer(log);
    EXPECT_FALSE(consumer.take());
    log.begin_session(kSource);
    int32_t row = 0;
    for (int32_t step = 1; step < 60; step++) {
        write_rows(log, row, row + 1);
        row++;
        for (int32_t i = 0; i < step; i++, row++)
            append(log, {.row = row, .size = 700}, Lsn{uint64_t(row + 1) * 10});
        if (step % 3 == 0) log.sync();
        EXPECT_TRUE(consumer.take());
        EXPECT_FALSE(consumer.take());
        EXPECT_EQ(consumer.rows.back(), row - 1);
        if (step % 7 == 0) log.release(Lsn{uint64_t(row) * 10});
        log.begin_session(kSource);
    }
    EXPECT_EQ(consumer.rows, numbers(0, row));
    EXPECT_EQ(consumer.sessions.size(), 59u);
    EXPECT_EQ(consumer.heads, 0u);
}

TEST(OutageLog, TellsTheLiveRelationsInEverySegment) {
    TestFolder folder;
    const auto check = [](const OutageLog& log) {
        Consumer consumer(log);
        consumer.take();
        EXPECT_EQ(consumer.rows, numbers(consumer.rows.front(), 400));
        EXPECT_GT(consumer.rows.front(), 250);
        EXPECT_EQ(consumer.heads, 1u);
        EXPECT_EQ(consumer.sessions, std::vector<OutageLogSource>{kSource});
        // 2 was retired in a segment that is gone.
        EXPECT_EQ(consumer.relations, (std::vector<std::string>{"t1", "t3"}));
    };
    {
        OutageLog log(folder.path(), "task", kRoom, kSmall);
        log.begin_session(kSource);
        append(log, {.id = 1, .row = 0, .define = true, .session = true}, Lsn{10});
        append(log, {.id = 2, .row = 1, .define = true}, Lsn{20});
        append(log, {.id = 3, .row = 2, .define = true}, Lsn{30});
        append(log, {.id = 2, .row = 3, .retire = {2}}, Lsn{40});
        for (int32_t row = 4; row < 400; row++) {
            append(log, {.id = row % 2 ? 1u : 3u, .row = row, .size = 1000}, Lsn{uint64_t(row + 1) * 10});
        }
        log.sync();
        log.release(Lsn{3200});
        check(log);
    }
    check(OutageLog(folder.path(), "task", kRoom, kSmall));
}

// The relation is read back as it was sent.
TEST(OutageLog, TellsARelationWithAllItsParts) {
    TestFolder folder;
    OutageLog log(folder.path(), "task", kRoom, kSmall);
    log.begin_session(kSource);
    const std::array<const char*, 2> labels{"red", "green"};
    std::vector<wire::ColumnParts> columns = wire::test::example_columns();
    columns[1].enum_labels = labels.data();
    columns[1].enum_label_count = 2;
    columns[1].generated = true;
    columns[1].type_modifier = 77;
    columns[1].base_type_oid = 4711;
    wire::RelationParts relation = wire::test::relation(9, "tt", columns);
    relation.root_oid = 5;
    relation.kind = 'p';
    relation.replica_identity = 'f';
    relation.leaf_schema = "leaves";
    relation.leaf_table = "leaf";
    FrameBuilder builder;
    const wire::test::Frame frame = builder.add(relation).build();
    wire::FrameReader sent;
    ASSERT_TRUE(sent.open(frame.data(), frame.size()).ok());
    log.observe(sent.header(), sent.batch());
    append(log, {.row = 1, .define = true}, Lsn{10});

    OutageLog::Reader reader(log);
    ASSERT_TRUE(reader.next());
    const auto head = reader.next();
    ASSERT_TRUE(head && head->kind == Kind::relations);
    wire::FrameReader told;
    ASSERT_TRUE(told.open(head->frame.data(), head->frame.size()).ok());
    EXPECT_EQ(told.header().kind, wire::FrameKind::transaction);
    EXPECT_EQ(told.record_count(), 0u);
    ASSERT_EQ(told.batch().relations()->size(), 1u);
    const wire::Relation& a = *sent.batch().relations()->Get(0);
    const wire::Relation& b = *told.batch().relations()->Get(0);
    EXPECT_TRUE(wire::check_relation(b).ok());
    EXPECT_EQ(a.id(), b.id());
    EXPECT_EQ(a.oid(), b.oid());
    EXPECT_EQ(a.schema()->str(), b.schema()->str());
    EXPECT_EQ(a.table()->str(), b.table()->str());
    EXPECT_EQ(a.replica_identity(), b.replica_identity());
    EXPECT_EQ(a.kind(), b.kind());
    EXPECT_EQ(a.root_oid(), b.root_oid());
    EXPECT_EQ(a.fingerprint(), b.fingerprint());
    EXPECT_EQ(a.leaf_schema()->str(), b.leaf_schema()->str());
    EXPECT_EQ(a.leaf_table()->str(), b.leaf_table()->str());
    ASSERT_EQ(a.columns()->size(), b.columns()->size());
    for (uint32_t i = 0; i < a.columns()->size(); i++) {
        const wire::Column& c = *a.columns()->Get(i);
        const wire::Column& d = *b.columns()->Get(i);
        EXPECT_EQ(c.name()->str(), d.name()->str());
        EXPECT_EQ(c.type_name()->str(), d.type_name()->str());
        EXPECT_EQ(c.type_oid(), d.type_oid());
        EXPECT_EQ(c.type_modifier(), d.type_modifier());
        EXPECT_EQ(c.base_type_oid(), d.base_type_oid());
        EXPECT_EQ(c.value_class(), d.value_class());
        EXPECT_EQ(c.key_position(), d.key_position());
        EXPECT_EQ(c.identity(), d.identity());
        EXPECT_EQ(c.not_null(), d.not_null());
        EXPECT_EQ(c.generated(), d.generated());
        ASSERT_EQ(c.enum_labels() == nullptr, d.enum_labels() == nullptr);
        if (c.enum_labels() == nullptr) continue;
        ASSERT_EQ(c.enum_labels()->size(), d.enum_labels()->size());
        for (uint32_t l = 0; l < c.enum_labels()->size(); l++)
            EXPECT_EQ(c.enum_labels()->Get(l)->str(), d.enum_labels()->Get(l)->str());
    }
}

// Kafka goes away in the middle of a session, and there are transactions in progress.
TEST(OutageLog, TellsTheRelationsOfFramesThatAreNotLogged) {
    TestFolder folder;
    OutageLog log(folder.path(), "task", kRoom, kSmall);
    Consumer consumer(log);
    log.begin_session(kSource);
    observe(log, {.id = 1, .row = 0, .define = true, .session = true});
    observe(log, {.id = 2, .row = 0, .define = true});
    observe(log, {.id = 2, .row = 0, .retire = {2}});
    append(log, {.id = 1, .row = 0}, Lsn{10});
    // In progress: its relation is used by a transaction that commits before, and by itself after it was
    // retired.
    const FrameOf block{.id = 3, .row = 2, .define = true, .kind = wire::FrameKind::stream};
    observe(log, block);
    append(log, {.id = 3, .row = 1, .size = 60000, .retire = {3}}, Lsn{20});
    append(log, block, Lsn{30});
    consumer.take();
    EXPECT_EQ(consumer.rows, numbers(0, 3));
    EXPECT_EQ(consumer.relations, (std::vector<std::string>{"t1", "t3", "t3"}));
}

TEST(OutageLog, GoesOnAfterACleanEnd) {
    TestFolder folder;
    for (int32_t start = 0; start < 5; start++) {
        OutageLog log(folder.path(), "task", kRoom, kSmall);
        EXPECT_EQ(log.end(), Lsn{uint64_t(start) * 1000});
        EXPECT_EQ(log.dropped_bytes(), 0u);
        log.begin_session(kSource);
        write_rows(log, start * 100, start * 100 + 100);
        log.sync();
    }
    OutageLog log(folder.path(), "task", kRoom, kSmall);
    EXPECT_EQ(rows_of(log), numbers(0, 500));
    log.release(Lsn{4200});
    EXPECT_EQ(rows_of(log).back(), 499);
}

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
