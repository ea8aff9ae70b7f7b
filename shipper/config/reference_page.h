// What `walferry config` prints, made from the table of settings.
#pragma once

#include <string>

#include "config/task.h"

namespace walferry {

// The table for a terminal.
std::string settings_overview();
// docs/configuration.md, whole.
std::string settings_markdown();
// Every value in force with its origin, as a task file would hold it; passwords masked.
std::string effective_settings(const TaskConfig& task);

}  // namespace walferry
