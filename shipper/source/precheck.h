// What must be right on the server before streaming, each item with its verdict and the statement that
// repairs it. Threads: those of the connection.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "error/error.h"
#include "source/connection.h"
#include "source/slot.h"

namespace walferry {

inline constexpr int kOldestServerMajor = 14;
inline constexpr int kNewestServerMajor = 18;

enum class Verdict { ok, warning, error };

struct Finding {
    std::string name;  // stable, machine-readable: "wal_level"
    Verdict verdict = Verdict::ok;
    std::string reason;             // what was found
    std::string repair;             // the statement or step that mends it; empty when ok
    std::optional<ErrorCode> code;  // for an error
};

struct PrecheckOptions {
    std::string slot;
    std::string plugin = "walferry";
    // The slot is to survive a failover: standbys keep a copy of it (17+).
    bool failover = false;
    // Loads the plugin once, by a temporary slot: the only proof for a role that may not read the settings.
    // It takes a free slot; starting the stream gives the same errors, so a plain start does without.
    bool probe_plugin = false;
    // The reader of the slot as an earlier attempt saw it; tells a second shipper from a dead connection.
    std::optional<SlotHolder> holder_before;
};

// Every finding, good ones included. Throws Error only for a lost connection, a stop or a timeout.
std::vector<Finding> precheck(Connection& connection, const PrecheckOptions& options);

// A failure to connect as a finding of its own.
Finding finding_of(const Error& error);

// Logs the warnings, throws the first error.
void require_precheck(const std::vector<Finding>& findings);

// The items of output_plugin_libraries as SHOW or pg_db_role_setting gives them.
std::vector<std::string> split_name_list(const std::string& text);

}  // namespace walferry
