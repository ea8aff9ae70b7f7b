// Whether a start goes on where the progress record ends: record, slot and server are compared, and each
// mismatch is an error of its own. Never skips anything in silence: only `accept_gap` passes over what is
// wrong, and the plan says what that leaves out.
// Pure functions; any thread. Errors: Error.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "common/types.h"
#include "error/error.h"
#include "progress/progress_record.h"
#include "source/replication_stream.h"
#include "source/slot.h"

namespace walferry {

struct StartFacts {
    std::optional<ProgressRecord> progress;
    std::optional<SlotInfo> slot;
    SystemIdentity server;
    // Where each timeline of the server's history ends; of the present one the largest LSN.
    std::map<Timeline, Lsn> ends;

    // Of the outage log: its id if one is configured, and after which position it holds everything; nothing
    // if it is empty.
    std::string log_id;
    std::optional<Lsn> log_begin;

    std::string task;
    std::string slot_name;
    std::string progress_topic;
    bool create_slot = true;
    bool accept_gap = false;
};

struct StartPlan {
    bool make_slot = false;
    // Where it goes on; nothing of it if the slot is to be made, which then says where.
    Lsn position;
    Lsn reread;
    std::optional<ProgressRecord::Open> open;
    // What a crash may have left in Kafka is looked for.
    bool read_back = false;
    // The mismatch that was passed over.
    std::optional<Error> accepted;
};

StartPlan plan_start(const StartFacts& facts);

// The record's server_started: of a process that was a standby when it was first read. What was read from a
// primary bears the right timeline, and needs nobody's word for it.
void note_process(const SystemIdentity& server, ProgressRecord& record);

}  // namespace walferry
