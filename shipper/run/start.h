// The start of a task at its source: what is found there, and how a pipeline begins with it. Thread contract:
// one thread. Errors: Error.
#pragma once

#include <atomic>
#include <map>
#include <optional>

#include "config/task.h"
#include "run/pipeline.h"
#include "run/session_memory.h"
#include "run/start_check.h"
#include "source/connection.h"
#include "source/slot.h"

namespace walferry {

// The task's connection to its source.
Connection open_source(const TaskConfig& config, const std::atomic<bool>& stop,
                       std::chrono::seconds connect_timeout = ConnectionSettings().connect_timeout);

// Throws when the server or the slot is not fit for streaming; notes who holds the slot.
void check_source(Connection& connection, const std::optional<SlotInfo>& slot, const TaskConfig& config,
                  SessionMemory& memory);
// The same, and everything that a start is judged by but the progress record.
StartFacts look_at_source(Connection& connection, const TaskConfig& config, SessionMemory& memory);

// Reads the progress record, compares, makes the slot where it is missing, and lets the pipeline begin.
// `connection`: for making the slot; null where it has to be there. Returns the slot's position.
// Pipeline::look_back() is still to be called.
Lsn begin_pipeline(Pipeline& pipeline, StartFacts facts, const TaskConfig& config, SessionMemory& memory,
                   Connection* connection);

// Where each timeline of the server's history ends; of the present one the largest LSN.
std::map<Timeline, Lsn> ends_of_timelines(Connection& connection, Timeline now);
Error overtaken_error(const std::string& slot);

}  // namespace walferry
