#include "run/start_check.h"

#include <algorithm>

#include "position/lsn_text.h"

namespace walferry {
namespace {

constexpr char kAccept[] =
    "To go on all the same, start once with --accept-gap: it begins at the slot's position, and the progress "
    "record notes what was left out.";

std::string quoted(const std::string& name) {
    return "\"" + name + "\"";
}

Error no_progress(const StartFacts& facts) {
    return {
        ErrorCode::progress_missing,
        "The slot " + quoted(facts.slot_name) + " exists, but topic " + facts.progress_topic +
            " has no progress record of the task " + quoted(facts.task),
        "The topic was deleted, or this is another Kafka cluster than before, or the slot was made by "
        "hand: what lies before its position may never have come to Kafka, and what comes after it may be "
        "there already.",
        "If the slot was made by hand for this task, set source.create_slot = false. " +
            std::string(kAccept)};
}

Error slot_gone(const StartFacts& facts) {
    return {ErrorCode::source_slot_missing,
            "The replication slot " + quoted(facts.slot_name) + " does not exist, but the task has come to " +
                lsn_text(facts.progress->position) + " with it",
            "It was dropped, or the server was restored from a backup, which holds no slots, or a standby "
            "without the slot was promoted. What was committed after that position may be missing in Kafka.",
            "Find out who dropped it. --accept-gap makes a new slot; the tables that changed in between have "
            "to be loaded again."};
}

Error other_cluster(const StartFacts& facts) {
    return {
        ErrorCode::source_other_cluster,
        "The server has system identifier " + std::to_string(facts.server.system.value) +
            ", the progress record " + std::to_string(facts.progress->system.value),
        "Another cluster answers at the address, or a new one took the old one's place: positions of the "
        "one mean nothing in the other.",
        "Let source.dsn point to the old cluster, or give the task a new name and load its tables again. " +
            std::string(kAccept)};
}

Error other_database(const StartFacts& facts) {
    return {ErrorCode::source_other_database,
            "The task streams database " + quoted(facts.server.database) + ", its progress record is of " +
                quoted(facts.progress->database),
            "dbname in source.dsn was changed.",
            "Set dbname back, or give the task another name. " + std::string(kAccept)};
}

Error other_timeline(const StartFacts& facts) {
    return {ErrorCode::source_timeline_changed,
            "The server is on timeline " + std::to_string(facts.server.timeline.value) +
                ", which does not hold all that was read from timeline " +
                std::to_string(facts.progress->timeline.value) + " up to " +
                lsn_text(facts.progress->position),
            "A standby was promoted before it had everything, or the database was restored to an earlier "
            "point: Kafka has changes that the database no longer knows.",
            "Find out which changes were lost, and decide what becomes of them in Kafka. " +
                std::string(kAccept)};
}

Error server_behind(const StartFacts& facts) {
    const std::string what = "The server's log ends at " + lsn_text(facts.server.flushed) +
                             ", the progress record stands at " + lsn_text(facts.progress->position);
    if (facts.server.in_recovery)
        return {ErrorCode::source_in_recovery, what + "; the server is in recovery", "",
                "The shipper tries again by itself until the server has caught up."};
    return {ErrorCode::source_behind, what,
            "The server was set back: a copy or snapshot of its data was put in place, or flushed data was "
            "lost. Kafka has changes that the database no longer knows.",
            "Find out what was restored. " + std::string(kAccept)};
}

Error slot_ahead(const StartFacts& facts) {
    const SlotInfo& slot = *facts.slot;
    const Lsn position = facts.progress->position;
    const std::string where = "confirmed up to " + lsn_text(slot.confirmed_flush) +
                              ", the progress record ends at " + lsn_text(position);
    if (position < slot.restart)
        return {ErrorCode::source_slot_recreated,
                "The slot " + quoted(slot.name) + " was made anew: it is " + where,
                "It begins to read at " + lsn_text(slot.restart) +
                    ": what was committed before and is not in Kafka can no longer be read from it.",
                "Load the tables that changed in between again. " + std::string(kAccept)};
    return {
        ErrorCode::source_slot_moved, "The slot " + quoted(slot.name) + " is " + where,
        "Something else has read from the slot or advanced it.",
        "Find out what. The tables that changed in between have to be loaded again. " + std::string(kAccept)};
}

Error log_lost(const StartFacts& facts) {
    const std::string where = "The slot is confirmed up to " + lsn_text(facts.slot->confirmed_flush) +
                              ", the progress record ends at " + lsn_text(facts.progress->position);
    return {
        ErrorCode::outage_log_lost,
        where + ", and the outage log " + facts.progress->spool +
            (facts.log_id.empty() ? " is not configured any more" : " does not hold what lies between"),
        "While Kafka was away, the changes in between went to the outage log, and the server was told that "
        "they are safe there. Or somebody else has moved the slot.",
        "Start with the spool.directory that the task had, on the machine where it ran; put its folder "
        "back if it was moved. If it is lost, so are those changes: load the tables that changed again. " +
            std::string(kAccept)};
}

std::optional<Error> mismatch(const StartFacts& facts) {
    if (!facts.progress) {
        if (facts.slot && facts.create_slot) return no_progress(facts);
        return std::nullopt;
    }
    const ProgressRecord& progress = *facts.progress;
    if (progress.state == ProgressRecord::State::creating) {
        // The start before was cut off while it made the slot: nothing was read yet.
        return std::nullopt;
    }
    if (progress.system != facts.server.system) return other_cluster(facts);
    if (progress.database != facts.server.database) return other_database(facts);
    if (!facts.slot) return slot_gone(facts);
    const Lsn reached = progress.open ? Lsn{progress.open->commit.value + 1} : progress.position;
    if (progress.timeline != facts.server.timeline) {
        const auto end = facts.ends.find(progress.timeline);
        if (end == facts.ends.end() || end->second < reached) return other_timeline(facts);
    }
    if (facts.server.flushed < (progress.open ? progress.open->commit : progress.position))
        return server_behind(facts);
    if (progress.position < facts.slot->confirmed_flush) {
        if (facts.log_begin && *facts.log_begin <= progress.position) return std::nullopt;
        return progress.spool.empty() ? slot_ahead(facts) : log_lost(facts);
    }
    return std::nullopt;
}

}  // namespace

void note_process(const SystemIdentity& server, ProgressRecord& record) {
    if (server.in_recovery)
        record.server_started = server.started;
    else if (record.server_started != server.started)
        record.server_started.clear();
}

StartPlan plan_start(const StartFacts& facts) {
    StartPlan plan;
    if (std::optional<Error> problem = mismatch(facts)) {
        if (!facts.accept_gap || problem->code() == ErrorCode::source_in_recovery) throw *problem;
        plan.accepted = std::move(problem);
    }
    const bool goes_on =
        facts.progress && !plan.accepted && facts.progress->state == ProgressRecord::State::streaming;
    if (goes_on) {
        plan.position = facts.progress->position;
        plan.reread = facts.progress->reread;
        plan.open = facts.progress->open;
        plan.read_back = facts.progress->tail;
        return plan;
    }
    if (!facts.slot && !facts.create_slot) {
        throw Error(ErrorCode::source_slot_missing,
                    "The replication slot " + quoted(facts.slot_name) + " does not exist",
                    "source.create_slot is false.",
                    "Create it: SELECT pg_create_logical_replication_slot('" + facts.slot_name +
                        "', 'walferry'); or set source.create_slot = true.");
    }
    plan.make_slot = !facts.slot;
    if (facts.slot) {
        // What the outage log holds is still to be delivered.
        plan.position = facts.slot->confirmed_flush;
        if (facts.log_begin) plan.position = std::min(plan.position, *facts.log_begin);
        plan.reread = plan.position;
    }
    // Rows after the position may be in Kafka already; but where the server was set back, what stands there
    // at the same positions are other rows.
    plan.read_back =
        facts.slot.has_value() && (!plan.accepted || plan.accepted->code() != ErrorCode::source_behind);
    return plan;
}

}  // namespace walferry
