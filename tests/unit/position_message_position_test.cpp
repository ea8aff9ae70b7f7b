#include "position/message_position.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "position/position_text.h"

namespace walferry {
namespace {

constexpr char kRecord[] = "7301446231899623459:12:1A/2B3C4D5E:70000000000";

MessagePosition parsed(const std::string& suffix) {
    const auto position = parse_position(kRecord + suffix);
    EXPECT_TRUE(position) << suffix;
    return position ? position->message : MessagePosition{};
}

TEST(MessagePositions, TellTheRecord) {
    const auto position = parse_position(kRecord);
    ASSERT_TRUE(position);
    EXPECT_EQ(position->system.value, 7301446231899623459u);
    EXPECT_EQ(position->timeline.value, 12u);
    EXPECT_EQ(position->message.commit.value, 0x1A2B3C4D5Eu);
    EXPECT_EQ(position->message.ordinal, 70000000000u);
    EXPECT_EQ(position->message.part, 0u);
    EXPECT_EQ(position->message.chunk, MessagePosition::kWholeChunk);
    EXPECT_TRUE(parse_position("18446744073709551615:4294967295:FFFFFFFF/FFFFFFFF:18446744073709551615"));
}

TEST(MessagePositions, TellPartAndChunk) {
    const MessagePosition record = parsed("");
    EXPECT_EQ(parsed(".1"), (MessagePosition{record.commit, record.ordinal, 1}));
    EXPECT_EQ(parsed(".2"), (MessagePosition{record.commit, record.ordinal, 2}));
    EXPECT_EQ(parsed(".c1"), (MessagePosition{record.commit, record.ordinal, 0, 1}));
    EXPECT_EQ(parsed(".c12"), (MessagePosition{record.commit, record.ordinal, 0, 12}));
    EXPECT_EQ(parsed(".1.c3"), (MessagePosition{record.commit, record.ordinal, 1, 3}));
    EXPECT_EQ(parsed(".2.c4294967294"), (MessagePosition{record.commit, record.ordinal, 2, 4294967294}));
}

TEST(MessagePositions, AreOrderedAsMessagesAreProduced) {
    const std::vector<MessagePosition> produced{parsed(".1.c1"),
                                                parsed(".1"),
                                                parsed(".2.c1"),
                                                parsed(".2.c2"),
                                                parsed(".2.c10"),
                                                parsed(".2"),
                                                {Lsn{0x1A2B3C4D5E}, 70000000001, 0, 1}};
    EXPECT_TRUE(std::is_sorted(produced.begin(), produced.end()));
    EXPECT_LT(parsed(".c2"), parsed(""));
    EXPECT_FALSE(parsed(".c2") == parsed(""));
}

TEST(MessagePositions, AreNothingElse) {
    for (const char* suffix : {".",
                               ".0",
                               ".3",
                               ".11",
                               ".1.",
                               ".1.1",
                               ".1.2",
                               ".c",
                               ".c0",
                               ".c-1",
                               ".c+1",
                               ".c1.",
                               ".c1.c2",
                               ".c1.1",
                               ".c1x",
                               ".C1",
                               ".1c1",
                               "c1",
                               ".2.c0",
                               ".c4294967295",
                               ".c4294967296",
                               ".c99999999999999999999",
                               " ",
                               ".c1 ",
                               ".c 1",
                               ":1"}) {
        EXPECT_FALSE(parse_position(std::string(kRecord) + suffix)) << suffix;
    }
    for (const char* text : {"",
                             ":",
                             ":::",
                             "1:1:0/1",
                             "1:1:0/1:",
                             "1:1:0/1:.1",
                             "1:1:0/1:.c1",
                             ":1:0/1:0",
                             "1::0/1:0",
                             "1:1::0",
                             "1:1:01:0",
                             "1:1:0/:0",
                             "1:1:/1:0",
                             "1:1:0/1/2:0",
                             "x:1:0/1:0",
                             "1:x:0/1:0",
                             "1:1:0/x:0",
                             "1:1:0/1:x",
                             "-1:1:0/1:0",
                             "1:-1:0/1:0",
                             "1:1:0/1:-1",
                             " 1:1:0/1:0",
                             "1:1:0/1:0:0",
                             "18446744073709551616:1:0/1:0",
                             "1:4294967296:0/1:0",
                             "1:1:100000000/1:0",
                             "1:1:0/100000000:0",
                             "1:1:0/1:18446744073709551616"}) {
        EXPECT_FALSE(parse_position(text)) << text;
    }
}

TEST(PositionText, IsReadAsWhatWasWritten) {
    PositionText text;
    text.set_history(SystemId{18446744073709551615U}, Timeline{4294967295U});
    const MessagePosition far{Lsn{0xFEDCBA9876543210}, 18446744073709551615U, 2};
    EXPECT_EQ(text.of(far), "18446744073709551615:4294967295:FEDCBA98/76543210:18446744073709551615.2");
    text.set_history(SystemId{7}, Timeline{1});
    const MessagePosition near{Lsn{0x1000000AB}, 3};
    EXPECT_EQ(text.of(near), "7:1:1/AB:3");
    const auto read = parse_position(text.of(near));
    ASSERT_TRUE(read);
    EXPECT_EQ(read->system, SystemId{7});
    EXPECT_EQ(read->timeline, Timeline{1});
    EXPECT_EQ(read->message, near);
}

}  // namespace
}  // namespace walferry
