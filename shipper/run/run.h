// The life of one task: from the slot to the topics, until a signal or an error that retrying cannot mend.
#pragma once

#include "config/task.h"

namespace walferry {

struct RunOptions {
    bool accept_gap = false;  // where progress record, slot and server do not fit together: goes on
};

// Returns the exit status of the process; throws walferry::Error.
int run_task(const TaskConfig& config, const RunOptions& options);

}  // namespace walferry
