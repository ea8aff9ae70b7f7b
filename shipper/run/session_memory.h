// What a task keeps from one connection to the source to the next.
#pragma once

#include <optional>
#include <string>

#include "common/types.h"
#include "source/replication_stream.h"
#include "source/slot.h"

namespace walferry {

// What one attempt leaves for the next.
struct SessionMemory {
    std::optional<SystemIdentity> identity;  // of the first connection: it must stay the same
    std::optional<SlotHolder> slot_holder;   // who held the slot at the last attempt
    bool streamed = false;                   // the last attempt reached the stream
    bool had_slot = false;        // an attempt before reached it: the slot is there, or was dropped
    bool standing_by = false;     // another shipper is at work: what this one owed is its business
    bool progress_known = false;  // the progress record was read, and fitted
    std::string log_id;           // of the outage log; empty: none is configured
    bool accept_gap = false;      // of the first start: what does not fit together is passed over
    Lsn confirmed;                // what the server has: the slot's position, then what was told
};

}  // namespace walferry
