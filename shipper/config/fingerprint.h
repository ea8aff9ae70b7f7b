// Whether two starts of a task write the same messages: a short text that differs when a setting does which
// decides what is written and where. Pure; any thread.
#pragma once

#include <string>

#include "config/task.h"

namespace walferry {

std::string config_fingerprint(const TaskConfig& config);

}  // namespace walferry
