#include "run/outage_session.h"

#include <algorithm>
#include <string>
#include <thread>
#include <utility>

#include "config/load.h"
#include "position/lsn_text.h"
#include "run/logging.h"
#include "run/stand_by.h"
#include "run/start.h"

namespace walferry {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSyncInterval{100};
constexpr milliseconds kAdvanceInterval{1000};
constexpr milliseconds kLineInterval{10'000};
constexpr milliseconds kIdleWait{50};
// Frames between two looks at the source.
constexpr int kFramesAtOnce = 16;
// For how long the source is served at once while something waits for Kafka.
constexpr milliseconds kServeAtOnce{50};

BackoffSettings backoff_settings(const RetryConfig& retry) {
    BackoffSettings settings;
    settings.first = retry.initial_delay;
    settings.longest = std::min<milliseconds>(retry.max_delay, milliseconds(5000));
    settings.window = retry.connection_window;
    return settings;
}

std::unique_ptr<Pipeline> connected_pipeline(const TaskConfig& config, Counters& counters,
                                             const std::atomic<bool>& stop) {
    auto pipeline = std::make_unique<Pipeline>(config, counters);
    pipeline->connect(stop);
    return pipeline;
}

}  // namespace

OutageSession::OutageSession(const TaskConfig& config, OutageLog& log, std::unique_ptr<Pipeline>& pipeline,
                             Counters& counters, ProgressReport& report, SessionMemory& memory,
                             const std::atomic<bool>& stop)
    : config_(config),
      log_(log),
      pipeline_(pipeline),
      counters_(counters),
      report_(report),
      memory_(memory),
      stop_(stop),
      watch_(config.retry.connection_window),
      backoff_(backoff_settings(config.retry)) {
    if (pipeline_) end_pipeline();
    Connection connection = open_source(config, stop);
    if (const auto slot = find_slot(connection, config.source.slot);
        slot && config.source.second_shipper == SecondShipper::wait)
        stand_by(connection, *slot, config, memory, stop);
    facts_ = look_at_source(connection, config, memory);
    facts_.log_id = log.id();
    if (!log.empty()) facts_.log_begin = log.begin();
    const bool accepts_gap = memory.accept_gap && !log.empty();
    if (!facts_.slot && accepts_gap) {
        ensure_slot(connection, config.source.slot, "walferry", {.failover = config.source.failover});
        facts_.slot = find_slot(connection, config.source.slot);
    }
    if (!facts_.slot) {
        throw Error(ErrorCode::source_slot_missing,
                    "The replication slot \"" + config.source.slot + "\" does not exist",
                    log.empty()
                        ? "Whether it is the first start of the task, only the progress record in Kafka "
                          "tells."
                        : "The outage log holds changes that were confirmed to it.",
                    log.empty() ? "Start again when Kafka answers."
                                : "Find out who dropped it. A start with --accept-gap delivers what the log "
                                  "holds and makes a new slot; what was committed in between is missing.");
    }
    const Lsn slot = facts_.slot->confirmed_flush;
    require_same_history();
    memory.identity = facts_.server;
    if (accepts_gap && log.end() < slot) {
        log_warning("a gap was accepted: changes after the outage log's end and before the slot are missing",
                    {{"from", lsn_text(log.end())}, {"to", lsn_text(slot)}});
    } else if (!log.empty() && log.end() < slot) {
        throw Error(ErrorCode::source_slot_moved,
                    "The slot \"" + config.source.slot + "\" is confirmed up to " + lsn_text(slot) +
                        ", the outage log ends at " + lsn_text(log.end()),
                    "Something else has read from the slot or advanced it.",
                    "Find out what. A start with --accept-gap delivers what the log holds and goes on at the "
                    "slot's position; what was committed in between is missing.");
    }
    continues_ = !log.empty();
    memory.confirmed = confirmed_ = received_ = slot;
    const milliseconds sender_timeout = limit_sender_timeout(
        connection, std::min(config.source.silence_timeout / 3, config.source.takeover_timeout));
    status_interval_ = std::min(milliseconds(config.source.status_interval_ms), sender_timeout / 4);
    SourceConfig source = config.source;
    source.streaming = false;
    source.two_phase = {};
    const Lsn from = log.empty() ? slot : log.end();
    log.begin_session(
        {facts_.server.system, facts_.server.timeline, config.source.slot, facts_.server.database}, from);
    // The progress follows to where the slot goes on.
    if (accepts_gap && log.end() < slot) log.advance(slot);
    stream_ = std::make_unique<ReplicationStream>(std::move(connection), config.source.slot, from,
                                                  PluginOptions{{"options", plugin_options_json(source)}});
    while_blocked_ = [this] { return while_blocked(); };
    next_status_ = next_sync_ = next_line_ = Clock::now();
    memory.had_slot = true;
    memory.slot_holder.reset();
    memory.standing_by = false;
    memory.streamed = true;
    log_info("streaming into the outage log",
             {{"slot", config.source.slot}, {"from", lsn_text(from)}, {"log_bytes", log.used_bytes()}});
}

// What the log holds must be part of the server's history: its own positions would be skipped otherwise.
void OutageSession::require_same_history() const {
    if (log_.empty()) return;
    const auto end = facts_.ends.find(log_.source()->timeline);
    const bool read_from_it = memory_.identity && is_same_process(facts_.server, memory_.identity->started);
    if (!read_from_it && (end == facts_.ends.end() || end->second < log_.end())) {
        throw Error(ErrorCode::source_timeline_changed,
                    "The server is on timeline " + std::to_string(facts_.server.timeline.value) +
                        ", which does not hold what the outage log has of timeline " +
                        std::to_string(log_.source()->timeline.value) + " up to " + lsn_text(log_.end()),
                    "A standby was promoted before it had everything, or the database was restored to an "
                    "earlier point.",
                    "Find out which changes were lost. To go on without what the log holds, move its folder "
                    "away and start once with --accept-gap.");
    }
    if (log_.end() <= facts_.server.flushed) return;
    throw Error(facts_.server.in_recovery ? ErrorCode::source_in_recovery : ErrorCode::source_behind,
                "The server's log ends at " + lsn_text(facts_.server.flushed) + ", the outage log at " +
                    lsn_text(log_.end()),
                "The server was set back, or has not caught up.",
                "Find out what was restored. To go on without what the log holds, move its folder away and "
                "start once with --accept-gap.");
}

OutageSession::~OutageSession() {
    if (pipeline_) pipeline_->set_keep_going([stop = &stop_] { return !stop->load(); });
    // The threads look at `stop` only now and then, and the pipelines that they have are nobody's.
    if (kafka_.valid()) kafka_.wait();
    if (ending_.valid()) ending_.wait();
}

void OutageSession::run() {
    while (!stop_.load() && !drained_) {
        if (!pipeline_) {
            serve_source(kIdleWait);
            look_for_kafka();
        } else {
            try {
                drain();
            } catch (const Error& error) {
                if (error.retry() != Retry::sink) throw;
                lose_pipeline(error);
            }
        }
        tell();
    }
    synchronise();
    confirm(true);
    if (!stop_.load()) {
        log_info("the outage log is drained: Kafka has everything", {{"progress", lsn_text(log_.end())}});
    } else if (!log_.empty()) {
        log_info("stopped with changes in the outage log; the next start delivers them",
                 {{"log_bytes", log_.used_bytes()}, {"up_to", lsn_text(log_.durable_end())}});
    }
    stream_->stop(milliseconds(2000));
}

// Reads what the server sends into the log, as far as there is room, and keeps it informed. Whether there may
// be more at once.
bool OutageSession::serve_source(milliseconds wait) {
    // A frame is at most as large as libpq's buffer; whether a small one fits tells early enough.
    constexpr uint64_t kUsualFrame = 128 << 10;
    watch_kafka();
    int read = 0;
    for (; read < kFramesAtOnce; ++read) {
        const bool may_take = !paused_ || mid_transaction_;
        const bool room = log_.has_room(waiting_ ? waiting_->bytes().size() : kUsualFrame);
        if (!room && std::exchange(room_, false))
            log_warning("the outage log is full: the server keeps what comes",
                        {{"log_bytes", log_.used_bytes()}, {"why", log_.why_no_room()}});
        room_ |= room;
        if (!may_take || !room) {
            if (wait.count() > 0) std::this_thread::sleep_for(std::min(wait, milliseconds(20)));
            break;
        }
        if (waiting_) {
            const OwnFrame frame = *std::exchange(waiting_, std::nullopt);
            take(frame.bytes());
            continue;
        }
        const StreamEvent event = stream_->next(read == 0 ? wait : milliseconds(0));
        if (event.kind == StreamEvent::Kind::none) break;
        if (event.kind == StreamEvent::Kind::end)
            throw Error(ErrorCode::source_unavailable, "The server ended the stream", "",
                        "The connection is made anew; look into the server's log if it goes on.");
        received_ = std::max(received_, event.wal_end);
        report_.server_position(event.wal_end);
        if (event.kind == StreamEvent::Kind::frame) take(event.payload);
        if (event.kind != StreamEvent::Kind::keepalive) continue;
        if (!waiting_) idle_to_ = std::max(idle_to_, event.wal_end);
        if (event.reply_requested) confirm(true);
    }
    const Clock::time_point now = Clock::now();
    // Where nothing is for us the server need not keep its log either.
    if (log_.end() < idle_to_ && confirmed_ < idle_to_ && !mid_transaction_ && !paused_ && room_ &&
        next_advance_ <= now) {
        log_.advance(idle_to_);
        next_advance_ = now + kAdvanceInterval;
        if (!std::exchange(unsynchronised_, true)) next_sync_ = now;
    }
    if (unsynchronised_ && next_sync_ <= now) synchronise();
    confirm(false);
    return read == kFramesAtOnce;
}

// Called now and then, between waits of up to a second.
bool OutageSession::while_blocked() {
    const Clock::time_point until = Clock::now() + kServeAtOnce;
    while (serve_source(milliseconds(0)) && Clock::now() < until && !stop_.load()) {
    }
    tell();
    return !stop_.load();
}

// A pause ends when Kafka does not take the little that is left.
void OutageSession::watch_kafka() {
    if (!pipeline_) return;
    watch_.look(*pipeline_);
    if (!reader_) return;
    const Clock::time_point now = Clock::now();
    if (recorded_ != pipeline_->recorded()) {
        recorded_ = pipeline_->recorded();
        recorded_at_ = now;
    }
    if (now - recorded_at_ > config_.spool.outage_after) paused_ = false;
}

void OutageSession::take(std::span<const uint8_t> frame) {
    walker_.reopen(frame);
    const wire::FrameHeader& header = walker_.header();
    const Lsn end{walker_.transaction().end_lsn()};
    const bool message = header.kind == wire::FrameKind::message;
    if (!message && header.kind != wire::FrameKind::transaction)
        throw Error(ErrorCode::frame_malformed, "A transaction in progress came although none was asked for",
                    "", "Please report it, with the versions of plugin and shipper.");
    if (end <= log_.end()) {
        log_.observe(header, walker_.batch());
        return;
    }
    if (!log_.has_room(frame.size())) {
        waiting_.emplace(frame.size());
        std::copy(frame.begin(), frame.end(), waiting_->data());
        return;
    }
    const bool last = message || header.last;
    seen_ = std::max(seen_, Lsn{walker_.transaction().commit_lsn()});
    log_.append(frame, last ? end : Lsn{});
    mid_transaction_ = !last;
    if (!std::exchange(unsynchronised_, true)) next_sync_ = Clock::now() + kSyncInterval;
}

void OutageSession::synchronise() {
    if (!std::exchange(unsynchronised_, false)) return;
    log_.sync();
}

void OutageSession::confirm(bool now) {
    const Clock::time_point time = Clock::now();
    if (!now && time < next_status_) return;
    // Before the progress is known, and with an empty log, another machine's log may hold what comes before
    // the slot: that one must be able to go on where it ends.
    if (continues_ || memory_.progress_known) confirmed_ = std::max(confirmed_, log_.durable_end());
    stream_->send_status(std::max(received_, confirmed_), confirmed_);
    next_status_ = time + status_interval_;
    memory_.confirmed = confirmed_;
    report_.confirmed(confirmed_);
}

void OutageSession::look_for_kafka() {
    const Clock::time_point now = Clock::now();
    if (ending_.valid()) {
        if (ending_.wait_for(milliseconds(0)) != std::future_status::ready) return;
        ending_.get();
    }
    if (!kafka_.valid()) {
        if (now < look_again_) return;
        kafka_ = std::async(std::launch::async, connected_pipeline, std::cref(config_), std::ref(counters_),
                            std::cref(stop_));
        return;
    }
    if (kafka_.wait_for(milliseconds(0)) != std::future_status::ready) return;
    try {
        pipeline_ = kafka_.get();
        begin_pipeline();
    } catch (const Error& error) {
        if (error.retry() != Retry::sink) throw;
        lose_pipeline(error);
    }
}

// Kafka answers: what it lacks is delivered.
void OutageSession::begin_pipeline() {
    pipeline_->set_keep_going(while_blocked_);
    StartFacts facts = facts_;
    facts.log_begin = log_.empty() ? std::nullopt : std::optional<Lsn>(log_.begin());
    // Up to here the messages may have come that are looked for.
    facts.server.flushed = std::max({facts.server.flushed, log_.end(), seen_});
    walferry::begin_pipeline(*pipeline_, std::move(facts), config_, memory_, nullptr);
    if (pipeline_->overtaken()) throw overtaken_error(config_.source.slot);
    pipeline_->look_back();
    pipeline_->begin_session(facts_.server.system, facts_.server.timeline, facts_.server.database,
                             facts_.slot->confirmed_flush);
    log_.release(pipeline_->recorded());
    reader_.emplace(log_);
    recorded_ = pipeline_->recorded();
    recorded_at_ = Clock::now();
    backoff_.reset();
    log_info("Kafka answers again: delivering what the outage log holds",
             {{"log_bytes", log_.used_bytes()}, {"from", lsn_text(pipeline_->recorded())}});
}

void OutageSession::drain() {
    bool more = true;
    for (int i = 0; i < kFramesAtOnce && more; ++i) {
        const auto item = reader_->next();
        more = item.has_value();
        if (more) deliver(*item);
    }
    pipeline_->poll();
    pipeline_->tick();
    log_.release(pipeline_->recorded());
    report_.tick(*pipeline_);
    if (more) {
        serve_source(milliseconds(0));
        return;
    }
    // The end is near: what comes now waits with the server for a moment, so that the log can become empty.
    paused_ = true;
    serve_source(milliseconds(0));
    if (mid_transaction_ || pipeline_->in_transaction()) {
        // A transaction larger than the log can never end in it. It comes from the server then, as it would
        // without a log; what of it is in the log was never confirmed.
        pipeline_->tick(true);
        if (!room_ && log_.end() <= pipeline_->recorded()) {
            drained_ = true;
            return;
        }
        serve_source(kIdleWait);
        return;
    }
    synchronise();
    pipeline_->poll(kIdleWait);
    pipeline_->tick(true);
    if (log_.end() <= pipeline_->recorded()) {
        log_.release(log_.end());
        drained_ = log_.empty();
    }
}

void OutageSession::deliver(const OutageLog::Item& item) {
    switch (item.kind) {
        case OutageLog::Item::Kind::session:
            pipeline_->begin_session(item.source->system, item.source->timeline, item.source->database,
                                     facts_.slot->confirmed_flush);
            break;
        case OutageLog::Item::Kind::relations:
            pipeline_->relations(item.frame);
            break;
        case OutageLog::Item::Kind::frame:
            pipeline_->frame(item.frame, while_blocked_, item.known);
            break;
    }
}

void OutageSession::lose_pipeline(const Error& error) {
    reader_.reset();
    paused_ = false;
    if (pipeline_) end_pipeline();
    const std::optional<milliseconds> delay = backoff_.next();
    if (!delay) throw error;
    if (backoff_.attempts() == 1) log_warning(error);
    look_again_ = Clock::now() + *delay;
}

// In another thread: an open transaction is given up, and librdkafka's threads are waited for, which takes
// seconds if Kafka hangs.
void OutageSession::end_pipeline() {
    pipeline_->set_keep_going([stop = &stop_] { return !stop->load(); });
    ending_ = std::async(std::launch::async, [lost = std::move(pipeline_)]() mutable { lost.reset(); });
}

void OutageSession::tell() {
    const Clock::time_point now = Clock::now();
    if (now < next_line_) return;
    next_line_ = now + kLineInterval;
    if (!pipeline_ || pipeline_->stalled_for() > config_.spool.outage_after)
        log_info(
            "Kafka is away: changes go to the outage log",
            {{"log_bytes", log_.used_bytes()}, {"limit", log_.limit()}, {"confirmed", lsn_text(confirmed_)}});
}

}  // namespace walferry
