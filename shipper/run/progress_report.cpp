#include "run/progress_report.h"

#include <cstdio>
#include <unistd.h>

#include <fmt/format.h>

#include "run/logging.h"
#include "source/command.h"
#include "source/timestamps.h"

namespace walferry {
namespace {

constexpr std::chrono::seconds kTerminalInterval{1};
constexpr std::chrono::seconds kLogInterval{10};

void write_all(const std::string& text) {
    // A terminal that is gone is no reason to stop.
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace

ProgressReport::ProgressReport(const Counters& counters, bool terminal)
    : counters_(counters), terminal_(terminal), last_(Clock::now()) {}

ProgressReport::~ProgressReport() {
    clear();
}

void ProgressReport::clear() {
    if (!line_shown_) return;
    write_all("\r\x1b[K");
    line_shown_ = false;
}

void ProgressReport::tick(const Pipeline& pipeline) {
    const Clock::time_point now = Clock::now();
    const auto passed = now - last_;
    if (passed < (terminal_ ? kTerminalInterval : kLogInterval)) return;
    const double seconds = std::chrono::duration<double>(passed).count();
    const double rows_per_second = static_cast<double>(counters_.rows - at_last_.rows) / seconds;
    const double mb_per_second =
        static_cast<double>(counters_.message_bytes - at_last_.message_bytes) / seconds / 1e6;
    // A lower bound: in a backlog the server does not tell how far its log has grown meanwhile.
    const uint64_t known_lag = confirmed_ < server_ ? server_.value - confirmed_.value : 0;
    // An idle stream has no lag: the last commit's age counts only while something is on its way.
    const int64_t lag_ms = pipeline.idle() || counters_.last_commit_unix_ms == 0
                               ? 0
                               : unix_ms_now() - counters_.last_commit_unix_ms;
    const bool changed = counters_.rows != at_last_.rows;
    last_ = now;
    at_last_ = counters_;
    if (terminal_) {
        write_all(fmt::format(
            "\r\x1b[K{:.0f} rows/s  {:.1f} MB/s  lag at least {} bytes, {} ms  total {} rows  confirmed {}{}",
            rows_per_second, mb_per_second, known_lag, lag_ms, counters_.rows, lsn_text(confirmed_),
            pipeline.sink().brokers_up() ? "" : "  KAFKA AWAY"));
        line_shown_ = true;
    } else if (changed || !pipeline.idle()) {
        log_info("progress", {{"rows_per_s", rows_per_second},
                              {"mb_per_s", mb_per_second},
                              {"known_lag_bytes", known_lag},
                              {"lag_ms", lag_ms},
                              {"rows", counters_.rows},
                              {"transactions", counters_.transactions},
                              {"in_flight", pipeline.outstanding()},
                              {"confirmed", lsn_text(confirmed_)},
                              {"brokers_up", pipeline.sink().brokers_up()},
                              {"dead_letters", counters_.dead_letters},
                              {"split", counters_.split},
                              {"claim_checks", counters_.claim_checks},
                              {"key_only", counters_.key_only}});
    }
}

}  // namespace walferry
