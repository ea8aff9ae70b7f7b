#include "run/stand_by.h"

#include <chrono>
#include <optional>
#include <string>
#include <thread>

#include "run/logging.h"

namespace walferry {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kStandByInterval{250};

}  // namespace

bool stand_by(Connection& connection, SlotInfo slot, const TaskConfig& config, SessionMemory& memory,
              const std::atomic<bool>& stop) {
    const std::string application = "walferry-" + config.name;
    int ended_pid = 0;
    std::string last_reply;
    auto replied_at = std::chrono::steady_clock::now();
    bool waited = false;
    while (slot.active_pid) {
        const std::optional<SlotHolder> holder = find_holder(connection, slot);
        if (holder && holder->application_name != application) break;
        if (holder && !waited) {
            log_info("standing by: another connection of this task reads the slot",
                     {{"slot", slot.name}, {"pid", holder->pid}, {"client_address", holder->client_address}});
        }
        if (holder) memory.standing_by = waited = true;
        // Its own timeout ends a connection whose client takes nothing any more; this also one that has
        // nothing to send. By our clock: the time of a reply is told by that of the other shipper.
        const QueryResult reply =
            connection.query("SELECT reply_time FROM pg_catalog.pg_stat_replication WHERE pid = " +
                             std::to_string(*slot.active_pid));
        const std::string replied =
            std::to_string(*slot.active_pid) + " " +
            (reply.rows.empty() ? std::string() : reply.value(0, "reply_time").value_or(""));
        const auto now = std::chrono::steady_clock::now();
        if (replied != last_reply) {
            last_reply = replied;
            replied_at = now;
        }
        if (!reply.rows.empty() && now - replied_at > config.source.takeover_timeout &&
            ended_pid != *slot.active_pid) {
            ended_pid = *slot.active_pid;
            log_warning(
                "the other shipper is silent: ending its connection",
                {{"pid", ended_pid}, {"takeover_timeout_ms", config.source.takeover_timeout.count()}});
            (void)connection.try_query("SELECT pg_catalog.pg_terminate_backend(" + std::to_string(ended_pid) +
                                       ")");
        }
        const auto until = std::chrono::steady_clock::now() + kStandByInterval;
        while (std::chrono::steady_clock::now() < until) {
            if (stop.load()) {
                throw Error(ErrorCode::source_stopped, "Stopped while standing by", "",
                            "Nothing was left undone.");
            }
            std::this_thread::sleep_for(milliseconds(25));
        }
        const std::optional<SlotInfo> found = find_slot(connection, slot.name);
        if (!found) break;
        slot = *found;
        if (!holder && !waited && slot.active_pid) break;  // not to be seen: what follows judges
    }
    if (waited) log_info("taking over", {{"slot", slot.name}});
    return waited;
}

}  // namespace walferry
