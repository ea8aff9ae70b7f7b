#include "run/promotion_watch.h"

#include "run/logging.h"
#include "run/start.h"

namespace walferry {
namespace {

using std::chrono::seconds;

constexpr seconds kInterval{10};
constexpr seconds kConnectTimeout{5};

std::optional<SystemIdentity> identify(const TaskConfig& config, const std::atomic<bool>& stop) {
    try {
        Connection connection = open_source(config, stop, kConnectTimeout);
        return identify_system(connection);
    } catch (const Error& error) {
        // The stream itself tells of what is wrong with the server.
        if (!stop.load())
            log_info("cannot look whether the standby was promoted", {{"reason", error.happened()}});
        return std::nullopt;
    }
}

}  // namespace

PromotionWatch::~PromotionWatch() {
    stop_ = true;
}

std::optional<SystemIdentity> PromotionWatch::look(const SystemIdentity& before) {
    if (!before.in_recovery) return std::nullopt;
    if (!looking_.valid()) {
        if (Clock::now() >= next_)
            looking_ = std::async(std::launch::async, identify, std::cref(config_), std::cref(stop_));
        return std::nullopt;
    }
    if (looking_.wait_for(seconds(0)) != std::future_status::ready) return std::nullopt;
    next_ = Clock::now() + kInterval;
    std::optional<SystemIdentity> now = looking_.get();
    if (!now || !is_same_process(*now, before.started)) return std::nullopt;
    if (now->in_recovery && now->timeline == before.timeline) return std::nullopt;
    log_info(now->in_recovery ? "the standby follows a new timeline" : "the server was promoted",
             {{"timeline", now->timeline.value}, {"before", before.timeline.value}});
    return now;
}

}  // namespace walferry
