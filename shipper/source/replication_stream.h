// The changes of one slot as the server sends them (START_REPLICATION, copy-both mode).
// Threads: one thread at a time. No call waits longer than it is told to, however slow the other side is.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "common/types.h"
#include "source/command.h"
#include "source/connection.h"
#include "source/replication_message.h"
#include "source/timestamps.h"

namespace walferry {

// Which cluster this is and where it stands (IDENTIFY_SYSTEM).
struct SystemIdentity {
    SystemId system;
    Timeline timeline;
    Lsn flushed;  // the server's own WAL position; never a position to resume from
    std::string database;
    // When this server process was started, in its own words. What was read from a process is part of its
    // history, whatever timeline a promotion has brought it to since.
    std::string started;
    bool in_recovery = false;  // a standby: a promotion may change the timeline at any moment
};
SystemIdentity identify_system(Connection& connection);
// `started`: as an identity of before had it.
inline bool is_same_process(const SystemIdentity& now, const std::string& started) {
    return !started.empty() && now.started == started;
}

// Makes the server end the session, and before that ask for an answer, after at most `longest` without one;
// it also makes it say something while it decodes what is not for us. Returns the time that is in force. Call
// it before streaming.
std::chrono::milliseconds limit_sender_timeout(Connection& connection, std::chrono::milliseconds longest);

struct StreamEvent {
    // none: nothing within the time, or the wake descriptor became readable. end: the server closed the
    // stream.
    enum class Kind { none, frame, keepalive, end };
    Kind kind = Kind::none;
    // frame: the plugin's bytes, 25 bytes into a buffer of libpq's; valid until the next call of next() or
    // stop(). Bytes from the network: whoever reads them checks them.
    std::span<const uint8_t> payload;
    Lsn data_start;
    Lsn wal_end;
    // keepalive: answer by send_status at once, or the server ends the connection at wal_sender_timeout.
    bool reply_requested = false;
};

class ReplicationStream {
 public:
    // Starts streaming at `from`, or at the slot's confirmed position if that is later (Lsn{}: there). Takes
    // the connection over. Throws Error: the mapped server error, source_stopped, source_timeout.
    ReplicationStream(Connection connection, const std::string& slot, Lsn from, const PluginOptions& options);
    ~ReplicationStream();
    ReplicationStream(const ReplicationStream&) = delete;
    ReplicationStream& operator=(const ReplicationStream&) = delete;

    // A descriptor (eventfd, pipe) that ends the wait in next() while it is readable; not owned, not read;
    // -1: none.
    void set_wake_descriptor(int descriptor) { wake_descriptor_ = descriptor; }

    // The next message; at once if one is buffered, after reading all that the socket has otherwise. Also
    // pushes out what send_status could not send. A signal ends the wait. Throws Error: source_protocol for
    // malformed bytes, source_connection or source_unavailable for a lost connection, else the mapped server
    // error.
    StreamEvent next(std::chrono::milliseconds timeout);

    // Tells the server what has been received and what is safe in Kafka; `flushed` lets it discard WAL. Does
    // not wait: while the socket is full only the latest status is kept, and next() sends it. Throws like
    // next().
    void send_status(Lsn received, Lsn flushed, bool reply_requested = false);

    // Ends the stream properly, so that the connection takes commands again; unread changes are dropped, and
    // come again from the slot. False if the server did not follow within `timeout` (in the middle of a large
    // transaction it may not) or the connection is lost. Throws nothing.
    bool stop(std::chrono::milliseconds timeout);

    // When bytes last came from the server, part of a message included.
    std::chrono::steady_clock::time_point last_heard() const { return last_heard_; }
    // For commands after stop() returned true.
    Connection& connection() { return connection_; }

 private:
    struct FreeMessage {
        void operator()(char* message) const;
    };
    using Status = std::array<char, kStandbyStatusSize>;

    std::optional<StreamEvent> take_buffered();
    StreamEvent finish();
    void read_socket();
    bool wait(std::chrono::milliseconds longest);
    void push_out();

    Connection connection_;
    std::unique_ptr<char, FreeMessage> message_;
    int wake_descriptor_ = -1;
    bool flush_pending_ = false;
    bool ended_ = false;
    std::optional<Status> waiting_status_;
    std::chrono::steady_clock::time_point last_heard_;
};

}  // namespace walferry
