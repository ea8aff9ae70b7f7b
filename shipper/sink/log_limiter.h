// Passes librdkafka's log lines on to spdlog, a bounded number of them: a broker that is away gives the same
// line again and again.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>

namespace walferry {

// `burst` lines at once, one more each second; the lines held back are counted.
// Thread contract: any thread; librdkafka logs from its own ones.
class LogLimiter {
 public:
    using Clock = std::chrono::steady_clock;

    explicit LogLimiter(uint32_t burst = 20) : burst_(burst), tokens_(burst) {}

    // Whether a line may pass; `suppressed` is how many were held back since the last one that did.
    bool pass(Clock::time_point now, uint64_t& suppressed);
    // `level`: syslog's, 0 to 7.
    void log(int level, const char* facility, const char* text) noexcept;

 private:
    const uint32_t burst_;
    std::mutex mutex_;
    uint32_t tokens_;
    Clock::time_point refilled_{};
    uint64_t suppressed_ = 0;
};

}  // namespace walferry
