#include "progress/ack_tracker.h"

#include <algorithm>
#include <deque>
#include <random>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

namespace walferry {
namespace {

uint32_t group_of(AckTracker& tracker, uint32_t messages, uint64_t end) {
    const uint32_t group = tracker.open();
    if (messages > 0) tracker.produced(messages);
    tracker.close(Lsn{end});
    return group;
}

TEST(AckTracker, StartsIdleAtTheGivenPosition) {
    AckTracker tracker(Lsn{77});
    EXPECT_EQ(tracker.confirmed(), Lsn{77});
    EXPECT_TRUE(tracker.idle());
    EXPECT_EQ(tracker.outstanding(), 0U);
    EXPECT_EQ(tracker.groups(), 0U);
}

TEST(AckTracker, ConfirmsAGroupOnlyWhenAllItsMessagesAreAcknowledged) {
    AckTracker tracker;
    const uint32_t group = group_of(tracker, 3, 100);
    tracker.acknowledged(group, 2);
    EXPECT_EQ(tracker.confirmed(), Lsn{0});
    EXPECT_EQ(tracker.outstanding(), 1U);
    EXPECT_FALSE(tracker.idle());
    tracker.acknowledged(group);
    EXPECT_EQ(tracker.confirmed(), Lsn{100});
    EXPECT_TRUE(tracker.idle());
}

TEST(AckTracker, DoesNotConfirmAnOpenGroupWhoseMessagesAreAllAcknowledged) {
    AckTracker tracker;
    const uint32_t group = tracker.open();
    tracker.produced();
    tracker.acknowledged(group);
    EXPECT_EQ(tracker.confirmed(), Lsn{0});
    EXPECT_FALSE(tracker.idle());
    EXPECT_TRUE(tracker.in_group());
    tracker.produced();
    tracker.close(Lsn{100});
    EXPECT_EQ(tracker.confirmed(), Lsn{0});
    tracker.acknowledged(group);
    EXPECT_EQ(tracker.confirmed(), Lsn{100});
}

TEST(AckTracker, WaitsForEarlierGroupsWhenLaterOnesAreAcknowledgedFirst) {
    AckTracker tracker;
    const uint32_t first = group_of(tracker, 1, 100);
    const uint32_t second = group_of(tracker, 1, 200);
    const uint32_t third = group_of(tracker, 1, 300);
    tracker.acknowledged(third);
    tracker.acknowledged(second);
    EXPECT_EQ(tracker.confirmed(), Lsn{0});
    EXPECT_EQ(tracker.groups(), 3U);
    tracker.acknowledged(first);
    EXPECT_EQ(tracker.confirmed(), Lsn{300});
}

TEST(AckTracker, ConfirmsAnEmptyGroupAtOnceOnlyWhenNothingIsBeforeIt) {
    AckTracker tracker;
    group_of(tracker, 0, 100);
    EXPECT_EQ(tracker.confirmed(), Lsn{100});
    const uint32_t group = group_of(tracker, 1, 200);
    group_of(tracker, 0, 300);
    EXPECT_EQ(tracker.confirmed(), Lsn{100});
    tracker.acknowledged(group);
    EXPECT_EQ(tracker.confirmed(), Lsn{300});
}

TEST(AckTracker, EmptyGroupsTakeNoRoomBehindOneThatWaits) {
    AckTracker tracker(Lsn{0}, 0xFFFFFFFF);
    const uint32_t waiting = group_of(tracker, 1, 100);
    for (uint64_t end = 101; end <= 5000; ++end) group_of(tracker, 0, end);
    EXPECT_EQ(tracker.groups(), 1U);
    const uint32_t next = group_of(tracker, 1, 5001);
    EXPECT_EQ(next, 0U);
    group_of(tracker, 0, 5002);
    tracker.acknowledged(waiting);
    EXPECT_EQ(tracker.confirmed(), Lsn{5000});
    tracker.acknowledged(next);
    EXPECT_EQ(tracker.confirmed(), Lsn{5002});
    EXPECT_TRUE(tracker.idle());
}

TEST(AckTracker, AGroupAcknowledgedBeforeItsEndTakesNoRoomEither) {
    AckTracker tracker;
    const uint32_t waiting = group_of(tracker, 1, 100);
    const uint32_t group = tracker.open();
    tracker.produced(2);
    tracker.acknowledged(group, 2);
    tracker.close(Lsn{200});
    EXPECT_EQ(tracker.groups(), 1U);
    EXPECT_EQ(tracker.confirmed(), Lsn{0});
    EXPECT_THROW(tracker.acknowledged(group), std::logic_error);
    tracker.acknowledged(waiting);
    EXPECT_EQ(tracker.confirmed(), Lsn{200});
}

TEST(AckTracker, KeepaliveMovesAnIdlePosition) {
    AckTracker tracker(Lsn{100});
    tracker.keepalive(Lsn{150});
    EXPECT_EQ(tracker.confirmed(), Lsn{150});
    tracker.keepalive(Lsn{120});
    EXPECT_EQ(tracker.confirmed(), Lsn{150});
}

TEST(AckTracker, KeepaliveBehindUnacknowledgedMessagesTakesEffectWithThem) {
    AckTracker tracker;
    const uint32_t group = group_of(tracker, 1, 100);
    tracker.keepalive(Lsn{150});
    EXPECT_EQ(tracker.confirmed(), Lsn{0});
    tracker.acknowledged(group);
    EXPECT_EQ(tracker.confirmed(), Lsn{150});
}

TEST(AckTracker, KeepaliveInsideAnOpenGroupHasNoEffect) {
    AckTracker tracker;
    const uint32_t before = group_of(tracker, 1, 100);
    const uint32_t open = tracker.open();
    tracker.produced();
    tracker.keepalive(Lsn{150});
    tracker.acknowledged(before);
    EXPECT_EQ(tracker.confirmed(), Lsn{100});
    tracker.acknowledged(open);
    EXPECT_EQ(tracker.confirmed(), Lsn{100});
    tracker.close(Lsn{200});
    EXPECT_EQ(tracker.confirmed(), Lsn{200});
}

TEST(AckTracker, RefusesWhatWouldMoveThePositionWrongly) {
    AckTracker tracker(Lsn{50});
    EXPECT_THROW(tracker.acknowledged(0), std::logic_error);
    EXPECT_THROW(tracker.produced(), std::logic_error);
    EXPECT_THROW(tracker.close(Lsn{60}), std::logic_error);
    const uint32_t group = group_of(tracker, 2, 100);
    EXPECT_THROW(tracker.acknowledged(group, 3), std::logic_error);
    EXPECT_THROW(tracker.acknowledged(group + 1), std::logic_error);
    EXPECT_THROW(tracker.acknowledged(group - 1), std::logic_error);
    tracker.open();
    EXPECT_THROW(tracker.open(), std::logic_error);
    EXPECT_THROW(tracker.close(Lsn{99}), std::logic_error);
    EXPECT_EQ(tracker.confirmed(), Lsn{50});
}

TEST(AckTracker, GroupNumbersWrap) {
    AckTracker tracker(Lsn{0}, 0xFFFFFFFE);
    std::vector<uint32_t> groups;
    for (uint64_t i = 1; i <= 4; ++i) groups.push_back(group_of(tracker, 1, i));
    EXPECT_EQ(groups, (std::vector<uint32_t>{0xFFFFFFFE, 0xFFFFFFFF, 0, 1}));
    for (size_t i = 0; i < groups.size(); ++i) {
        tracker.acknowledged(groups[i]);
        EXPECT_EQ(tracker.confirmed(), Lsn{i + 1});
    }
}

TEST(AckTracker, GrowsAcrossTheWrapWithoutLosingAGroup) {
    AckTracker tracker(Lsn{0}, 0xFFFFF000);
    constexpr uint32_t kGroups = 50000;
    std::vector<uint32_t> groups;
    for (uint32_t i = 1; i <= kGroups; ++i) groups.push_back(group_of(tracker, i % 3 + 1, i));
    EXPECT_EQ(tracker.groups(), kGroups);
    for (uint32_t i = kGroups; i > 1; --i) tracker.acknowledged(groups[i - 1], i % 3 + 1);
    EXPECT_EQ(tracker.confirmed(), Lsn{0});
    tracker.acknowledged(groups[0], 2);
    EXPECT_EQ(tracker.confirmed(), Lsn{kGroups});
    EXPECT_TRUE(tracker.idle());
    EXPECT_EQ(tracker.outstanding(), 0U);
}

// The plainest statement of the rules: keep everything, look at everything each time.
struct Model {
    struct Group {
        uint32_t number;
        uint64_t produced = 0, acknowledged = 0;
        bool closed = false;
        uint64_t end = 0;
    };
    std::vector<Group> groups;
    uint64_t start = 0;

    uint64_t confirmed() const {
        uint64_t position = start;
        for (const Group& group : groups) {
            if (!group.closed || group.acknowledged < group.produced) break;
            position = group.end;
        }
        return position;
    }
    uint64_t outstanding() const {
        uint64_t sum = 0;
        for (const Group& group : groups) sum += group.produced - group.acknowledged;
        return sum;
    }
    // Groups that need a place: those with messages, the first and the open one.
    size_t needed() const {
        size_t count = 0;
        for (const Group& group : groups) count += group.produced > 0 || !group.closed ? 1 : 0;
        return count + 1;
    }
    void forget_done() {
        while (groups.size() > 1 && groups[0].closed && groups[0].produced == groups[0].acknowledged) {
            start = groups[0].end;
            groups.erase(groups.begin());
        }
    }
};

TEST(AckTracker, TellsWhichPartsOfAnOpenGroupAreDone) {
    AckTracker tracker(Lsn{50});
    const uint32_t before = group_of(tracker, 1, 100);
    const uint32_t first = tracker.open();
    tracker.produced(2);
    const uint32_t second = tracker.divide();
    tracker.produced();
    const uint32_t third = tracker.divide();
    EXPECT_TRUE(tracker.in_group());
    tracker.acknowledged(second);
    tracker.acknowledged(first, 2);
    EXPECT_FALSE(tracker.done_before(second)) << "the group before it is not done";
    EXPECT_EQ(tracker.confirmed(), Lsn{50});
    tracker.acknowledged(before);
    EXPECT_TRUE(tracker.done_before(third));
    EXPECT_EQ(tracker.confirmed(), Lsn{100}) << "the end of a divided group is still to come";
    tracker.produced();
    tracker.close(Lsn{200});
    EXPECT_EQ(tracker.confirmed(), Lsn{100});
    tracker.acknowledged(third);
    EXPECT_EQ(tracker.confirmed(), Lsn{200});
    EXPECT_TRUE(tracker.idle());
}

TEST(AckTracker, DividesAGroupOfWhichNothingIsOutstanding) {
    AckTracker tracker(Lsn{50}, UINT32_MAX);
    tracker.open();
    const uint32_t second = tracker.divide();
    EXPECT_TRUE(tracker.done_before(second));
    tracker.produced();
    const uint32_t third = tracker.divide();
    EXPECT_FALSE(tracker.done_before(third)) << "across the wrap of the numbers";
    tracker.acknowledged(second);
    const uint32_t fourth = tracker.divide();
    EXPECT_TRUE(tracker.done_before(fourth));
    EXPECT_EQ(tracker.confirmed(), Lsn{50});
    tracker.close(Lsn{70});
    EXPECT_EQ(tracker.confirmed(), Lsn{70});
    EXPECT_TRUE(tracker.idle());
}

TEST(AckTracker, AgreesWithTheModelOnRandomHistories) {
    for (uint32_t seed = 1; seed <= 60; ++seed) {
        std::mt19937 random(seed);
        const auto pick = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
        AckTracker tracker(Lsn{10}, seed % 2 ? 0 : 0xFFFFFF00);
        Model model;
        model.start = 10;
        uint64_t lsn = 10, last_confirmed = 10;
        const uint32_t eagerness = 1 + pick(8);  // of acknowledging: some histories pile up, some stay short
        for (int step = 0; step < 4000; ++step) {
            const uint32_t action = pick(5 + eagerness);
            const bool open = !model.groups.empty() && !model.groups.back().closed;
            if (action == 0 && !open) {
                model.groups.push_back({.number = tracker.open()});
            } else if (action == 1 && open) {
                lsn += pick(3);
                tracker.close(Lsn{lsn});
                model.groups.back().closed = true;
                model.groups.back().end = lsn;
            } else if (action == 2) {
                const uint64_t wal_end = lsn + pick(5);
                tracker.keepalive(Lsn{wal_end});
                if (!open) {
                    lsn = wal_end;
                    if (model.groups.empty())
                        model.start = wal_end;
                    else
                        model.groups.back().end = wal_end;
                }
            } else if (action == 3 && open) {
                const uint32_t count = 1 + pick(4);
                tracker.produced(count);
                model.groups.back().produced += count;
            } else if (action == 4 && open) {
                model.groups.back().closed = true;
                model.groups.back().end = lsn;
                model.groups.push_back({.number = tracker.divide()});
            } else if (!model.groups.empty()) {
                Model::Group& group = model.groups[pick(static_cast<uint32_t>(model.groups.size()))];
                const uint64_t pending = group.produced - group.acknowledged;
                if (pending > 0) {
                    const uint32_t count = 1 + pick(static_cast<uint32_t>(pending));
                    tracker.acknowledged(group.number, count);
                    group.acknowledged += count;
                }
            }
            model.forget_done();
            ASSERT_EQ(tracker.confirmed().value, model.confirmed()) << "seed " << seed << " step " << step;
            ASSERT_EQ(tracker.outstanding(), model.outstanding());
            ASSERT_EQ(tracker.idle(),
                      model.outstanding() == 0 && (model.groups.empty() || model.groups.back().closed));
            ASSERT_LE(tracker.groups(), model.needed());
            ASSERT_GE(tracker.confirmed().value, last_confirmed);
            last_confirmed = tracker.confirmed().value;
        }
    }
}

}  // namespace
}  // namespace walferry
