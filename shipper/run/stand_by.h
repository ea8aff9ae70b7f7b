// A second shipper of a task waits here for its turn. Thread contract: one thread. Errors: Error, of the
// connection; source_stopped.
#pragma once

#include <atomic>

#include "config/task.h"
#include "run/session_memory.h"
#include "source/connection.h"
#include "source/slot.h"

namespace walferry {

// As long as another connection of this task reads the slot, waits for it to die or hang. Whether there was
// one.
bool stand_by(Connection& connection, SlotInfo slot, const TaskConfig& config, SessionMemory& memory,
              const std::atomic<bool>& stop);

}  // namespace walferry
