#include "run/session.h"

#include <algorithm>
#include <utility>

#include "fail_point/fail_point.h"
#include "config/load.h"
#include "run/logging.h"
#include "run/stand_by.h"
#include "run/start.h"

namespace walferry {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kStopHandshake{2000};
// A signal that comes just before a wait does not end it.
constexpr milliseconds kLongestWait{500};
constexpr int kNewsPart = 5;
// Below this a short pause of either side would end the connection.
constexpr milliseconds kShortestSenderTimeout{1000};

// Errors about one row, which the user may let pass by leaving something out.
bool stops_at_a_row(ErrorCode code) {
    return code == ErrorCode::record_key_column || code == ErrorCode::record_value ||
           code == ErrorCode::record_oversize || code == ErrorCode::topic_name ||
           code == ErrorCode::source_unreadable_value;
}

void require_same_cluster(const SystemIdentity& now, SessionMemory& memory) {
    if (!memory.identity) memory.identity = now;
    if (memory.identity->system == now.system) return;
    throw Error(ErrorCode::source_other_cluster,
                "The server has system identifier " + std::to_string(now.system.value) + ", before it was " +
                    std::to_string(memory.identity->system.value),
                "The address leads to another cluster than before.",
                "Let source.dsn point to the old cluster, or start a task with a new name and slot.");
}

// Whether everything that was read from the timeline `before`, up to `reached`, is part of `now` too.
bool in_history(Connection& connection, Timeline now, Timeline before, Lsn reached) {
    const auto ends = ends_of_timelines(connection, now);
    const auto end = ends.find(before);
    return end != ends.end() && reached <= end->second;
}

// A server that was set back, or parted from the old one, gives out positions before `resume` a second time:
// streaming on from there would leave out what is new at them.
void require_same_history(Connection& connection, const SystemIdentity& now, const Pipeline& pipeline,
                          const SessionMemory& memory) {
    const Lsn resume = pipeline.resume_position();
    if (resume == Lsn{}) return;  // nothing was read yet
    const Timeline before = memory.identity->timeline;
    if (now.timeline != before && (is_same_process(now, memory.identity->started) ||
                                   in_history(connection, now.timeline, before, pipeline.reached()))) {
        log_info("the server is on a new timeline, which holds everything that was read",
                 {{"timeline", now.timeline.value}, {"before", before.value}});
    } else if (now.timeline != before) {
        throw Error(
            ErrorCode::source_timeline_changed,
            "The server is on timeline " + std::to_string(now.timeline.value) + ", before it was " +
                std::to_string(before.value),
            "A standby was promoted or a backup recovered. What was read up to " + lsn_text(resume) +
                " may not be part of the new history.",
            "Check where the new timeline began, and whether changes that Kafka has were lost by the "
            "failover. Then start the task once with --accept-gap: it goes on from the slot's own position.");
    }
    if (resume <= now.flushed) return;
    if (now.in_recovery) {
        throw Error(ErrorCode::source_in_recovery,
                    "The server is in recovery and has reached " + lsn_text(now.flushed) +
                        ", the shipper has read up to " + lsn_text(resume),
                    "", "The shipper tries again by itself until the server has caught up.");
    }
    throw Error(
        ErrorCode::source_behind,
        "The server's log ends at " + lsn_text(now.flushed) + ", the shipper has read up to " +
            lsn_text(resume),
        "The server was set back: a copy or snapshot of its data was put in place, or flushed data was "
        "lost.",
        "Find out what was restored: Kafka has changes that the database no longer knows. Then start "
        "the task once with --accept-gap: it goes on from the slot's own position.");
}

Error outage_error(const Pipeline& pipeline) {
    return {ErrorCode::outage_begins, "Kafka has taken nothing for spool.outage_after",
            pipeline.sink().last_error(),
            "None needed: changes go to the outage log until Kafka answers again."};
}

Error slowness_error(milliseconds behind) {
    return {ErrorCode::outage_begins,
            "Kafka takes less than the server sends, and is " + std::to_string(behind.count() / 1000) +
                " s behind",
            "That is more than spool.outage_lag.",
            "None needed: changes go to the outage log until Kafka has caught up."};
}

}  // namespace

Session::Session(const TaskConfig& config, Pipeline& pipeline, ProgressReport& report, SessionMemory& memory,
                 const std::atomic<bool>& stop)
    : config_(config),
      pipeline_(pipeline),
      report_(report),
      memory_(memory),
      stop_(stop),
      kafka_(config.retry.connection_window),
      promotion_(config) {
    Connection connection = open_source(config, stop);
    pipeline_.set_keep_going([this] { return stay_alive(); });
    // First, so that nothing is made in a cluster that is not ours.
    require_same_cluster(identify_system(connection), memory);
    const Lsn slot = find_start(connection);
    const SystemIdentity& identity = *memory.identity;
    memory.had_slot = true;
    pipeline.begin_session(identity.system, identity.timeline, identity.database, slot);
    pipeline.read_from(identity);
    pace_since_ = Clock::now();
    blocked_before_ = pipeline.blocked().in_all();
    memory.confirmed = slot;
    received_ = confirmed_ = pipeline.confirmed();
    report.server_position(identity.flushed);
    // Whoever hangs has to let go of the slot in time for a standby.
    const milliseconds sender_timeout = limit_sender_timeout(
        connection,
        std::max<milliseconds>(std::min(config.source.silence_timeout / 3, config.source.takeover_timeout),
                               kShortestSenderTimeout));
    status_interval_ = std::min(milliseconds(config.source.status_interval_ms), sender_timeout / 4);
    SourceConfig source = config.source;
    if (!pipeline.takes_streams()) {
        source.streaming = false;
        source.two_phase = {};
    }
    stream_ = std::make_unique<ReplicationStream>(std::move(connection), config.source.slot,
                                                  pipeline.start_position(),
                                                  PluginOptions{{"options", plugin_options_json(source)}});
    // From here on the slot is ours, and nobody else's record can come to count. One that came before, after
    // ours was read, tells of rows that we know nothing of.
    if (pipeline.overtaken()) throw overtaken_error(config.source.slot);
    pipeline.look_back();
    WALFERRY_FAIL_POINT("stream_started");
    stream_->set_wake_descriptor(pipeline.wake_fd());
    while_blocked_ = [this] { return while_blocked(); };
    next_status_ = Clock::now();
    memory.slot_holder.reset();
    memory.standing_by = false;
    memory.streamed = streaming_ = true;
    log_info("streaming", {{"slot", config.source.slot},
                           {"from", lsn_text(pipeline.start_position())},
                           {"database", identity.database},
                           {"system_identifier", identity.system.value},
                           {"timeline", identity.timeline.value}});
}

Session::~Session() {
    pipeline_.set_keep_going([this_stop = &stop_] { return !this_stop->load(); });
}

// The slot's position; the pipeline knows its own afterwards.
Lsn Session::find_start(Connection& connection) {
    const std::optional<SlotInfo> slot = find_slot(connection, config_.source.slot);
    if (slot && config_.source.second_shipper == SecondShipper::wait &&
        stand_by(connection, *slot, config_, memory_, stop_) && pipeline_.begun() && pipeline_.overtaken()) {
        throw overtaken_error(config_.source.slot);
    }
    return pipeline_.begun() ? resume_pipeline(connection) : begin_pipeline(connection);
}

// The first session of a pipeline: it goes on where the progress record says.
Lsn Session::begin_pipeline(Connection& connection) {
    StartFacts facts = look_at_source(connection, config_, memory_);
    memory_.identity = facts.server;
    facts.log_id = memory_.log_id;
    return walferry::begin_pipeline(pipeline_, facts, config_, memory_, &connection);
}

// A later session of the same pipeline: it knows what it has produced.
Lsn Session::resume_pipeline(Connection& connection) {
    const std::optional<SlotInfo> slot = find_slot(connection, config_.source.slot);
    check_source(connection, slot, config_, memory_);
    // After the check, which turns a server away that is in recovery and cannot decode: its timeline was
    // about to change.
    const SystemIdentity identity = identify_system(connection);
    require_same_history(connection, identity, pipeline_, memory_);
    memory_.identity = identity;
    if (!slot) {
        throw Error(
            ErrorCode::source_slot_missing,
            "The replication slot \"" + config_.source.slot + "\" was dropped while the shipper was running",
            "What was committed after " + lsn_text(memory_.confirmed) + " may be missing in Kafka.",
            "Find out who dropped it. A start with --accept-gap makes a new slot; the tables that "
            "changed in between have to be loaded again.");
    }
    // Who reads from the slot meanwhile has begun with a progress record of its own.
    if (pipeline_.start_position() < slot->confirmed_flush) throw overtaken_error(config_.source.slot);
    // Not looked up again: one that is dropped at this moment must not come into being anew in silence.
    log_info("using the replication slot",
             {{"slot", config_.source.slot}, {"confirmed", lsn_text(slot->confirmed_flush)}});
    return slot->confirmed_flush;
}

void Session::run() {
    try {
        stream_until_stopped();
        begin_drain();
        finish_transaction();
    } catch (const Error& error) {
        if (!draining_ && stops_at_a_row(error.code())) deliver_rows_before();
        // Kafka took too little in the time for the open transaction. What it has taken is still to be
        // confirmed.
        if (!draining_ || error.code() != ErrorCode::source_stopped) throw;
    }
    drain();
}

void Session::stream_until_stopped() {
    const milliseconds longest = std::min(status_interval_, kLongestWait);
    while (!stop_.load(std::memory_order_relaxed)) {
        milliseconds wait = longest;
        if (const auto tick = pipeline_.next_tick()) {
            const auto left = std::chrono::ceil<milliseconds>(*tick - Clock::now());
            wait = std::clamp(left, milliseconds(0), longest);
        }
        take(stream_->next(wait));
        pipeline_.tick();
        confirm(false);
        look_for_promotion();
    }
}

void Session::take(const StreamEvent& event) {
    switch (event.kind) {
        case StreamEvent::Kind::frame:
            if (received_ < event.wal_end) received_ = event.wal_end;
            report_.server_position(event.wal_end);
            pipeline_.frame(event.payload, while_blocked_);
            report_.server_position(pipeline_.resume_position());
            break;
        case StreamEvent::Kind::keepalive:
            if (received_ < event.wal_end) received_ = event.wal_end;
            report_.server_position(event.wal_end);
            pipeline_.keepalive(event.wal_end);
            if (event.reply_requested) confirm(true);
            break;
        case StreamEvent::Kind::none:
            pipeline_.poll();
            check_silence();
            break;
        case StreamEvent::Kind::end:
            throw Error(ErrorCode::source_unavailable, "The server ended the stream", "",
                        "The connection is made anew; look into the server's log if it goes on.");
    }
}

void Session::confirm(bool now) {
    const Clock::time_point time = Clock::now();
    // A progress record that has come to Kafka lets the server give up its log: that need not wait long.
    const bool news = confirmed_ < pipeline_.confirmed() &&
                      time >= next_status_ - status_interval_ + status_interval_ / kNewsPart;
    if (!now && !news && time < next_status_) return;
    pipeline_.poll();
    pipeline_.tick();
    confirmed_ = pipeline_.confirmed();
    WALFERRY_FAIL_POINT("status_before_send");
    stream_->send_status(received_ < confirmed_ ? confirmed_ : received_, confirmed_);
    WALFERRY_FAIL_POINT("status_after_send");
    memory_.confirmed = confirmed_;
    next_status_ = time + status_interval_;
    report_.confirmed(confirmed_);
    report_.tick(pipeline_);
    check_kafka();
}

// Between frames only: what is being produced has its position already.
void Session::look_for_promotion() {
    const std::optional<SystemIdentity> now = promotion_.look(*memory_.identity);
    if (!now) return;
    memory_.identity = *now;
    pipeline_.read_from(*now);
}

void Session::check_kafka() {
    if (config_.spool.outage && !draining_) {
        if (pipeline_.stalled_for() > config_.spool.outage_after) throw outage_error(pipeline_);
        check_pace();
    }
    kafka_.look(pipeline_);
}

// Whether Kafka, and not the server, is what holds the stream up, and for how long it has.
void Session::check_pace() {
    const Clock::time_point now = Clock::now();
    if (config_.spool.outage_lag.count() == 0 || now - pace_since_ < config_.spool.outage_after) return;
    const Clock::duration blocked = pipeline_.blocked().in_all();
    const bool slow = blocked - blocked_before_ > (now - pace_since_) / 2;
    pace_since_ = now;
    blocked_before_ = blocked;
    if (slow && pipeline_.behind() > config_.spool.outage_lag) throw slowness_error(pipeline_.behind());
}

// Between a full queue and the next try, and now and then in a large transaction: Kafka's acknowledgements
// have just been taken.
bool Session::while_blocked() {
    confirm(false);
    if (stop_.load(std::memory_order_relaxed)) begin_drain();
    return !draining_ || Clock::now() < finish_until_;
}

// In what takes long and must not be entered anew: Kafka's acknowledgements wait.
bool Session::stay_alive() {
    const Clock::time_point time = Clock::now();
    // Later on, what is not acknowledged may as well wait here to be taken.
    if (!streaming_) check_kafka();
    if (stream_ && next_status_ <= time) {
        stream_->send_status(received_ < confirmed_ ? confirmed_ : received_, confirmed_);
        next_status_ = time + status_interval_;
    }
    if (!stop_.load(std::memory_order_relaxed)) return true;
    if (!stream_) return false;
    begin_drain();
    return time < finish_until_;
}

void Session::check_silence() {
    const Clock::time_point now = Clock::now();
    const Clock::time_point heard = stream_->last_heard();
    if (asked_at_ && heard > *asked_at_) asked_at_.reset();
    // A server that is asked answers at once. What was heard last says nothing by itself: while Kafka takes
    // no messages the stream is not read.
    if (asked_at_ && now - *asked_at_ > config_.source.silence_timeout / 2) {
        throw Error(ErrorCode::source_connection, "The server has been silent, although it was asked",
                    "Nothing has come for " +
                        std::to_string(std::chrono::duration_cast<seconds>(now - heard).count()) + " s",
                    "The connection is made anew; look at the network in between if it goes on. The time is "
                    "source.silence_timeout.");
    }
    if (!asked_at_ && now - heard > config_.source.silence_timeout / 2) {
        stream_->send_status(received_, confirmed_, true);
        asked_at_ = now;
    }
}

void Session::begin_drain() {
    if (draining_) return;
    draining_ = true;
    // Half of the time for the transaction that is on its way: cutting it would make its first part come
    // twice.
    finish_until_ = Clock::now() + config_.shutdown.timeout / 2;
    drain_until_ = Clock::now() + config_.shutdown.timeout;
}

void Session::finish_transaction() {
    while (pipeline_.in_transaction() && Clock::now() < finish_until_) {
        take(stream_->next(milliseconds(100)));
        confirm(false);
    }
}

// The next start may leave out the table whose row cannot be sent, or give it another key: rows that came
// before it are to be in Kafka by then.
void Session::deliver_rows_before() {
    begin_drain();
    try {
        while (!pipeline_.flush(milliseconds(200), true) && Clock::now() < drain_until_) {
        }
        confirm(true);
    } catch (const Error&) {
        // The error to be told is the row's. What could not be confirmed comes again.
    }
}

void Session::drain() {
    WALFERRY_FAIL_POINT("drain_before");
    bool flushed = pipeline_.flush(milliseconds(0));
    while (!flushed && Clock::now() < drain_until_) {
        flushed = pipeline_.flush(milliseconds(200));
        confirm(false);
    }
    confirm(true);
    const bool ended = stream_->stop(kStopHandshake);
    WALFERRY_FAIL_POINT("drain_after");
    if (pipeline_.in_transaction() || !flushed) {
        throw Error(ErrorCode::kafka_not_drained,
                    "Stopped with " + std::to_string(pipeline_.outstanding()) +
                        " messages not acknowledged by Kafka" +
                        (pipeline_.in_transaction() ? ", in the middle of a transaction" : ""),
                    pipeline_.sink().brokers_up() ? "shutdown.timeout was too short for them"
                                                  : pipeline_.sink().last_error(),
                    "Nothing is lost: the next start sends again what comes after " + lsn_text(confirmed_) +
                        ", and leaves out what is found in Kafka. The time is shutdown.timeout.");
    }
    if (ended) {
        log_info("everything is acknowledged and confirmed", {{"confirmed", lsn_text(confirmed_)}});
    } else {
        log_warning(
            "everything is acknowledged; the position was sent, but the server did not end the stream, so it "
            "may not have taken it and some rows may come twice",
            {{"sent", lsn_text(confirmed_)}});
    }
}

}  // namespace walferry
