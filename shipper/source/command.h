// The text of replication commands. Pure functions; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/types.h"
#include "position/lsn_text.h"

namespace walferry {

// Quoting for the replication grammar (repl_scanner.l) and for SQL with standard_conforming_strings: the
// quote character is doubled, a backslash is an ordinary character. Throws Error (source_protocol) for a NUL
// byte.
std::string quote_identifier(std::string_view name);
std::string quote_literal(std::string_view text);

// Throws Error (source_slot_name) unless the server would take the name: 1 to 63 of a-z, 0-9 and _.
void require_slot_name(std::string_view name);

// Name and value of each plugin option, in order.
using PluginOptions = std::vector<std::pair<std::string, std::string>>;

struct SlotOptions {
    // Dropped by the server when the connection ends.
    bool temporary = false;
    // Exports a snapshot at the consistent point, valid until the next command on the connection.
    bool export_snapshot = false;
    // Synchronised to standbys; servers from 17 on.
    bool failover = false;
};

std::string create_slot_command(int server_major, std::string_view slot, std::string_view plugin,
                                const SlotOptions& options);
std::string start_replication_command(std::string_view slot, Lsn from, const PluginOptions& options);
// From 17 on.
std::string set_failover_command(std::string_view slot);
std::string drop_slot_command(std::string_view slot, bool wait);

// The end of a timeline, by the content of the history file of a later one (TIMELINE_HISTORY): everything
// before it is part of both. Nothing if the later one does not come from it.
std::optional<Lsn> timeline_end(std::string_view history, Timeline timeline);

}  // namespace walferry
