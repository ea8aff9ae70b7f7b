// Progress record, slot and server: what goes on, and which mismatch has which error.
#include "run/start_check.h"

#include <functional>

#include <gtest/gtest.h>

namespace walferry {
namespace {

constexpr Lsn kPosition{0x1000};

StartFacts good_facts() {
    StartFacts facts;
    facts.progress.emplace();
    facts.progress->system = SystemId{7};
    facts.progress->timeline = Timeline{1};
    facts.progress->database = "shop";
    facts.progress->position = kPosition;
    facts.progress->reread = kPosition;
    facts.slot.emplace();
    facts.slot->name = "shop";
    facts.slot->restart = Lsn{0x800};
    facts.slot->confirmed_flush = Lsn{0xF00};
    facts.server.system = SystemId{7};
    facts.server.timeline = Timeline{1};
    facts.server.database = "shop";
    facts.server.flushed = Lsn{0x2000};
    facts.ends = {{Timeline{1}, Lsn{UINT64_MAX}}};
    facts.task = facts.slot_name = "shop";
    facts.progress_topic = "walferry.progress.shop";
    return facts;
}

TEST(StartCheck, GoesOnWhereTheRecordEnds) {
    const StartPlan plan = plan_start(good_facts());
    EXPECT_EQ(plan.position, kPosition);
    EXPECT_FALSE(plan.make_slot);
    EXPECT_TRUE(plan.read_back);
    StartFacts exact = good_facts();
    exact.progress->tail = false;
    EXPECT_FALSE(plan_start(exact).read_back);
}

TEST(StartCheck, AFirstStartMakesTheSlot) {
    StartFacts facts = good_facts();
    facts.progress.reset();
    facts.slot.reset();
    EXPECT_TRUE(plan_start(facts).make_slot);
    facts.create_slot = false;
    EXPECT_THROW(plan_start(facts), Error);
}

TEST(StartCheck, AStartThatWasCutOffWhileItMadeTheSlot) {
    StartFacts facts = good_facts();
    facts.progress->state = ProgressRecord::State::creating;
    facts.progress->position = Lsn{};
    EXPECT_EQ(plan_start(facts).position, facts.slot->confirmed_flush);
    facts.slot.reset();
    EXPECT_TRUE(plan_start(facts).make_slot);
}

TEST(StartCheck, ASlotMadeByHand) {
    StartFacts facts = good_facts();
    facts.progress.reset();
    facts.create_slot = false;
    EXPECT_EQ(plan_start(facts).position, facts.slot->confirmed_flush);
}

TEST(StartCheck, ATimelineThatHoldsEverything) {
    StartFacts facts = good_facts();
    facts.server.timeline = Timeline{3};
    facts.ends = {{Timeline{1}, kPosition}, {Timeline{2}, Lsn{0x1800}}, {Timeline{3}, Lsn{UINT64_MAX}}};
    EXPECT_EQ(plan_start(facts).position, kPosition);
    // Part of the transaction after the position is in Kafka, and the timeline ends before it.
    facts.progress->open = ProgressRecord::Open{kPosition, Ordinal{3}, false};
    EXPECT_THROW(plan_start(facts), Error);
}

struct Mismatch {
    ErrorCode code;
    std::function<void(StartFacts&)> make;
};

TEST(StartCheck, EachMismatchHasItsErrorAndCanBeAccepted) {
    const Mismatch cases[] = {
        {ErrorCode::progress_missing, [](StartFacts& f) { f.progress.reset(); }},
        {ErrorCode::source_slot_missing, [](StartFacts& f) { f.slot.reset(); }},
        {ErrorCode::source_other_cluster, [](StartFacts& f) { f.server.system = SystemId{8}; }},
        {ErrorCode::source_other_database, [](StartFacts& f) { f.server.database = "else"; }},
        {ErrorCode::source_timeline_changed, [](StartFacts& f) { f.progress->timeline = Timeline{2}; }},
        {ErrorCode::source_behind, [](StartFacts& f) { f.server.flushed = Lsn{0xFFF}; }},
        {ErrorCode::source_behind,
         [](StartFacts& f) {
             f.progress->open = ProgressRecord::Open{Lsn{0x2001}, Ordinal{5}, false};
         }},
        {ErrorCode::source_slot_moved, [](StartFacts& f) { f.slot->confirmed_flush = Lsn{0x1001}; }},
        {ErrorCode::source_slot_recreated,
         [](StartFacts& f) { f.slot->confirmed_flush = f.slot->restart = Lsn{0x1800}; }},
        {ErrorCode::outage_log_lost,
         [](StartFacts& f) {
             f.slot->confirmed_flush = Lsn{0x1800};
             f.progress->spool = "uuid";
         }},
    };
    for (const Mismatch& mismatch : cases) {
        StartFacts facts = good_facts();
        mismatch.make(facts);
        try {
            plan_start(facts);
            ADD_FAILURE() << info(mismatch.code).code;
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), mismatch.code) << error.what();
            EXPECT_NE(error.remedy().find("--accept-gap"), std::string::npos) << error.what();
        }
        facts.accept_gap = true;
        const StartPlan plan = plan_start(facts);
        ASSERT_TRUE(plan.accepted.has_value());
        EXPECT_EQ(plan.make_slot, !facts.slot.has_value());
        if (facts.slot) {
            EXPECT_EQ(plan.position, facts.slot->confirmed_flush);
        }
    }
}

TEST(StartCheck, AStandbyThatHasToCatchUpIsNoGap) {
    StartFacts facts = good_facts();
    facts.server.flushed = Lsn{0xFFF};
    facts.server.in_recovery = facts.accept_gap = true;
    try {
        plan_start(facts);
        ADD_FAILURE();
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::source_in_recovery);
    }
}

TEST(StartCheck, TheOutageLogHoldsWhatTheSlotHasPassed) {
    StartFacts facts = good_facts();
    facts.slot->confirmed_flush = Lsn{0x1800};
    facts.log_id = "uuid";
    facts.log_begin = Lsn{0xE00};
    EXPECT_EQ(plan_start(facts).position, kPosition);
    facts.log_begin = Lsn{0x1001};  // what lies between is in neither
    EXPECT_THROW(plan_start(facts), Error);
}

// What was read from a primary bears the right timeline: only of a standby the process has to be known.
TEST(StartCheck, TheProcessOfAStandbyIsNoted) {
    ProgressRecord record;
    SystemIdentity server;
    server.started = "1";
    note_process(server, record);
    EXPECT_EQ(record.server_started, "");
    server.in_recovery = true;
    note_process(server, record);
    EXPECT_EQ(record.server_started, "1");
    server.in_recovery = false;  // promoted
    note_process(server, record);
    EXPECT_EQ(record.server_started, "1");
    server.started = "2";
    note_process(server, record);
    EXPECT_EQ(record.server_started, "");
}

}  // namespace
}  // namespace walferry
