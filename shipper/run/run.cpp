#include "run/run.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <thread>
#include <utility>

#include "run/pipeline.h"
#include "run/logging.h"
#include "run/outage_session.h"
#include "run/progress_report.h"
#include "run/session.h"
#include "run/stop_flag.h"
#include "source/backoff.h"
#include "spool/outage_log.h"

namespace walferry {
namespace {

using std::chrono::milliseconds;

// Errors that mean "no connection for now", as opposed to those that may pass but need not.
bool is_connection_error(ErrorCode code) {
    switch (code) {
        case ErrorCode::source_slot_active:
        case ErrorCode::source_slot_exists:
        case ErrorCode::source_protocol:
        case ErrorCode::frame_damaged:
        case ErrorCode::kafka_topic_deleted:
        case ErrorCode::kafka_delivery:
            return false;
        default:
            return true;
    }
}

// Errors at which the outage log takes over, where there is one.
bool is_outage(ErrorCode code) {
    return code == ErrorCode::outage_begins || code == ErrorCode::kafka_unreachable ||
           code == ErrorCode::kafka_transaction || code == ErrorCode::kafka_delivery;
}

BackoffSettings backoff_settings(const RetryConfig& retry, milliseconds window) {
    BackoffSettings settings;
    settings.first = retry.initial_delay;
    settings.longest = retry.max_delay;
    settings.window = window;
    return settings;
}

// Runs one task: a session after another, until a signal or an error that no retry mends.
class Task {
 public:
    Task(const TaskConfig& config, const RunOptions& options, const std::atomic<bool>& stop)
        : config_(config),
          stop_(stop),
          report_(counters_, isatty(STDERR_FILENO) && config.log.format != LogFormat::json),
          connection_backoff_(backoff_settings(config.retry, config.retry.connection_window)),
          other_backoff_(backoff_settings(config.retry, config.retry.other_window)) {
        memory_.accept_gap = options.accept_gap;
    }

    int run() {
        log_info("starting", {{"task", config_.name}, {"version", WALFERRY_VERSION}});
        std::optional<Error> failure;
        while (!stop_.load()) {
            failure = attempt();
            report_.clear();
            const bool outage_begins = failure && outage_log_ && !outage_ && is_outage(failure->code());
            if (outage_begins) {
                log_warning(*failure);
                outage_ = true;
                continue;
            }
            if (failure && !stop_.load() && !retry_after(*failure)) throw *failure;
        }
        if (failure && !ends_well(*failure)) throw *failure;
        log_info("stopped", {{"task", config_.name},
                             {"rows", counters_.rows},
                             {"dead_letters", counters_.dead_letters},
                             {"split", counters_.split},
                             {"claim_checks", counters_.claim_checks},
                             {"key_only", counters_.key_only}});
        return 0;
    }

 private:
    using Clock = std::chrono::steady_clock;
    // Until another process of this task has let go of the outage log.
    static constexpr milliseconds kLogInterval{500};
    // The log gives back room segment by segment.
    static constexpr uint64_t kLargestSegment = uint64_t(64) << 20;
    static constexpr uint64_t kSegments = 16;

    // One session, until it ends by a signal (nothing is returned) or fails.
    std::optional<Error> attempt() {
        memory_.streamed = false;
        const auto start = Clock::now();
        const uint64_t rows = counters_.rows;
        const Lsn before = reached();
        try {
            if (config_.spool.outage && !outage_log_) open_outage_log();
            if (outage_log_ && (outage_ || !outage_log_->empty())) {
                note_what_is_owed();
                OutageSession(config_, *outage_log_, pipeline_, counters_, report_, memory_, stop_).run();
                outage_ = false;
                // The beginning of a transaction that did not fit is dropped when the log is opened.
                if (!stop_.load() && !outage_log_->empty()) outage_log_.reset();
                return std::nullopt;
            }
            if (!pipeline_) {
                auto pipeline = std::make_unique<Pipeline>(config_, counters_);
                pipeline->set_keep_going([this] { return !stop_.load(); });
                pipeline->connect(stop_);
                pipeline_ = std::move(pipeline);
            }
            Session session(config_, *pipeline_, report_, memory_, stop_);
            session.run();
            return std::nullopt;
        } catch (const Error& error) {
            // Only a stream that got somewhere ends the series of failures: for Kafka when it has
            // acknowledged more, since the same rows may be produced again and again; for PostgreSQL also
            // when it was there for a while.
            const bool lasted = counters_.rows != rows || Clock::now() - start > config_.retry.max_delay;
            const bool advanced = before < reached();
            if (memory_.streamed && (advanced || (lasted && error.retry() == Retry::source))) {
                connection_backoff_.reset();
                other_backoff_.reset();
            }
            return error;
        }
    }

    void open_outage_log() {
        const std::filesystem::path folder =
            std::filesystem::path(config_.spool.directory) / (config_.name + ".outage");
        const uint64_t limit = config_.spool.outage_size.value;
        outage_log_ = std::make_unique<OutageLog>(
            folder, config_.name, limit,
            OutageLogOptions{.segment_bytes = std::min(kLargestSegment, limit / kSegments)});
        memory_.log_id = outage_log_->id();
        if (outage_log_->dropped_bytes() > 0)
            log_info("dropped from the outage log what was not synchronised: it comes again",
                     {{"bytes", outage_log_->dropped_bytes()}});
    }

    // How far Kafka is known to have everything. The server may forget what it was told, this does not.
    Lsn reached() const {
        const Lsn acknowledged = pipeline_ ? pipeline_->confirmed() : Lsn{};
        return std::max({memory_.confirmed, confirmed_, acknowledged});
    }

    // Stopped by a signal while something was amiss: that is no failure where nothing was on its way.
    bool ends_well(const Error& error) const {
        if (error.retry() == Retry::never && error.code() != ErrorCode::source_stopped) return false;
        if (memory_.standing_by) return true;
        if (memory_.confirmed < owed_) return false;
        return !pipeline_ || (pipeline_->idle() && pipeline_->confirmed() <= memory_.confirmed);
    }

    // Waits before the next attempt. False if there is to be none.
    bool retry_after(const Error& error) {
        if (error.retry() == Retry::never) return false;
        if (error.retry() == Retry::sink) drop_pipeline();
        if (error.code() == ErrorCode::outage_log_in_use &&
            config_.source.second_shipper == SecondShipper::wait) {
            if (!std::exchange(waits_for_log_, true)) log_warning(error);
            wait_until(Clock::now() + kLogInterval);
            return true;
        }
        waits_for_log_ = false;
        Backoff& backoff = is_connection_error(error.code()) ? connection_backoff_ : other_backoff_;
        const std::optional<milliseconds> delay = backoff.next();
        if (!delay) {
            log_error("giving up: the retry window is over", {{"attempts", backoff.attempts()}});
            return false;
        }
        log_warning(error);
        log_info("trying again", {{"in_ms", delay->count()}, {"attempt", backoff.attempts()}});
        wait_until(Clock::now() + *delay);
        return true;
    }

    void wait_until(Clock::time_point until) {
        while (!stop_.load() && Clock::now() < until) wait_a_little();
    }

    // While the source is away, Kafka's acknowledgements still come in.
    void wait_a_little() {
        constexpr milliseconds kStep{50};
        if (!pipeline_) {
            std::this_thread::sleep_for(kStep);
            return;
        }
        try {
            pipeline_->poll(kStep);
        } catch (const Error& error) {
            if (error.retry() == Retry::never) throw;
            log_warning(error);
            drop_pipeline();
        }
    }

    // A producer that failed has lost messages: a new one takes its place, from the last confirmed position.
    void drop_pipeline() {
        note_what_is_owed();
        pipeline_.reset();
    }

    void note_what_is_owed() {
        if (!pipeline_) return;
        // Before its first session a pipeline knows of no confirmed position.
        confirmed_ = std::max(confirmed_, pipeline_->confirmed());
        if (!pipeline_->idle() || memory_.confirmed < pipeline_->confirmed()) {
            // An open transaction ends after what was read to its end.
            const Lsn read = pipeline_->resume_position();
            owed_ = std::max(owed_, Lsn{read.value + (pipeline_->in_transaction() ? 1 : 0)});
        }
    }

    const TaskConfig& config_;
    const std::atomic<bool>& stop_;
    Counters counters_;
    ProgressReport report_;
    SessionMemory memory_;
    std::unique_ptr<OutageLog> outage_log_;
    bool outage_ = false;  // Kafka is away
    bool waits_for_log_ = false;
    std::unique_ptr<Pipeline> pipeline_;
    Lsn confirmed_;  // by the deliveries before
    Lsn owed_;       // up to here a producer that was given up had rows that Kafka may lack
    Backoff connection_backoff_;
    Backoff other_backoff_;
};

}  // namespace

int run_task(const TaskConfig& config, const RunOptions& options) {
    return Task(config, options, stop_on_signals()).run();
}

}  // namespace walferry
