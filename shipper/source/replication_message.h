// The messages inside CopyData of the streaming replication protocol (manual: "Streaming Replication
// Protocol", 55.4). Pure functions over bytes that may come from anywhere; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "common/types.h"

namespace walferry {

inline constexpr size_t kXLogDataHeaderSize = 25;
inline constexpr size_t kKeepaliveSize = 18;
inline constexpr size_t kStandbyStatusSize = 34;

struct ReplicationMessage {
    enum class Kind { xlog_data, keepalive };
    Kind kind;
    // xlog_data: the plugin's bytes, a view into the message. keepalive: empty.
    std::span<const uint8_t> payload;
    // xlog_data only; 0 where the plugin wrote "not the last write of this transaction".
    Lsn data_start;
    // The server's sent position at the time of sending.
    Lsn wal_end;
    // Server's clock, microseconds since 2000-01-01 UTC.
    int64_t sent_at;
    // keepalive only: the server ends the connection soon if it gets no status.
    bool reply_requested;
};

// Throws Error (source_protocol) for an empty, truncated, overlong or unknown message.
ReplicationMessage parse_replication_message(std::span<const uint8_t> message);

// The standby status update ('r'). `received` is reported as written, `flushed` as flushed and applied.
std::array<char, kStandbyStatusSize> standby_status(Lsn received, Lsn flushed, int64_t now_postgres_micros,
                                                    bool reply_requested);

}  // namespace walferry
