#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "error/error.h"
#include "source/command.h"
#include "source/precheck.h"
#include "source/replication_message.h"
#include "source/slot.h"
#include "source/timestamps.h"

namespace walferry {
namespace {

using Bytes = std::vector<uint8_t>;

template <typename Action>
std::string code_of(Action action) {
    try {
        action();
    } catch (const Error& error) {
        return info(error.code()).code;
    }
    return "none";
}

Bytes xlog_data(std::string_view payload) {
    constexpr std::array<uint8_t, kXLogDataHeaderSize> header = {'w', 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1,
                                                                 0,   0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9};
    Bytes message(header.size() + payload.size());
    std::copy(payload.begin(), payload.end(), std::copy(header.begin(), header.end(), message.begin()));
    return message;
}

TEST(ReplicationMessageTest, FrameIsAViewBehindTheHeader) {
    const Bytes bytes = xlog_data("abc");
    const ReplicationMessage message = parse_replication_message(bytes);
    EXPECT_EQ(message.kind, ReplicationMessage::Kind::xlog_data);
    EXPECT_EQ(message.payload.data(), bytes.data() + kXLogDataHeaderSize);
    EXPECT_EQ(message.payload.size(), 3U);
    EXPECT_EQ(message.data_start, Lsn{0x100000002});
    EXPECT_EQ(message.wal_end, Lsn{0x100000003});
    EXPECT_EQ(message.sent_at, 9);
}

TEST(ReplicationMessageTest, FrameMayBeEmpty) {
    EXPECT_TRUE(parse_replication_message(xlog_data("")).payload.empty());
}

TEST(ReplicationMessageTest, KeepaliveHasItsPositionAndItsRequest) {
    Bytes bytes(kKeepaliveSize, 0);
    bytes[0] = 'k';
    bytes[8] = 7;
    EXPECT_FALSE(parse_replication_message(bytes).reply_requested);
    bytes[17] = 1;
    const ReplicationMessage message = parse_replication_message(bytes);
    EXPECT_EQ(message.kind, ReplicationMessage::Kind::keepalive);
    EXPECT_EQ(message.wal_end, Lsn{7});
    EXPECT_TRUE(message.reply_requested);
}

TEST(ReplicationMessageTest, EveryTruncationIsATypedError) {
    const Bytes frame = xlog_data("");
    for (size_t size = 0; size < frame.size(); ++size)
        EXPECT_EQ(code_of([&] { parse_replication_message({frame.data(), size}); }), "WF2031") << size;
    Bytes keepalive(kKeepaliveSize + 1, 0);
    keepalive[0] = 'k';
    for (size_t size = 0; size <= keepalive.size(); ++size) {
        const std::string expected = size == kKeepaliveSize ? "none" : "WF2031";
        EXPECT_EQ(code_of([&] { parse_replication_message({keepalive.data(), size}); }), expected) << size;
    }
}

TEST(ReplicationMessageTest, OnlyTheTwoKnownTypesAreTaken) {
    Bytes bytes(100, 0);
    for (int type = 0; type < 256; ++type) {
        if (type == 'w' || type == 'k') continue;
        bytes[0] = static_cast<uint8_t>(type);
        EXPECT_EQ(code_of([&] { parse_replication_message(bytes); }), "WF2031") << type;
    }
}

TEST(ReplicationMessageTest, RandomBytesGiveAMessageOrATypedError) {
    std::mt19937 random{20260823};
    for (int round = 0; round < 20'000; ++round) {
        Bytes bytes(random() % 40);
        for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
        if (!bytes.empty() && round % 2 == 0) bytes[0] = round % 4 == 0 ? 'w' : 'k';
        const std::string code = code_of([&] { parse_replication_message(bytes); });
        EXPECT_TRUE(code == "none" || code == "WF2031");
    }
}

TEST(StandbyStatusTest, HasTheProtocolsLayout) {
    const auto message = standby_status(Lsn{0x0102}, Lsn{0x03}, -1, true);
    const Bytes expected = {'r', 0, 0, 0, 0, 0, 0, 1, 2,    0,    0,    0,    0,    0,    0,    0,    3,
                            0,   0, 0, 0, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1};
    ASSERT_EQ(message.size(), expected.size());
    EXPECT_EQ(std::memcmp(message.data(), expected.data(), expected.size()), 0);
}

TEST(LsnTextTest, ReadsBackWhatItWrites) {
    for (const uint64_t value : {uint64_t{0}, uint64_t{1}, uint64_t{0x16B374D848}, ~uint64_t{0}})
        EXPECT_EQ(parse_lsn(lsn_text(Lsn{value})), Lsn{value});
    EXPECT_EQ(lsn_text(Lsn{0x16B374D848}), "16/B374D848");
}

TEST(LsnTextTest, RefusesAnythingElse) {
    for (const char* text :
         {"", "/", "1", "1/", "/1", "1/2/3", "G/0", " 1/2", "1/2 ", "123456789/0", "-1/0", "0x1/2"})
        EXPECT_FALSE(parse_lsn(text)) << text;
}

TEST(QuoteTest, DoublesTheQuoteAndLeavesTheBackslash) {
    EXPECT_EQ(quote_literal("a'b\\c\"d"), "'a''b\\c\"d'");
    EXPECT_EQ(quote_identifier("a\"b'c"), "\"a\"\"b'c\"");
    EXPECT_EQ(quote_literal(""), "''");
    EXPECT_EQ(code_of([] { quote_literal(std::string_view("a\0b", 3)); }), "WF2031");
}

TEST(CommandTest, StartQuotesEveryOption) {
    EXPECT_EQ(
        start_replication_command("s1", Lsn{0x100000010}, {{"options", "{\"t\": \"o'x\"}"}, {"a\"b", ""}}),
        "START_REPLICATION SLOT \"s1\" LOGICAL 1/10 (\"options\" '{\"t\": \"o''x\"}', \"a\"\"b\" '')");
    EXPECT_EQ(start_replication_command("s1", Lsn{}, {}), "START_REPLICATION SLOT \"s1\" LOGICAL 0/0");
}

TEST(CommandTest, CreateFollowsTheServersVersion) {
    EXPECT_EQ(create_slot_command(14, "s", "walferry", {}),
              "CREATE_REPLICATION_SLOT \"s\" LOGICAL \"walferry\" NOEXPORT_SNAPSHOT");
    EXPECT_EQ(create_slot_command(14, "s", "p", {.export_snapshot = true}),
              "CREATE_REPLICATION_SLOT \"s\" LOGICAL \"p\"");
    EXPECT_EQ(create_slot_command(15, "s", "p", {.temporary = true}),
              "CREATE_REPLICATION_SLOT \"s\" TEMPORARY LOGICAL \"p\" (SNAPSHOT 'nothing')");
    EXPECT_EQ(create_slot_command(16, "s", "p", {.failover = true}),
              "CREATE_REPLICATION_SLOT \"s\" LOGICAL \"p\" (SNAPSHOT 'nothing')");
    EXPECT_EQ(create_slot_command(17, "s", "p", {.export_snapshot = true, .failover = true}),
              "CREATE_REPLICATION_SLOT \"s\" LOGICAL \"p\" (SNAPSHOT 'export', FAILOVER)");
}

TEST(CommandTest, FailoverIsSetOnASlotThatIsThere) {
    EXPECT_EQ(set_failover_command("s"), "ALTER_REPLICATION_SLOT \"s\" (FAILOVER)");
}

TEST(TimelineEndTest, IsThatOfTheTimelinesOwnLine) {
    constexpr std::string_view history =
        "1\t0/3000060\tno recovery target specified\n\n2\t1/A00000F8\tbefore 2026-01-01 00:00:00+00\n";
    EXPECT_EQ(timeline_end(history, Timeline{1}), Lsn{0x3000060});
    EXPECT_EQ(timeline_end(history, Timeline{2}), Lsn{0x1A00000F8});
    EXPECT_EQ(timeline_end("12\t0/1\tx", Timeline{12}), Lsn{1});  // no newline at the end
}

TEST(TimelineEndTest, IsNothingForATimelineOfAnotherPast) {
    EXPECT_EQ(timeline_end("1\t0/3000060\tx\n", Timeline{2}), std::nullopt);
    EXPECT_EQ(timeline_end("12\t0/3000060\tx\n", Timeline{1}), std::nullopt);
    EXPECT_EQ(timeline_end("", Timeline{1}), std::nullopt);
    EXPECT_EQ(timeline_end("1\n", Timeline{1}), std::nullopt);
    EXPECT_EQ(timeline_end("1\tgarbage\tx\n", Timeline{1}), std::nullopt);
}

TEST(CommandTest, SlotNamesAreThoseThatTheServerTakes) {
    EXPECT_NO_THROW(require_slot_name("a_1"));
    EXPECT_NO_THROW(require_slot_name(std::string(63, 'x')));
    for (const std::string& name : {std::string(), std::string("A"), std::string("a-b"), std::string("a b"),
                                    std::string("a\"b"), std::string("ä"), std::string(64, 'x')})
        EXPECT_EQ(code_of([&] { require_slot_name(name); }), "WF2022") << name;
}

TEST(SplitNameListTest, ReadsPlainAndQuotedNames) {
    using Names = std::vector<std::string>;
    EXPECT_EQ(split_name_list("pgoutput, test_decoding"), (Names{"pgoutput", "test_decoding"}));
    EXPECT_EQ(split_name_list("\"a,b\", \"c\"\"d\""), (Names{"a,b", "c\"d"}));
    EXPECT_EQ(split_name_list(""), Names{});
    EXPECT_EQ(split_name_list(" , \""), Names{});
}

class SlotProblemTest : public testing::Test {
 protected:
    SlotProblemTest() {
        scene_.database = "shop";
        slot_.name = "orders";
        slot_.plugin = "walferry";
        slot_.logical = true;
        slot_.database = "shop";
        slot_.wal_status = "reserved";
    }

    std::string code(const std::optional<SlotHolder>& holder = {},
                     const std::optional<SlotHolder>& before = {}) {
        const auto problem = slot_problem(slot_, scene_, "walferry", holder, before);
        return problem ? info(problem->code()).code : "none";
    }

    ServerScene scene_;
    SlotInfo slot_;
};

TEST_F(SlotProblemTest, ACopyOnAStandbyWaitsForThePromotion) {
    slot_.synced = true;
    EXPECT_EQ(code(), "none");  // a primary that was promoted still says that its slots are copies
    const auto problem = slot_problem(slot_, scene_, "walferry", {}, {}, true);
    ASSERT_TRUE(problem);
    EXPECT_STREQ(info(problem->code()).code, "WF2016");
    EXPECT_EQ(problem->retry(), Retry::source);
}

TEST_F(SlotProblemTest, AFreeSlotOfOurOwnIsFine) {
    EXPECT_EQ(code(), "none");
}

TEST_F(SlotProblemTest, APhysicalSlotIsNamedFirst) {
    slot_.logical = false;
    slot_.plugin = "";
    slot_.database = "";
    EXPECT_EQ(code(), "WF2029");
}

TEST_F(SlotProblemTest, ASlotOfAnotherPluginOrDatabaseIsRefused) {
    slot_.database = "other";
    EXPECT_EQ(code(), "WF2028");
    slot_.plugin = "pgoutput";
    EXPECT_EQ(code(), "WF2027");
}

TEST_F(SlotProblemTest, AnInvalidatedSlotIsLostHoweverTheVersionSaysSo) {
    slot_.wal_status = "lost";
    EXPECT_EQ(code(), "WF2030");
    slot_.wal_status = "reserved";
    slot_.invalidation_reason = "idle_timeout";
    EXPECT_EQ(code(), "WF2030");
    slot_.invalidation_reason.clear();
    slot_.conflicting = true;
    EXPECT_EQ(code(), "WF2030");
}

TEST_F(SlotProblemTest, AReaderIsASecondShipperOnceItShowsLife) {
    slot_.active_pid = 42;
    const SlotHolder before{42, "walferry", "", Lsn{100}};
    EXPECT_EQ(code(), "WF2025");
    EXPECT_EQ(code(before), "WF2025");
    EXPECT_EQ(code(before, before), "WF2025");
    EXPECT_EQ(code(SlotHolder{42, "walferry", "", Lsn{101}}, before), "WF2026");
    EXPECT_EQ(code(SlotHolder{43, "walferry", "", Lsn{100}}, before), "WF2026");
    EXPECT_EQ(code(SlotHolder{42, "pg_recvlogical", "", Lsn{101}}, before), "WF2025");
}

TEST(TimestampsTest, ConvertsBothWays) {
    EXPECT_EQ(unix_micros(0), 946'684'800'000'000);
    EXPECT_EQ(postgres_micros(0), -946'684'800'000'000);
    EXPECT_EQ(postgres_micros(unix_micros(123'456'789)), 123'456'789);
    EXPECT_EQ(unix_micros(-1), 946'684'799'999'999);
}

TEST(TimestampsTest, KeepsInfinityAndSaturates) {
    constexpr int64_t lowest = std::numeric_limits<int64_t>::min();
    constexpr int64_t highest = std::numeric_limits<int64_t>::max();
    EXPECT_EQ(unix_micros(lowest), lowest);
    EXPECT_EQ(unix_micros(highest), highest);
    EXPECT_EQ(unix_micros(highest - 1), highest);
    EXPECT_EQ(postgres_micros(lowest), lowest);
    EXPECT_EQ(postgres_micros(lowest + 1), lowest);
    EXPECT_EQ(postgres_micros(highest), highest);
}

}  // namespace
}  // namespace walferry
