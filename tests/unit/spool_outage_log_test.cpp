// The outage log on a real file system: what goes in comes out, in order, and what is released makes room.
#include "spool_outage_log_support.h"

#include <random>

namespace walferry {
namespace {

using namespace test;

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

}  // namespace
}  // namespace walferry
