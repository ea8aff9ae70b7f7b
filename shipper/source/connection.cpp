#include "source/connection.h"

#include <libpq-fe.h>
#include <poll.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <utility>

namespace walferry {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// How soon a stop is seen while waiting for the server.
constexpr milliseconds kStopSlice{50};
// How long a cancelled command may take to answer.
constexpr milliseconds kCancelGrace{2'000};

// Text forms must not depend on the role's or the database's settings, nothing may end a long wait but us,
// and no object outside pg_catalog may stand in front of one inside.
// transaction_timeout came with 17, and would end the decoding of a long transaction again and again.
constexpr const char* kSessionSettings =
    "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = "
    "'transaction_timeout'; "
    "SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET extra_float_digits = 3; SET timezone = "
    "'UTC'; "
    "SET bytea_output = 'hex'; SET search_path = ''; SET statement_timeout = 0; SET lock_timeout = 0; "
    "SET idle_in_transaction_session_timeout = 0; SET idle_session_timeout = 0";

struct FreeOptions {
    void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};
using OptionsPtr = std::unique_ptr<PQconninfoOption, FreeOptions>;

std::string option(const PQconninfoOption* options, std::string_view keyword) {
    for (const PQconninfoOption* at = options; at != nullptr && at->keyword != nullptr; ++at)
        if (keyword == at->keyword) return at->val == nullptr ? "" : at->val;
    return "";
}

std::string without_quoted(std::string_view text) {
    std::string masked;
    bool inside = false;
    for (char c : text) {
        if (c == '"') inside = !inside;
        if (!inside || c == '"') masked += c;
    }
    return masked;
}

// libpq quotes the piece of the string that it could not read; next to a password that may be half of it.
std::string mask_quoted(std::string_view text, const std::string& dsn) {
    if (dsn.find("password") == std::string::npos && dsn.find("://") == std::string::npos)
        return std::string(text);
    return without_quoted(text);
}

// In a URI libpq ends the password at the first '@', so one with an '@' in it runs on into the hosts or the
// ports. Where that rest ends, its '@' included; 0 if there is none. A host that begins with '@' is an
// abstract socket.
size_t end_of_secret(std::string_view hosts) {
    for (size_t at = hosts.rfind('@'); at != std::string_view::npos && at > 0; at = hosts.rfind('@', at - 1))
        if (hosts[at - 1] != ',') return at + 1;
    return 0;
}

std::string addresses(const PQconninfoOption* options) {
    return option(options, "host") + ":" + option(options, "port");
}

// libpq's messages run over several lines with tabs; ours take one.
std::string one_line(std::string_view text) {
    std::string line;
    for (char c : text) {
        const bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
        if (!blank)
            line += c;
        else if (!line.empty() && line.back() != ' ')
            line += ' ';
    }
    if (line.ends_with(' ')) line.pop_back();
    return line;
}

OptionsPtr parse_dsn(const std::string& dsn) {
    char* reason = nullptr;
    OptionsPtr options{PQconninfoParse(dsn.c_str(), &reason)};
    if (options) return options;
    const std::string why = reason == nullptr ? "out of memory" : one_line(mask_quoted(reason, dsn));
    PQfreemem(reason);
    throw Error(
        ErrorCode::source_dsn, "The DSN of the source cannot be read", why,
        "Write it as \"host=... dbname=... user=...\" or \"postgresql://user@host/dbname\"; put values with "
        "blanks in single quotes");
}

void log_notice(void* /*unused*/, const PGresult* result) {
    const auto field = [result](int code) {
        const char* value = PQresultErrorField(result, code);
        return std::string_view(value == nullptr ? "" : value);
    };
    const std::string_view severity = field(PG_DIAG_SEVERITY_NONLOCALIZED);
    const auto level = severity == "WARNING"           ? spdlog::level::warn
                       : severity.starts_with("DEBUG") ? spdlog::level::debug
                                                       : spdlog::level::info;
    const std::string_view detail = field(PG_DIAG_MESSAGE_DETAIL);
    spdlog::log(level, "server says {}: {}{}{}", severity, field(PG_DIAG_MESSAGE_PRIMARY),
                detail.empty() ? "" : "; ", detail);
}

// True when the socket is ready; false after at most a slice.
bool wait_for_socket(int socket, short events, milliseconds longest) {
    pollfd entry{socket, events, 0};
    const auto slice = std::clamp(longest, milliseconds{0}, kStopSlice);
    return ::poll(&entry, 1, static_cast<int>(slice.count())) > 0;
}

milliseconds left_until(steady_clock::time_point deadline) {
    return std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
}

Error stopped(const std::string& doing) {
    return Error(ErrorCode::source_stopped, "Stopped while " + doing, "The process was asked to stop", "");
}

QueryResult rows_of(const PGresult* result) {
    QueryResult rows;
    const int columns = PQnfields(result);
    for (int column = 0; column < columns; ++column) rows.columns.emplace_back(PQfname(result, column));
    rows.rows.resize(static_cast<size_t>(PQntuples(result)));
    for (size_t index = 0; index < rows.rows.size(); ++index) {
        const int row = static_cast<int>(index);
        for (int column = 0; column < columns; ++column) {
            if (PQgetisnull(result, row, column) != 0)
                rows.rows[index].emplace_back(std::nullopt);
            else
                rows.rows[index].emplace_back(std::string(
                    PQgetvalue(result, row, column), static_cast<size_t>(PQgetlength(result, row, column))));
        }
    }
    return rows;
}

}  // namespace

void FreeResult::operator()(pg_result* result) const {
    PQclear(result);
}
void Connection::Finish::operator()(pg_conn* connection) const {
    PQfinish(connection);
}

std::optional<std::string> QueryResult::value(size_t row, std::string_view column) const {
    const auto found = std::find(columns.begin(), columns.end(), column);
    if (row >= rows.size() || found == columns.end()) return std::nullopt;
    return rows[row][static_cast<size_t>(found - columns.begin())];
}

Connection::~Connection() = default;
Connection::Connection(Connection&&) noexcept = default;

Connection::Connection(const ConnectionSettings& settings, const std::atomic<bool>& stop) : stop_(stop) {
    start(settings);
    const OptionsPtr effective{PQconninfo(raw())};
    // PQconnectPoll leaves connect_timeout to its caller.
    const std::string given = option(effective.get(), "connect_timeout");
    const long seconds =
        given.empty() ? settings.connect_timeout.count() : std::strtol(given.c_str(), nullptr, 10);
    const std::string hosts = option(effective.get(), "host") + option(effective.get(), "hostaddr");
    const auto host_count = 1 + std::count(hosts.begin(), hosts.end(), ',');
    const auto bound = seconds <= 0 ? std::chrono::hours{24} : std::chrono::seconds{seconds} * host_count;
    application_name_ = option(effective.get(), "application_name");
    if (application_name_.empty()) application_name_ = settings.application_name;
    finish_handshake(steady_clock::now() + bound);
    remember_scene();
    PQsetErrorVerbosity(raw(), PQERRORS_DEFAULT);
    query(kSessionSettings);
    spdlog::info("connected to version {} of {}, database {}, as {}, backend pid {}{}",
                 PQparameterStatus(raw(), "server_version"), scene_.server, scene_.database, scene_.user,
                 backend_pid(), uses_tls() ? ", tls" : "");
}

void Connection::start(const ConnectionSettings& settings) {
    const OptionsPtr given = parse_dsn(settings.dsn);
    const bool service = !option(given.get(), "service").empty() || std::getenv("PGSERVICE") != nullptr;
    std::vector<std::pair<const char*, const char*>> parameters;
    // What stands before dbname is overridden by it, what stands after overrides it. A service file only
    // fills what is still unset, so our own defaults would shadow it.
    if (!service) {
        parameters = {{"keepalives_idle", "15"},
                      {"keepalives_interval", "5"},
                      {"keepalives_count", "3"},
                      {"tcp_user_timeout", "15000"}};
    }
    parameters.emplace_back("fallback_application_name", settings.application_name.c_str());
    parameters.emplace_back("dbname", settings.dsn.c_str());
    parameters.emplace_back("replication", "database");
    parameters.emplace_back("client_encoding", "UTF8");
    std::vector<const char*> keywords;
    std::vector<const char*> values;
    for (const auto& [keyword, value] : parameters) {
        keywords.push_back(keyword);
        values.push_back(value);
    }
    keywords.push_back(nullptr);
    values.push_back(nullptr);

    connection_.reset(PQconnectStartParams(keywords.data(), values.data(), 1));
    if (!connection_)
        throw Error(ErrorCode::source_connection, "No connection object", "libpq is out of memory",
                    "Free memory");
    PQsetErrorVerbosity(raw(), PQERRORS_VERBOSE);
    PQsetNoticeReceiver(raw(), log_notice, nullptr);
    remember_scene();
    if (PQstatus(raw()) != CONNECTION_BAD) return;
    // Failed before anything was sent: an address that does not answer, or a setting that libpq refuses.
    const std::string_view text = PQerrorMessage(raw());
    const bool about_address = text.find("connection to server") != std::string_view::npos ||
                               text.find("could not") != std::string_view::npos;
    if (about_address) throw_connect_error();
    throw Error(ErrorCode::source_dsn, "The DSN of the source is not usable", masked_words(text),
                "Correct that setting in the DSN, the PG* variables or the service file");
}

void Connection::finish_handshake(steady_clock::time_point deadline) {
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state != PGRES_POLLING_OK) {
        if (stop_) throw stopped("connecting to " + scene_.server);
        const auto left = left_until(deadline);
        if (left <= milliseconds::zero()) {
            remember_scene();
            throw map_server_error(ServerError{"", "", "no connection within connect_timeout", "", "", ""},
                                   scene_);
        }
        if (!wait_for_socket(PQsocket(raw()), state == PGRES_POLLING_READING ? POLLIN : POLLOUT, left))
            continue;
        state = PQconnectPoll(raw());
        if (state == PGRES_POLLING_FAILED) throw_connect_error();
    }
}

void Connection::remember_scene() {
    const auto text = [](const char* value) { return std::string(value == nullptr ? "" : value); };
    const std::string host = text(PQhost(raw()));
    scene_.server = host.empty() ? "PostgreSQL" : "PostgreSQL at " + host + ":" + text(PQport(raw()));
    const OptionsPtr effective{PQconninfo(raw())};
    const std::string all = addresses(effective.get());
    if (const size_t end = end_of_secret(all); end > 0)
        scene_.server = "PostgreSQL at ***@" + all.substr(end);
    scene_.database = text(PQdb(raw()));
    scene_.user = text(PQuser(raw()));
}

void Connection::throw_connect_error() {
    remember_scene();
    ServerError error = parse_connect_message(PQerrorMessage(raw()));
    error.message = masked_words(error.message);
    throw map_server_error(error, scene_);
}

std::string Connection::masked_words(std::string_view text) {
    const OptionsPtr effective{PQconninfo(raw())};
    return one_line(end_of_secret(addresses(effective.get())) > 0 ? without_quoted(text) : std::string(text));
}

void Connection::throw_connection_lost() {
    // Taken first: reading on may put another text in its place.
    const std::string libpq_words = one_line(PQerrorMessage(raw()));
    char* message = nullptr;
    while (PQgetCopyData(raw(), &message, 1) > 0) PQfreemem(message);
    // After a broken connection PQisBusy is false, so this does not wait.
    while (PQisBusy(raw()) == 0) {
        const ResultPtr result{PQgetResult(raw())};
        if (!result) break;
        const ServerError error = error_of(result.get());
        if (!error.sqlstate.empty()) throw map_server_error(error, scene_);
        if (PQresultStatus(result.get()) != PGRES_FATAL_ERROR) break;
    }
    throw map_server_error(ServerError{"", "", libpq_words, "", "", ""}, scene_);
}

ServerError Connection::error_of(const pg_result* result) const {
    const auto field = [result](int code) {
        const char* value = PQresultErrorField(result, code);
        return std::string(value == nullptr ? "" : value);
    };
    ServerError error{field(PG_DIAG_SEVERITY_NONLOCALIZED), field(PG_DIAG_SQLSTATE),
                      field(PG_DIAG_MESSAGE_PRIMARY),       field(PG_DIAG_MESSAGE_DETAIL),
                      field(PG_DIAG_MESSAGE_HINT),          field(PG_DIAG_CONTEXT)};
    if (error.message.empty()) error.message = one_line(PQresultErrorMessage(result));
    return error;
}

void Connection::cancel() {
    const std::unique_ptr<PGcancel, void (*)(PGcancel*)> handle{PQgetCancel(raw()), PQfreeCancel};
    std::array<char, 256> reason{};
    if (handle && PQcancel(handle.get(), reason.data(), static_cast<int>(reason.size())) == 0)
        spdlog::warn("cannot cancel the running command: {}", one_line(reason.data()));
}

ResultPtr Connection::execute(const std::string& text, milliseconds timeout) {
    if (PQsendQuery(raw(), text.c_str()) == 0) throw_connection_lost();
    auto deadline = steady_clock::now() + timeout;
    bool cancelled = false;
    ResultPtr last;
    while (true) {
        while (PQisBusy(raw()) != 0) {
            if (stop_) {
                if (!cancelled) cancel();
                throw stopped("waiting for " + scene_.server);
            }
            const auto left = left_until(deadline);
            if (left <= milliseconds::zero() && !cancelled) {
                cancel();
                cancelled = true;
                deadline = steady_clock::now() + kCancelGrace;
            } else if (left <= milliseconds::zero()) {
                break;
            }
            if (wait_for_socket(PQsocket(raw()), POLLIN, left) && PQconsumeInput(raw()) == 0)
                throw_connection_lost();
        }
        if (cancelled && PQisBusy(raw()) != 0) break;
        ResultPtr result{PQgetResult(raw())};
        if (!result) break;
        const ExecStatusType status = PQresultStatus(result.get());
        const bool failed_before = last && PQresultStatus(last.get()) == PGRES_FATAL_ERROR;
        if (!failed_before) last = std::move(result);
        if (status == PGRES_COPY_BOTH) return last;
        if (PQstatus(raw()) == CONNECTION_BAD) break;
    }
    if (cancelled)
        throw Error(
            ErrorCode::source_timeout,
            scene_.server + ": no answer within " + std::to_string(timeout.count()) + " ms",
            "The command was: " + text.substr(0, text.find(' ')),
            "See what the server waits for: SELECT pid, state, wait_event_type, wait_event, query FROM "
            "pg_stat_activity;");
    if (!last) throw_connection_lost();
    return last;
}

QueryOutcome Connection::try_query(const std::string& text, milliseconds timeout) {
    const ResultPtr result = execute(text, timeout);
    switch (PQresultStatus(result.get())) {
        case PGRES_TUPLES_OK:
            return {rows_of(result.get()), std::nullopt};
        case PGRES_COMMAND_OK:
            return {};
        default: {
            ServerError error = error_of(result.get());
            if (error.sqlstate.empty()) throw map_server_error(error, scene_);
            return {{}, std::move(error)};
        }
    }
}

QueryResult Connection::query(const std::string& text, milliseconds timeout) {
    QueryOutcome outcome = try_query(text, timeout);
    if (outcome.error) throw map_server_error(*outcome.error, scene_);
    return std::move(outcome.result);
}

int Connection::server_version() const {
    return PQserverVersion(connection_.get());
}
int Connection::backend_pid() const {
    return PQbackendPID(connection_.get());
}
bool Connection::uses_tls() const {
    return PQsslInUse(connection_.get()) != 0;
}

}  // namespace walferry
