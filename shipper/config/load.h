// From a task file to a TaskConfig. Strict: what is unknown, of the wrong type or out of range is an error
// that names the file, the line and the remedy.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "config/task.h"

namespace walferry {

// Both throw walferry::Error (WF1002 to WF1008). `${NAME}` is replaced from the process's environment.
TaskConfig load_task(const std::filesystem::path& file);
TaskConfig parse_task(std::string_view text, std::string_view file_name);

// The options of START_REPLICATION as one JSON document; what has its default is left out.
std::string plugin_options_json(const SourceConfig& source);

}  // namespace walferry
