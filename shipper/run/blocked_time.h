// How long Kafka holds the pipeline up: a full queue, a transaction that is not committed yet. One thread.
#pragma once

#include <chrono>
#include <optional>

namespace walferry {

class BlockedTime {
 public:
    using Clock = std::chrono::steady_clock;

    // Something waits; again and again until end().
    void begin() {
        if (!since_) since_ = Clock::now();
    }
    void end() {
        if (since_) sum_ += Clock::now() - *since_;
        since_.reset();
    }
    // Since the begin(); 0 where nothing waits.
    Clock::duration now() const { return since_ ? Clock::now() - *since_ : Clock::duration::zero(); }
    // Of all such times, the present one included.
    Clock::duration in_all() const { return sum_ + now(); }

 private:
    std::optional<Clock::time_point> since_;
    Clock::duration sum_{};
};

}  // namespace walferry
