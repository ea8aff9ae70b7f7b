#include "source/replication_stream.h"

#include <libpq-fe.h>
#include <poll.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <utility>

namespace walferry {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Starting reads WAL from the slot's restart position, which can take a while, but not without any answer.
constexpr milliseconds kStartTimeout{120'000};
// Under TLS bytes can wait decrypted inside libpq, where poll() does not see them, and libpq offers no way to
// ask: read a few times before waiting, and wait in slices that start short.
constexpr int kTlsReads = 4;
constexpr milliseconds kTlsFirstSlice{1};
constexpr milliseconds kTlsLongestSlice{64};

template <typename Number>
Number number(const QueryResult& result, std::string_view column) {
    const std::string text = result.value(0, column).value_or("");
    Number value{};
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc{} || end != text.data() + text.size())
        throw Error(ErrorCode::source_protocol, "The server's answer cannot be read",
                    "The column " + std::string(column) + " is not a number",
                    "Reach the server directly, without a pooler between");
    return value;
}

milliseconds left_until(steady_clock::time_point deadline) {
    return std::max(milliseconds{0}, std::chrono::ceil<milliseconds>(deadline - steady_clock::now()));
}

}  // namespace

SystemIdentity identify_system(Connection& connection) {
    // First: no timeline comes after that of a server which has left recovery.
    const QueryResult state = connection.query(
        "SELECT pg_catalog.pg_is_in_recovery() AS standby, "
        "pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()) AS started");
    const QueryResult answer = connection.query("IDENTIFY_SYSTEM");
    return {SystemId{number<uint64_t>(answer, "systemid")},
            Timeline{number<uint32_t>(answer, "timeline")},
            parse_lsn(answer.value(0, "xlogpos").value_or("")).value_or(Lsn{}),
            answer.value(0, "dbname").value_or(""),
            state.value(0, "started").value_or(""),
            state.value(0, "standby") == "t"};
}

milliseconds limit_sender_timeout(Connection& connection, milliseconds longest) {
    const QueryResult answer = connection.query(
        "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'");  // ms; 0: never
    const milliseconds now{number<int64_t>(answer, "setting")};
    if (now > milliseconds{0} && now <= longest) return now;
    connection.query("SET wal_sender_timeout = " + std::to_string(longest.count()));
    return longest;
}

void ReplicationStream::FreeMessage::operator()(char* message) const {
    PQfreemem(message);
}

ReplicationStream::ReplicationStream(Connection connection, const std::string& slot, Lsn from,
                                     const PluginOptions& options)
    : connection_(std::move(connection)), last_heard_(steady_clock::now()) {
    connection_.scene().slot = slot;
    const ResultPtr result =
        connection_.execute(start_replication_command(slot, from, options), kStartTimeout);
    if (PQresultStatus(result.get()) != PGRES_COPY_BOTH)
        throw map_server_error(connection_.error_of(result.get()), connection_.scene());
    if (PQsetnonblocking(connection_.raw(), 1) != 0) connection_.throw_connection_lost();
}

ReplicationStream::~ReplicationStream() = default;

StreamEvent ReplicationStream::next(milliseconds timeout) {
    message_.reset();
    if (ended_) return {StreamEvent::Kind::end, {}, {}, {}, false};
    // No clock is read while messages are there.
    if (auto event = take_buffered()) return *event;
    const auto deadline = steady_clock::now() + timeout;
    const bool tls = connection_.uses_tls();
    milliseconds slice = tls ? kTlsFirstSlice : milliseconds::max();
    while (true) {
        for (int reads = tls ? kTlsReads : 1; reads > 0; --reads) {
            read_socket();
            if (auto event = take_buffered()) {
                last_heard_ = steady_clock::now();
                return *event;
            }
        }
        push_out();
        const milliseconds left = left_until(deadline);
        if (!wait(std::min(left, slice)) || left == milliseconds{0}) return {};
        if (tls) slice = std::min(slice * 2, kTlsLongestSlice);
    }
}

std::optional<StreamEvent> ReplicationStream::take_buffered() {
    char* bytes = nullptr;
    const int length = PQgetCopyData(connection_.raw(), &bytes, 1);
    if (length == 0) return std::nullopt;
    if (length == -1) return finish();
    if (length < 0) connection_.throw_connection_lost();
    message_.reset(bytes);
    const ReplicationMessage message =
        parse_replication_message({reinterpret_cast<const uint8_t*>(bytes), static_cast<size_t>(length)});
    const bool is_frame = message.kind == ReplicationMessage::Kind::xlog_data;
    return StreamEvent{is_frame ? StreamEvent::Kind::frame : StreamEvent::Kind::keepalive, message.payload,
                       message.data_start, message.wal_end, message.reply_requested};
}

// The copy is over: by an error, or because the server shuts down.
StreamEvent ReplicationStream::finish() {
    const ResultPtr result{PQgetResult(connection_.raw())};
    if (result && PQresultStatus(result.get()) == PGRES_FATAL_ERROR) {
        const ServerError error = connection_.error_of(result.get());
        throw map_server_error(error, connection_.scene());
    }
    ended_ = true;
    return {StreamEvent::Kind::end, {}, {}, {}, false};
}

void ReplicationStream::read_socket() {
    if (PQconsumeInput(connection_.raw()) == 0) connection_.throw_connection_lost();
}

// False when the caller should have its turn: a readable wake descriptor, or a signal.
bool ReplicationStream::wait(milliseconds longest) {
    const short events = flush_pending_ ? POLLIN | POLLOUT : POLLIN;
    pollfd entries[2] = {{PQsocket(connection_.raw()), events, 0}, {wake_descriptor_, POLLIN, 0}};
    const int bounded = static_cast<int>(std::min<milliseconds::rep>(longest.count(), 3'600'000));
    const int ready = ::poll(entries, 2, bounded);
    if (ready < 0) return false;
    // Bytes of a large message count as well: it may take long to be whole.
    if ((entries[0].revents & POLLIN) != 0) last_heard_ = steady_clock::now();
    return entries[1].revents == 0 || (entries[0].revents & POLLIN) != 0;
}

void ReplicationStream::push_out() {
    if (!flush_pending_ && !waiting_status_) return;
    const int flushed = PQflush(connection_.raw());
    if (flushed < 0) connection_.throw_connection_lost();
    flush_pending_ = flushed > 0;
    if (flush_pending_ || !waiting_status_) return;
    const Status status = *waiting_status_;
    waiting_status_.reset();
    const int put = PQputCopyData(connection_.raw(), status.data(), static_cast<int>(status.size()));
    if (put < 0) connection_.throw_connection_lost();
    if (put == 0) {
        waiting_status_ = status;
        flush_pending_ = true;
        return;
    }
    const int rest = PQflush(connection_.raw());
    if (rest < 0) connection_.throw_connection_lost();
    flush_pending_ = rest > 0;
}

void ReplicationStream::send_status(Lsn received, Lsn flushed, bool reply_requested) {
    if (ended_) return;
    const Lsn written = std::max(received, flushed);
    waiting_status_ = standby_status(written, flushed, postgres_micros_now(), reply_requested);
    push_out();
}

bool ReplicationStream::stop(milliseconds timeout) {
    message_.reset();
    pg_conn* raw = connection_.raw();
    const auto deadline = steady_clock::now() + timeout;
    // The last confirmed position still goes out; libpq's buffer takes this one message in any case.
    if (waiting_status_ && PQputCopyData(raw, waiting_status_->data(), kStandbyStatusSize) < 0) return false;
    waiting_status_.reset();
    // Refused only where the server has already ended the copy by an error.
    if (PQputCopyEnd(raw, nullptr) < 0) return false;
    bool copy_over = false;
    while (PQstatus(raw) == CONNECTION_OK) {
        const int flushed = PQflush(raw);
        if (flushed < 0) return false;
        flush_pending_ = flushed > 0;
        char* bytes = nullptr;
        int length = 0;
        while (!copy_over && (length = PQgetCopyData(raw, &bytes, 1)) > 0) PQfreemem(bytes);
        if (length < -1) return false;
        copy_over = copy_over || length == -1;
        while (copy_over && PQisBusy(raw) == 0) {
            const ResultPtr result{PQgetResult(raw)};
            if (!result) {
                ended_ = true;
                return PQsetnonblocking(raw, 0) == 0;
            }
            if (PQresultStatus(result.get()) == PGRES_FATAL_ERROR) return false;
        }
        const milliseconds left = left_until(deadline);
        if (left == milliseconds{0}) return false;
        pollfd entry{PQsocket(raw), static_cast<short>(flush_pending_ ? POLLIN | POLLOUT : POLLIN), 0};
        const milliseconds slice = connection_.uses_tls() ? std::min(left, kTlsFirstSlice) : left;
        if (::poll(&entry, 1, static_cast<int>(slice.count())) >= 0 && PQconsumeInput(raw) == 0) return false;
    }
    return false;
}

}  // namespace walferry
