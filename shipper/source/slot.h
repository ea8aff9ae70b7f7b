// Logical replication slots: look up, judge, create, drop. Threads: those of the connection.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "common/types.h"
#include "error/error.h"
#include "source/command.h"
#include "source/connection.h"

namespace walferry {

// One row of pg_replication_slots; what the server's version does not have stays at its default.
struct SlotInfo {
    std::string name;
    std::string plugin;
    bool logical = false;
    std::string database;
    bool temporary = false;
    std::optional<int> active_pid;
    Lsn restart;
    Lsn confirmed_flush;
    std::string wal_status;                // reserved, extended, unreserved, lost; empty before it is known
    std::optional<int64_t> safe_wal_size;  // bytes of WAL until the slot may be lost; nothing without a limit
    std::string invalidation_reason;       // 17+
    bool conflicting = false;              // 16+
    bool failover = false;                 // 17+
    bool synced = false;                   // 17+
};

// Who reads a slot now, as far as the role may see it.
struct SlotHolder {
    int pid = 0;
    std::string application_name;
    std::string client_address;
    Lsn confirmed_flush;  // of the slot, when the holder was looked up
};

std::optional<SlotInfo> find_slot(Connection& connection, const std::string& name);
std::optional<SlotHolder> find_holder(Connection& connection, const SlotInfo& slot);

// Why the slot cannot be read by this shipper, or nothing. A slot that is in use is retryable
// (source_slot_active), because a dead connection holds it until wal_sender_timeout; but a reader with our
// own application name that took or advanced the slot since `before`, the holder seen at an earlier attempt,
// is alive: a second shipper (source_slot_second_shipper). These are the signs of life that a role without
// pg_read_all_stats can see. `before` must not be older than the last stream of this process.
// `in_recovery`: the server is a standby.
std::optional<Error> slot_problem(const SlotInfo& slot, const ServerScene& scene,
                                  const std::string& application_name,
                                  const std::optional<SlotHolder>& holder,
                                  const std::optional<SlotHolder>& before, bool in_recovery = false);

struct SlotStart {
    bool created = false;
    // The position from which the slot streams: its consistent point if new, else its confirmed position.
    Lsn position;
    // Of an exported snapshot, for a new slot that asked for one.
    std::string snapshot_name;
};

// Creating waits until every transaction that runs at that moment has ended, at most `timeout`.
// Throws Error: the mapped server error, source_timeout, source_stopped.
inline constexpr std::chrono::minutes kCreateSlotTimeout{10};
SlotStart create_slot(Connection& connection, const std::string& name, const std::string& plugin,
                      const SlotOptions& options, std::chrono::milliseconds timeout = kCreateSlotTimeout);

// The slot as it is, or a new one if there is none; logs which. Throws also slot_problem's error.
SlotStart ensure_slot(Connection& connection, const std::string& name, const std::string& plugin,
                      const SlotOptions& options, const std::optional<SlotHolder>& before = std::nullopt);

// Lets standbys keep a copy of the slot, unless it is so already; logs it. The server must be a primary of 17
// or later.
void ensure_failover(Connection& connection, const SlotInfo& slot);

// Waits for a reader to let go of the slot, at most `timeout`. No slot of the name: source_slot_missing.
void drop_slot(Connection& connection, const std::string& name,
               std::chrono::milliseconds timeout = Connection::kQueryTimeout);

}  // namespace walferry
