#include "run/start.h"

#include <string>
#include <utility>

#include "config/fingerprint.h"
#include "fail_point/fail_point.h"
#include "run/logging.h"
#include "source/precheck.h"

namespace walferry {
namespace {

PrecheckOptions precheck_options(const TaskConfig& config, const SessionMemory& memory) {
    PrecheckOptions options;
    options.slot = config.source.slot;
    options.failover = config.source.failover;
    options.holder_before = memory.slot_holder;
    return options;
}

SlotStart make_slot(Connection& connection, const TaskConfig& config, const SessionMemory& memory) {
    return ensure_slot(connection, config.source.slot, "walferry", {.failover = config.source.failover},
                       memory.slot_holder);
}

}  // namespace

Error overtaken_error(const std::string& slot) {
    return {
        ErrorCode::progress_overtaken,
        "Another connection of this task, or somebody else, has been at work on the slot \"" + slot + "\"",
        "", "None needed: the progress record is read anew, and compared with the slot."};
}

Connection open_source(const TaskConfig& config, const std::atomic<bool>& stop,
                       std::chrono::seconds connect_timeout) {
    ConnectionSettings settings;
    settings.dsn = config.source.dsn;
    settings.connect_timeout = connect_timeout;
    settings.application_name = "walferry-" + config.name;
    Connection connection(settings, stop);
    connection.scene().slot = config.source.slot;
    connection.scene().plugin = "walferry";
    return connection;
}

// Where each earlier timeline left the history of `now`; those that are not part of it are not there.
std::map<Timeline, Lsn> ends_of_timelines(Connection& connection, Timeline now) {
    std::map<Timeline, Lsn> ends{{now, Lsn{UINT64_MAX}}};
    const QueryOutcome asked = connection.try_query("TIMELINE_HISTORY " + std::to_string(now.value));
    if (asked.error) return ends;  // a first timeline, or a server set back, has no such file
    const std::string history = asked.result.value(0, "content").value_or("");
    for (uint32_t before = 1; before < now.value; ++before) {
        if (const auto end = timeline_end(history, Timeline{before})) ends.emplace(Timeline{before}, *end);
    }
    return ends;
}

void check_source(Connection& connection, const std::optional<SlotInfo>& slot, const TaskConfig& config,
                  SessionMemory& memory) {
    memory.slot_holder = slot ? find_holder(connection, *slot) : std::nullopt;
    require_precheck(precheck(connection, precheck_options(config, memory)));
}

StartFacts look_at_source(Connection& connection, const TaskConfig& config, SessionMemory& memory) {
    StartFacts facts;
    facts.slot = find_slot(connection, config.source.slot);
    check_source(connection, facts.slot, config, memory);
    facts.server = identify_system(connection);
    facts.ends = ends_of_timelines(connection, facts.server.timeline);
    facts.task = config.name;
    facts.slot_name = config.source.slot;
    facts.create_slot = config.source.create_slot;
    return facts;
}

Lsn begin_pipeline(Pipeline& pipeline, StartFacts facts, const TaskConfig& config, SessionMemory& memory,
                   Connection* connection) {
    facts.progress = pipeline.open();
    WALFERRY_FAIL_POINT("progress_read");
    facts.progress_topic = pipeline.progress_topic();
    facts.accept_gap = memory.accept_gap;
    // A standby that was promoted while it was read: all of that is its own history, also what bears the
    // number of the timeline before.
    if (facts.progress && is_same_process(facts.server, facts.progress->server_started))
        for (auto& [timeline, end] : facts.ends) end = Lsn{UINT64_MAX};
    StartPlan plan = plan_start(facts);

    ProgressRecord record = facts.progress.value_or(ProgressRecord{});
    ++record.epoch;
    record.task = config.name;
    record.system = facts.server.system;
    record.timeline = facts.server.timeline;
    note_process(facts.server, record);
    record.database = facts.server.database;
    record.slot = config.source.slot;
    record.version = WALFERRY_VERSION;
    const std::string fingerprint = config_fingerprint(config);
    const bool other_shape = facts.progress && !record.config.empty() && record.config != fingerprint;
    if (other_shape) log_info("settings that shape the messages have changed since the last start");
    // With tables left out the rest of the open transaction may be nothing, and then it does not come; with
    // others it has rows that are not there. Reading back goes by the messages: all that are after the
    // position, where the offsets do not pass over any of them.
    const bool reads_back = plan.read_back && config.sink.headers == Headers::position;
    if (plan.open && reads_back && !record.exactly_once && (other_shape || facts.accept_gap)) {
        plan.open.reset();
        record.offsets.clear();
    }
    record.config = fingerprint;
    record.spool = facts.log_id;
    const Lsn before = record.position;
    record.open = plan.open;
    record.position = plan.position;
    record.reread = plan.reread;
    if (plan.make_slot) {
        record.state = ProgressRecord::State::creating;
        pipeline.announce(record);
        const SlotStart made = make_slot(*connection, config, memory);
        record.position = record.reread = made.position;
    } else {
        if (config.source.failover && connection != nullptr) ensure_failover(*connection, *facts.slot);
        log_info("using the replication slot", {{"slot", config.source.slot},
                                                {"confirmed", lsn_text(facts.slot->confirmed_flush)},
                                                {"progress", lsn_text(record.position)}});
    }
    if (plan.accepted) {
        ++record.generation;
        record.gaps.push_back({info(plan.accepted->code()).code, before, record.position, utc_now()});
        record.offsets.clear();
        log_warning("a gap was accepted: changes between the two positions may be missing in Kafka",
                    {{"code", info(plan.accepted->code()).code},
                     {"reason", plan.accepted->happened()},
                     {"from", lsn_text(before)},
                     {"to", lsn_text(record.position)}});
    }
    record.state = ProgressRecord::State::streaming;
    record.tail = plan.read_back;
    pipeline.announce(record);
    memory.accept_gap = false;
    memory.progress_known = true;
    std::optional<ReadBack::Scope> scope;
    if (reads_back) {
        scope.emplace();
        scope->system = facts.server.system;
        scope->after = record.position;
        scope->ends = facts.ends;
        scope->lost_history_accepted = facts.accept_gap;
    }
    pipeline.begin(record, std::move(scope), facts.server.flushed);
    return facts.slot ? facts.slot->confirmed_flush : record.position;
}

}  // namespace walferry
