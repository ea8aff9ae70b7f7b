// Notices that a standby which is being read was promoted, or follows another timeline: the stream goes on
// through that and does not tell. Noticed late it does no harm while the same process runs; once that is
// gone, nothing would tell its history from another.
//
// Thread contract: one thread; it looks in one of its own.
#pragma once

#include <atomic>
#include <chrono>
#include <future>
#include <optional>

#include "config/task.h"
#include "source/replication_stream.h"

namespace walferry {

class PromotionWatch {
 public:
    explicit PromotionWatch(const TaskConfig& config) : config_(config) {}
    // Gives a look up that is under way.
    ~PromotionWatch();
    PromotionWatch(const PromotionWatch&) = delete;
    PromotionWatch& operator=(const PromotionWatch&) = delete;

    // Call it now and then, `before` being what is known. Does not wait. What the same process has become, if
    // it is on another timeline or no standby any more.
    std::optional<SystemIdentity> look(const SystemIdentity& before);

 private:
    using Clock = std::chrono::steady_clock;

    const TaskConfig& config_;
    std::atomic<bool> stop_{false};
    std::future<std::optional<SystemIdentity>> looking_;
    Clock::time_point next_ = Clock::now();
};

}  // namespace walferry
