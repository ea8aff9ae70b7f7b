// How long to wait before the next attempt: exponential, with jitter, within a total window. Single-threaded.
#pragma once

#include <algorithm>
#include <chrono>
#include <functional>
#include <optional>
#include <random>
#include <utility>

namespace walferry {

struct BackoffSettings {
    std::chrono::milliseconds first{250};
    std::chrono::milliseconds longest{30'000};
    double factor = 2.0;
    // Part of each delay that is drawn at random, 0 to 1: with 0.5 a delay lies between half and all of its
    // nominal value, so that many shippers do not come back at the same moment.
    double jitter = 0.5;
    // Counted from the first failure since reset().
    std::chrono::milliseconds window{std::chrono::minutes{720}};
};

class Backoff {
 public:
    using Clock = std::function<std::chrono::steady_clock::time_point()>;
    // Uniform in [0, 1).
    using Random = std::function<double()>;

    explicit Backoff(BackoffSettings settings = {}, Clock clock = &std::chrono::steady_clock::now,
                     Random random = seeded_random())
        : settings_(settings), clock_(std::move(clock)), random_(std::move(random)) {}

    // Call it after a failure: the delay before the next attempt, or nothing once the window has passed. The
    // last delay is cut so that one attempt falls on the window's end.
    std::optional<std::chrono::milliseconds> next() {
        using std::chrono::duration_cast;
        using std::chrono::milliseconds;
        const auto now = clock_();
        if (!first_failure_) {
            first_failure_ = now;
            nominal_ = static_cast<double>(settings_.first.count());
        }
        const auto left = settings_.window - duration_cast<milliseconds>(now - *first_failure_);
        if (left <= milliseconds::zero()) return std::nullopt;
        const double longest = static_cast<double>(settings_.longest.count());
        nominal_ = std::min(nominal_, longest);
        const double delay = nominal_ * (1.0 - settings_.jitter * random_());
        nominal_ *= settings_.factor;
        ++attempts_;
        return std::min(milliseconds{static_cast<milliseconds::rep>(delay)}, left);
    }

    // Call it after a success: the next failure opens a new window.
    void reset() {
        first_failure_.reset();
        attempts_ = 0;
    }

    // Delays handed out since reset().
    int attempts() const { return attempts_; }

 private:
    static Random seeded_random() {
        return [engine = std::mt19937_64{std::random_device{}()}]() mutable {
            return std::uniform_real_distribution<double>{0.0, 1.0}(engine);
        };
    }

    BackoffSettings settings_;
    Clock clock_;
    Random random_;
    std::optional<std::chrono::steady_clock::time_point> first_failure_;
    double nominal_ = 0;
    int attempts_ = 0;
};

}  // namespace walferry
