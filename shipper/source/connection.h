// A replication connection to one database (libpq, replication=database): it takes SQL as well as replication
// commands, one at a time. No code outside source/ depends on libpq.
// Threads: one thread at a time; `stop` may be set from anywhere, a signal handler included.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "source/server_error.h"

struct pg_conn;
struct pg_result;

namespace walferry {

struct ConnectionSettings {
    // libpq's connection string or URI; PG* variables, pgpass and service files work.
    std::string dsn;
    // Used unless the DSN, PGAPPNAME or the service file name one.
    std::string application_name = "walferry";
    // Per host, unless connect_timeout is given. Looking a host name up in DNS is outside of the bound.
    std::chrono::seconds connect_timeout{15};
};

using QueryRow = std::vector<std::optional<std::string>>;

struct QueryResult {
    std::vector<std::string> columns;
    std::vector<QueryRow> rows;

    // The value in the named column; nothing for NULL and for a column that is not there.
    std::optional<std::string> value(size_t row, std::string_view column) const;
};

struct QueryOutcome {
    QueryResult result;
    std::optional<ServerError> error;
};

struct FreeResult {
    void operator()(pg_result* result) const;
};
using ResultPtr = std::unique_ptr<pg_result, FreeResult>;

class Connection {
 public:
    static constexpr std::chrono::milliseconds kQueryTimeout{30'000};

    // Connects, and pins the session settings on which values' text forms depend. Keepalives,
    // TCP_USER_TIMEOUT and UTF8 are set; where a service file is in play it alone states the network
    // settings. Throws Error: source_dsn, source_stopped (soon after `stop` becomes true), or what
    // map_server_error says. `stop` must outlive the connection.
    Connection(const ConnectionSettings& settings, const std::atomic<bool>& stop);
    ~Connection();
    Connection(Connection&&) noexcept;
    Connection& operator=(Connection&&) = delete;

    // Runs SQL or a replication command and returns the last result. Throws Error: source_stopped,
    // source_timeout, or the mapped server error. At `stop` or the timeout the server is asked to cancel the
    // command.
    QueryResult query(const std::string& text, std::chrono::milliseconds timeout = kQueryTimeout);
    // The same, but a server error is a value; a lost connection, a stop or the timeout are still thrown.
    QueryOutcome try_query(const std::string& text, std::chrono::milliseconds timeout = kQueryTimeout);

    int server_version() const;  // 150020
    int server_major() const { return server_version() / 10'000; }
    int backend_pid() const;
    bool uses_tls() const;
    const std::string& application_name() const { return application_name_; }

    // What map_server_error puts into its texts: server, database and user are set by connecting; whoever
    // works on a slot sets slot and plugin.
    ServerScene& scene() { return scene_; }
    const ServerScene& scene() const { return scene_; }
    const std::atomic<bool>& stop() const { return stop_; }

    // For source/ only. The results are those of a command sent just before.
    pg_conn* raw() { return connection_.get(); }
    ResultPtr execute(const std::string& text, std::chrono::milliseconds timeout);
    ServerError error_of(const pg_result* result) const;
    // The error of a broken connection: the server's last words where it had any, otherwise libpq's.
    [[noreturn]] void throw_connection_lost();

 private:
    struct Finish {
        void operator()(pg_conn* connection) const;
    };

    void start(const ConnectionSettings& settings);
    void finish_handshake(std::chrono::steady_clock::time_point deadline);
    void remember_scene();
    [[noreturn]] void throw_connect_error();
    // libpq's message in one line, without names that may hold a part of a password.
    std::string masked_words(std::string_view text);
    void cancel();

    const std::atomic<bool>& stop_;
    std::unique_ptr<pg_conn, Finish> connection_;
    ServerScene scene_;
    std::string application_name_;
};

}  // namespace walferry
