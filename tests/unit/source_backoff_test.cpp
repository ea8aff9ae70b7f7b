#include <gtest/gtest.h>

#include <chrono>

#include "source/backoff.h"

namespace walferry {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

class BackoffTest : public testing::Test {
 protected:
    Backoff make(BackoffSettings settings) {
        return Backoff(
            settings, [this] { return now_; }, [this] { return random_; });
    }

    std::chrono::steady_clock::time_point now_{};
    double random_ = 0.0;
};

TEST_F(BackoffTest, DelaysDoubleUpToTheLongest) {
    Backoff backoff = make({100ms, 1'000ms, 2.0, 0.5, 1h});
    for (const milliseconds expected : {100ms, 200ms, 400ms, 800ms, 1'000ms, 1'000ms})
        EXPECT_EQ(backoff.next(), expected);
    EXPECT_EQ(backoff.attempts(), 6);
}

TEST_F(BackoffTest, JitterShortensByAtMostItsPart) {
    Backoff backoff = make({100ms, 1'000ms, 2.0, 0.5, 1h});
    random_ = 1.0;
    EXPECT_EQ(backoff.next(), 50ms);
    random_ = 0.5;
    EXPECT_EQ(backoff.next(), 150ms);
}

TEST_F(BackoffTest, GivesUpWhenTheWindowHasPassed) {
    Backoff backoff = make({100ms, 1'000ms, 2.0, 0.0, 10s});
    EXPECT_TRUE(backoff.next());
    now_ += 9'950ms;
    EXPECT_EQ(backoff.next(), 50ms) << "one attempt falls on the window's end";
    now_ += 50ms;
    EXPECT_EQ(backoff.next(), std::nullopt);
}

TEST_F(BackoffTest, WindowIsCountedFromTheFirstFailureAfterASuccess) {
    Backoff backoff = make({100ms, 1'000ms, 2.0, 0.0, 10s});
    backoff.next();
    backoff.next();
    now_ += 1h;
    backoff.reset();
    EXPECT_EQ(backoff.attempts(), 0);
    EXPECT_EQ(backoff.next(), 100ms);
}

TEST_F(BackoffTest, AZeroWindowAllowsNoRetry) {
    Backoff backoff = make({100ms, 1'000ms, 2.0, 0.0, 0ms});
    EXPECT_EQ(backoff.next(), std::nullopt);
}

TEST_F(BackoffTest, DefaultRandomStaysInRange) {
    Backoff backoff{BackoffSettings{100ms, 100ms, 2.0, 0.5, 1h}};
    for (int i = 0; i < 1'000; ++i) {
        const auto delay = backoff.next();
        ASSERT_TRUE(delay);
        EXPECT_GE(*delay, 49ms);
        EXPECT_LE(*delay, 100ms);
    }
}

}  // namespace
}  // namespace walferry
