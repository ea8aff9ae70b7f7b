// What $WALFERRY_FAIL_POINTS says, and what happens at a fail point.
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>

#include "error/error.h"
#include "fail_point/fail_plan.h"

namespace walferry {
namespace {

constexpr size_t kRows = find_fail_point("row_rendered");
constexpr size_t kAcks = find_fail_point("acks_taken");

ErrorCode code_of(const std::string& text) {
    try {
        parse_fail_plan(text);
    } catch (const Error& error) {
        return error.code();
    }
    return ErrorCode::internal;
}

TEST(FailPoints, HaveNamesOfTheirOwnAndAtLeastOneHit) {
    std::set<std::string_view> names;
    for (const FailPoint& point : kFailPoints) {
        EXPECT_TRUE(names.insert(point.name).second) << point.name;
        EXPECT_GT(point.hits, 0U) << point.name;
        EXPECT_FALSE(point.where.empty()) << point.name;
    }
    EXPECT_EQ(find_fail_point("no_such_point"), kFailPointCount);
}

TEST(FailPlan, ReadsEveryAction) {
    using std::chrono::milliseconds;
    const std::vector<PlannedFailure> expected = {{kRows, FailAction::kill, milliseconds(0), 17},
                                                  {kAcks, FailAction::pause, milliseconds(500), 2},
                                                  {kRows, FailAction::stop, milliseconds(0), 1},
                                                  {kAcks, FailAction::source_error, milliseconds(0), 3},
                                                  {kAcks, FailAction::sink_error, milliseconds(0), 4}};
    EXPECT_EQ(parse_fail_plan("row_rendered=kill@17;acks_taken=pause:500ms@2;row_rendered=stop;"
                              "acks_taken=error:source@3;acks_taken=error:sink@4;"),
              expected);
    EXPECT_TRUE(parse_fail_plan("").empty());
}

TEST(FailPlan, RefusesWhatItCannotRead) {
    for (const char* text : {"row_rendered", "no_such_point=kill", "row_rendered=kil", "row_rendered=kill@",
                             "row_rendered=kill@0", "row_rendered=kill@2x", "row_rendered=pause",
                             "row_rendered=pause:5", "row_rendered=pause:ms", "=kill"}) {
        EXPECT_EQ(code_of(text), ErrorCode::usage) << text;
    }
}

TEST(FailPlan, FailsAtThatHitAndAtNoOther) {
    FailPlan plan("acks_taken=error:sink@3;acks_taken=error:source@4");
    plan.hit(kAcks);
    plan.hit(kRows);
    plan.hit(kAcks);
    for (const Retry wanted : {Retry::sink, Retry::source}) {
        try {
            plan.hit(kAcks);
            FAIL() << "no error";
        } catch (const Error& error) {
            EXPECT_EQ(error.retry(), wanted);
        }
    }
    plan.hit(kAcks);
}

TEST(FailPlanDeathTest, KillsTheProcess) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_EXIT(FailPlan("row_rendered=kill").hit(kRows), testing::KilledBySignal(SIGKILL), "");
}

TEST(FailPlan, WritesDownHitsAndFailures) {
    const std::filesystem::path log = std::filesystem::path(testing::TempDir()) / "walferry_fail_points.log";
    std::filesystem::remove(log);
    {
        FailPlan plan("row_rendered=pause:1ms@3", log);
        for (int i = 0; i < 5; ++i) plan.hit(kRows);
    }
    std::ifstream file(log);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(text, "row_rendered 1\nrow_rendered 2\nrow_rendered 3 pause\nrow_rendered 4\n");
    std::filesystem::remove(log);
}

}  // namespace
}  // namespace walferry
