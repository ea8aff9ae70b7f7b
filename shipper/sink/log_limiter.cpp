#include "sink/log_limiter.h"

#include <algorithm>
#include <exception>

#include <spdlog/spdlog.h>

namespace walferry {

bool LogLimiter::pass(Clock::time_point now, uint64_t& suppressed) {
    const std::lock_guard lock(mutex_);
    const int64_t seconds = std::chrono::duration_cast<std::chrono::seconds>(now - refilled_).count();
    if (seconds > 0) {
        tokens_ = static_cast<uint32_t>(std::min<int64_t>(burst_, tokens_ + seconds));
        refilled_ = now;
    }
    if (tokens_ == 0) {
        ++suppressed_;
        return false;
    }
    --tokens_;
    suppressed = suppressed_;
    suppressed_ = 0;
    return true;
}

void LogLimiter::log(int level, const char* facility, const char* text) noexcept try {
    // librdkafka says "error" of what it goes on to retry; what really fails comes as an Error.
    const auto severity = level <= 4   ? spdlog::level::warn
                          : level <= 6 ? spdlog::level::info
                                       : spdlog::level::debug;
    if (!spdlog::should_log(severity)) return;
    uint64_t suppressed = 0;
    // Debug lines come only where somebody asked for them.
    if (severity != spdlog::level::debug && !pass(Clock::now(), suppressed)) return;
    if (suppressed > 0) spdlog::log(severity, "kafka: {} more lines suppressed", suppressed);
    spdlog::log(severity, "kafka: {}: {}", facility, text);
} catch (const std::exception&) {
    // A log line is not worth the process, and this is called from C.
}

}  // namespace walferry
