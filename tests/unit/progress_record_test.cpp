// The progress record: what it holds survives the way through JSON, and records of several instances together
// say where to go on.
#include "progress/progress_record.h"

#include <gtest/gtest.h>

#include "error/error.h"
#include "progress/written_positions.h"

namespace walferry {
namespace {

ProgressRecord full_record() {
    ProgressRecord record;
    record.task = "shop";
    record.exactly_once = true;
    record.tail = false;
    record.epoch = 7;
    record.sequence = 12;
    record.instance = "abc";
    record.generation = 2;
    record.system = SystemId{18446744073709551615U};
    record.timeline = Timeline{3};
    record.server_started = "1763910841.123456";
    record.database = "shop \"ü\"";
    record.slot = "shop";
    record.position = Lsn{0xAB00000010};
    record.reread = Lsn{0xAB00000008};
    record.open = ProgressRecord::Open{Lsn{0xAB00000020}, Ordinal{41}, true};
    record.offsets["public.t"][0] = 5;
    record.offsets["public.t"][11] = 1LL << 40;
    record.schemas["public.t"] = "f00";
    record.config = "c0ffee";
    record.spool = "uuid";
    record.gaps.push_back({"WF2033", Lsn{1}, Lsn{2}, "2026-01-31T12:00:00Z"});
    record.version = "0.1";
    record.time = "2026-01-31T12:00:01Z";
    return record;
}

ErrorCode code_of(std::string_view text) {
    try {
        (void)parse_progress_record(text, "topic p, offset 1");
    } catch (const Error& error) {
        EXPECT_NE(error.happened().find("topic p, offset 1"), std::string::npos);
        return error.code();
    }
    ADD_FAILURE() << "no error for " << text;
    return ErrorCode::internal;
}

std::string long_name(int number) {
    std::string name = "t" + std::to_string(number) + ".";
    name.resize(249, 'x');  // the longest that Kafka takes
    return name;
}

TEST(ProgressRecord, OffsetsOfManyTopicsFitIntoTheBytesAllowed) {
    constexpr size_t kMostBytes = 600'000;
    ProgressRecord record = full_record();
    const size_t rest = to_json(record).size();
    OffsetChanges changes;
    for (int i = 0; i < 15'000; ++i) {
        record.offsets[long_name(i)] = {{0, 1LL << 40}, {12, 9}};
        // Those of the middle are the latest; the first ones have never changed.
        if (i >= 1000) changes[long_name(i)] = static_cast<uint64_t>(i < 8000 ? 100'000 + i : i);
    }
    bound_offsets(record.offsets, kMostBytes, changes);
    const std::string text = to_json(record);
    EXPECT_LT(text.size(), kMostBytes + rest);
    EXPECT_GT(text.size(), kMostBytes * 99 / 100);
    EXPECT_EQ(parse_progress_record(text, "here").offsets, record.offsets);
    const auto count = static_cast<int>(record.offsets.size());
    for (int i = 8000 - count; i < 8000; ++i) EXPECT_TRUE(record.offsets.contains(long_name(i))) << i;
}

TEST(ProgressRecord, OffsetsThatFitStayAsTheyAre) {
    ProgressRecord record = full_record();
    const PartitionOffsets before = record.offsets;
    // "public.t":[[0,5],[11,1099511627776]],
    bound_offsets(record.offsets, 39, {});
    EXPECT_EQ(record.offsets, before);
    bound_offsets(record.offsets, 38, {});
    EXPECT_TRUE(record.offsets.empty());
}

TEST(ProgressRecord, SurvivesTheWayThroughJson) {
    const ProgressRecord before = full_record();
    const ProgressRecord after = parse_progress_record(to_json(before), "here");
    EXPECT_EQ(to_json(after), to_json(before));
    EXPECT_EQ(after.system, before.system);
    EXPECT_EQ(after.open->commit, before.open->commit);
    EXPECT_TRUE(after.open->deleted);
    EXPECT_EQ(after.offsets, before.offsets);
    EXPECT_EQ(after.gaps.at(0).to, Lsn{2});
    EXPECT_EQ(after.confirmed(), before.reread);
}

TEST(ProgressRecord, KeepsTheLatestGapsOnly) {
    ProgressRecord record = full_record();
    for (uint64_t i = 0; i < 40; ++i) record.gaps.push_back({"WF2034", Lsn{i}, Lsn{i + 1}, "now"});
    const ProgressRecord after = parse_progress_record(to_json(record), "here");
    ASSERT_EQ(after.gaps.size(), 16U);
    EXPECT_EQ(after.gaps.back().from, Lsn{39});
}

TEST(ProgressRecord, RefusesWhatIsNone) {
    const std::string good = to_json(full_record());
    for (const char* text : {"", "{", "[]", "null", "7", "{\"format\":\"1\"}", "{\"format\":1}"})
        EXPECT_EQ(code_of(text), ErrorCode::progress_format) << text;
    EXPECT_EQ(code_of("{\"format\":0}"), ErrorCode::progress_version);
    EXPECT_EQ(code_of("{\"format\":2,\"version\":\"9\"}"), ErrorCode::progress_version);
    const std::pair<std::string, std::string> spoilt[] = {
        {"\"AB/10\"", "\"AB-10\""},
        {"\"AB/10\"", "17"},
        {"\"epoch\":7", "\"epoch\":\"7\""},
        {"18446744073709551615", "18446744073709551616"},
        {"18446744073709551615", "12x"},
        {"[0,5]", "[0,-5]"},
        {"[0,5]", "[0]"},
        {"streaming", "sleeping"},
    };
    for (const auto& [from, to] : spoilt) {
        std::string text = good;
        ASSERT_NE(text.find(from), std::string::npos) << from;
        text.replace(text.find(from), from.size(), to);
        EXPECT_EQ(code_of(text), ErrorCode::progress_format) << text;
    }
}

TEST(ProgressRecord, TheFarthestPositionAndTheNewestOffsetsCount) {
    ProgressRecord leader = full_record();
    leader.open.reset();
    ProgressRecord late =
        leader;  // of an instance that paused in its start, and claimed with what it had read
    late.epoch = 8;
    late.sequence = 1;
    late.position = Lsn{0xA0};
    late.offsets["public.t"][0] = 3;
    for (const ProgressRecord& both : {combined(leader, late), combined(late, leader)}) {
        EXPECT_EQ(both.position, leader.position);
        EXPECT_EQ(both.epoch, 8U);
        EXPECT_EQ(both.offsets.at("public.t").at(0), 3);
    }
    // A part of the next transaction is farther than none of it.
    ProgressRecord open = leader;
    open.epoch = 6;
    open.open = ProgressRecord::Open{Lsn{0xAB00000020}, Ordinal{1}, false};
    EXPECT_TRUE(combined(leader, open).open.has_value());
    EXPECT_TRUE(combined(open, leader).open.has_value());
    // After an accepted gap positions begin anew.
    late.generation = leader.generation + 1;
    EXPECT_EQ(combined(leader, late).position, Lsn{0xA0});
    EXPECT_EQ(combined(late, leader).position, Lsn{0xA0});
}

TEST(WrittenPositions, FindsWhatWasAddedInAnyOrder) {
    WrittenPositions written;
    written.add({Lsn{5}, 1});
    written.add({Lsn{4}, 9});
    written.add({Lsn{5}, 1});
    written.add({Lsn{5}, 1, 2});
    written.seal();
    EXPECT_EQ(written.size(), 3U);
    EXPECT_TRUE(written.contains({Lsn{5}, 1}));
    EXPECT_TRUE(written.contains({Lsn{5}, 1, 2}));
    EXPECT_FALSE(written.contains({Lsn{5}, 1, 1}));
    EXPECT_FALSE(written.contains({Lsn{4}, 1}));
}

}  // namespace
}  // namespace walferry
