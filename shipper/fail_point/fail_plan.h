// What is to happen at which hit of which fail point.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fail_point/fail_point.h"

namespace walferry {

enum class FailAction {
    kill,          // SIGKILL to the process
    stop,          // SIGSTOP to the process
    pause,         // the thread sleeps
    source_error,  // an Error of retry class source
    sink_error     // an Error of retry class sink
};

struct PlannedFailure {
    size_t point;
    FailAction action;
    std::chrono::milliseconds pause;
    uint64_t hit;  // the first is 1

    bool operator==(const PlannedFailure&) const = default;
};

// "point=ACTION@HIT;…", ACTION being kill, stop, pause:NNNms, error:source or error:sink; without @HIT the
// first. Throws ErrorCode::usage.
std::vector<PlannedFailure> parse_fail_plan(std::string_view text);

// Counts hits and does what is planned. Threads may share it.
class FailPlan {
 public:
    // Into `log`, unless it is empty, go a line for the first, second, fourth, eighth … hit of each point,
    // and one for each failure, before it happens: "point HIT" and "point HIT ACTION".
    explicit FailPlan(std::string_view text, const std::string& log = "");
    ~FailPlan();
    FailPlan(const FailPlan&) = delete;
    FailPlan& operator=(const FailPlan&) = delete;

    void hit(size_t point);

 private:
    void note(size_t point, uint64_t hit, std::string_view action) const;
    void carry_out(const PlannedFailure& failure) const;

    std::vector<PlannedFailure> failures_;
    std::array<std::atomic<uint64_t>, kFailPointCount> hits_{};
    int log_ = -1;
};

}  // namespace walferry
