#include "fail_point/fail_plan.h"

#include <fcntl.h>
#include <unistd.h>

#include <bit>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <thread>

#include "error/error.h"

namespace walferry {
namespace {

struct ActionName {
    FailAction action;
    std::string_view name;
};

constexpr ActionName kActions[] = {{FailAction::kill, "kill"},
                                   {FailAction::stop, "stop"},
                                   {FailAction::pause, "pause"},
                                   {FailAction::source_error, "error:source"},
                                   {FailAction::sink_error, "error:sink"}};

std::string_view name_of(FailAction action) {
    for (const ActionName& known : kActions) {
        if (known.action == action) return known.name;
    }
    return {};
}

Error bad_plan(std::string_view part, const std::string& why) {
    return {ErrorCode::usage, "WALFERRY_FAIL_POINTS has \"" + std::string(part) + "\"", why,
            "It is a list like row_rendered=kill@17;acks_taken=pause:500ms@2."};
}

std::optional<uint64_t> number(std::string_view text) {
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value == 0) return std::nullopt;
    return value;
}

PlannedFailure parse_failure(std::string_view part) {
    PlannedFailure failure{kFailPointCount, FailAction::kill, {}, 1};
    const size_t equals = part.find('=');
    failure.point = find_fail_point(part.substr(0, equals));
    if (equals == std::string_view::npos || failure.point == kFailPointCount)
        throw bad_plan(part, "It does not begin with a fail point and \"=\".");
    std::string_view action = part.substr(equals + 1);
    if (const size_t at = action.find('@'); at != std::string_view::npos) {
        const auto hit = number(action.substr(at + 1));
        if (!hit) throw bad_plan(part, "What stands after \"@\" is no count of hits.");
        failure.hit = *hit;
        action = action.substr(0, at);
    }
    constexpr std::string_view kPause = "pause:", kUnit = "ms";
    if (action.starts_with(kPause) && action.ends_with(kUnit)) {
        const auto time = number(action.substr(kPause.size(), action.size() - kPause.size() - kUnit.size()));
        if (!time) throw bad_plan(part, "A pause is a number of milliseconds.");
        failure.action = FailAction::pause;
        failure.pause = std::chrono::milliseconds(*time);
        return failure;
    }
    for (const ActionName& known : kActions) {
        if (known.action == FailAction::pause || known.name != action) continue;
        failure.action = known.action;
        return failure;
    }
    throw bad_plan(part, "The action is none of kill, stop, pause:NNNms, error:source and error:sink.");
}

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string() : std::string(value);
}

}  // namespace

std::vector<PlannedFailure> parse_fail_plan(std::string_view text) {
    std::vector<PlannedFailure> failures;
    while (!text.empty()) {
        const size_t end = text.find(';');
        const std::string_view part = text.substr(0, end);
        if (!part.empty()) failures.push_back(parse_failure(part));
        text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    }
    return failures;
}

FailPlan::FailPlan(std::string_view text, const std::string& log) : failures_(parse_fail_plan(text)) {
    if (log.empty()) return;
    log_ = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_ < 0)
        throw Error(ErrorCode::usage, "The file in WALFERRY_FAIL_POINT_LOG cannot be opened: " + log, "", "");
}

FailPlan::~FailPlan() {
    if (log_ >= 0) ::close(log_);
}

void FailPlan::hit(size_t point) {
    const uint64_t hit = hits_[point].fetch_add(1, std::memory_order_relaxed) + 1;
    if (std::has_single_bit(hit)) note(point, hit, {});
    for (const PlannedFailure& failure : failures_) {
        if (failure.point == point && failure.hit == hit) carry_out(failure);
    }
}

void FailPlan::note(size_t point, uint64_t hit, std::string_view action) const {
    if (log_ < 0) return;
    std::string line = std::string(kFailPoints[point].name) + " " + std::to_string(hit);
    if (!action.empty()) line.append(" ").append(action);
    line += '\n';
    static_cast<void>(!::write(log_, line.data(), line.size()));
}

void FailPlan::carry_out(const PlannedFailure& failure) const {
    note(failure.point, failure.hit, name_of(failure.action));
    const std::string what = "Fail point " + std::string(kFailPoints[failure.point].name);
    switch (failure.action) {
        case FailAction::kill:
            ::kill(getpid(), SIGKILL);
            break;
        case FailAction::stop:
            ::kill(getpid(), SIGSTOP);
            break;
        case FailAction::pause:
            std::this_thread::sleep_for(failure.pause);
            break;
        case FailAction::source_error:
            throw Error(ErrorCode::source_connection, what, "", "");
        case FailAction::sink_error:
            throw Error(ErrorCode::kafka_producer_fatal, what, "", "");
    }
}

void hit_fail_point(size_t number) {
    static FailPlan plan(environment("WALFERRY_FAIL_POINTS"), environment("WALFERRY_FAIL_POINT_LOG"));
    plan.hit(number);
}

}  // namespace walferry
