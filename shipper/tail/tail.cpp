#include "tail/tail.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>

#include "config/load.h"
#include "config/text.h"
#include "format/canal_json.h"
#include "format/pretty.h"
#include "record/frame_walker.h"
#include "run/logging.h"
#include "run/stop_flag.h"
#include "source/precheck.h"
#include "source/replication_stream.h"
#include "source/slot.h"
#include "source/timestamps.h"

namespace walferry {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kStatusInterval{1000};
constexpr Ordinal kFromStart{};

PrettyOptions pretty_options() {
    PrettyOptions options;
    options.colour = isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
    const std::time_t now = std::time(nullptr);
    std::tm local{};
    if (localtime_r(&now, &local)) options.utc_offset_seconds = static_cast<int32_t>(local.tm_gmtoff);
    return options;
}

// Prints each change as it comes; ends when told to, or when nobody reads any more.
class Tail {
 public:
    Tail(const TailOptions& options, const std::string& database)
        : limit_(options.count),
          pretty_(options.format == TailOptions::Format::pretty ||
                  (options.format == TailOptions::Format::automatic && isatty(STDOUT_FILENO))),
          canal_(CanalConfig{}, database),
          printer_(pretty_options()) {}

    void frame(std::span<const uint8_t> bytes) {
        walker_.open(bytes, *this);
        now_ms_ = unix_ms_now();
        walker_.visit(kFromStart, unix_micros(walker_.transaction().commit_time()) / 1000, *this);
        walker_.retire(0);
        walker_.release(0);
        flush();
    }
    // A pipe that nobody reads any more is not to be learnt from the next change, which may never come.
    void look_for_reader() {
        pollfd output{STDOUT_FILENO, 0, 0};
        if (poll(&output, 1, 0) > 0 && (output.revents & (POLLERR | POLLHUP)) != 0) closed_ = true;
    }
    bool done() const { return closed_ || (limit_ != 0 && printed_ >= limit_); }

    using Entry = FrameWalker<PreparedRelation>::Entry;
    void on_relation(Entry& entry) { entry.prepared = canal_.prepare(entry.schema); }
    void on_row(Entry& entry, const Row& row) {
        if (done()) return;
        const RenderStatus status =
            pretty_ ? printer_.render(row, out_) : canal_.render(entry.prepared, row, now_ms_, out_);
        if (status.outcome == Rendered::bad_value) throw bad_value_error(entry.schema, status);
        if (!pretty_) out_.push_back('\n');
        ++printed_;
        // The flags of a truncate share the field.
        if (row.operation != wire::Operation::Truncate && (row.images & wire::kOversize) != 0) {
            log_warning(
                "values that do not fit into a frame are left out of a row",
                {{"schema", entry.schema.schema}, {"table", entry.schema.table}, {"change", printed_}});
        }
    }
    void on_message(const LogicalMessage&) {}

 private:
    void flush() {
        const char* p = out_.data();
        size_t left = out_.size();
        while (left > 0 && !closed_) {
            const ssize_t written = write(STDOUT_FILENO, p, left);
            if (written >= 0) {
                p += written;
                left -= static_cast<size_t>(written);
            } else if (errno == EPIPE) {
                closed_ = true;
            } else if (errno != EINTR) {
                throw Error(ErrorCode::output_failed, "The output could not be written", std::strerror(errno),
                            "Make room, or send the output elsewhere.");
            }
        }
        out_.clear();
    }

    uint64_t limit_;
    bool pretty_;
    CanalJson canal_;
    Pretty printer_;
    FrameWalker<PreparedRelation> walker_;
    Output out_;
    int64_t now_ms_ = 0;
    uint64_t printed_ = 0;
    bool closed_ = false;
};

}  // namespace

int run_tail(const TailOptions& options) {
    const std::atomic<bool>& stop = stop_on_signals();
    SourceConfig source;
    source.tables = options.tables;
    source.streaming = false;

    ConnectionSettings settings;
    settings.dsn = options.dsn;
    settings.application_name = "walferry-tail";
    Connection connection(settings, stop);
    // Temporary: the server drops it with the connection, however this process ends.
    const std::string slot = "walferry_tail_" + std::to_string(connection.backend_pid());
    connection.scene().slot = slot;
    connection.scene().plugin = "walferry";
    PrecheckOptions checks;
    checks.slot = slot;
    require_precheck(precheck(connection, checks));
    SlotOptions temporary;
    temporary.temporary = true;
    const SystemIdentity identity = identify_system(connection);
    const SlotStart start = create_slot(connection, slot, "walferry", temporary);
    ReplicationStream stream(std::move(connection), slot, start.position,
                             PluginOptions{{"options", plugin_options_json(source)}});
    if (isatty(STDERR_FILENO))
        std::fprintf(stderr, "watching %s; Ctrl-C ends it\n", printable(identity.database).c_str());

    Tail tail(options, identity.database);
    Lsn received = start.position;
    auto next_status = std::chrono::steady_clock::now();
    try {
        while (!stop.load() && !tail.done()) {
            const StreamEvent event = stream.next(kStatusInterval);
            if (event.kind == StreamEvent::Kind::end) break;
            if (event.kind == StreamEvent::Kind::frame) tail.frame(event.payload);
            if (event.kind == StreamEvent::Kind::none) tail.look_for_reader();
            if (received < event.wal_end) received = event.wal_end;
            if (event.reply_requested || std::chrono::steady_clock::now() >= next_status) {
                stream.send_status(received, received);
                next_status = std::chrono::steady_clock::now() + kStatusInterval;
            }
        }
    } catch (const Error& error) {
        if (!stop.load() || error.code() != ErrorCode::source_stopped) throw;
    }
    return 0;
}

}  // namespace walferry
