#include "source/command.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "error/error.h"

namespace walferry {
namespace {

constexpr size_t kLongestSlotName = 63;  // NAMEDATALEN - 1

std::string quote(std::string_view text, char mark) {
    if (text.find('\0') != std::string_view::npos)
        throw Error(ErrorCode::source_protocol, "A name or option for the server holds a NUL byte",
                    "PostgreSQL has no way to take a NUL in a command", "Remove the NUL from the setting");
    std::string quoted;
    quoted.reserve(text.size() + 2);
    quoted += mark;
    for (char c : text) {
        if (c == mark) quoted += mark;
        quoted += c;
    }
    quoted += mark;
    return quoted;
}

}  // namespace

std::string quote_identifier(std::string_view name) {
    return quote(name, '"');
}
std::string quote_literal(std::string_view text) {
    return quote(text, '\'');
}

void require_slot_name(std::string_view name) {
    const bool characters_ok = std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
    });
    if (characters_ok && !name.empty() && name.size() <= kLongestSlotName) return;
    throw Error(ErrorCode::source_slot_name,
                "Replication slot name \"" + std::string(name.substr(0, 100)) + "\" is not valid",
                "A slot name has 1 to 63 characters, each a lower case letter, a digit or an underscore",
                "Choose another name");
}

std::string create_slot_command(int server_major, std::string_view slot, std::string_view plugin,
                                const SlotOptions& options) {
    require_slot_name(slot);
    std::string command = "CREATE_REPLICATION_SLOT " + quote_identifier(slot);
    if (options.temporary) command += " TEMPORARY";
    command += " LOGICAL " + quote_identifier(plugin);
    // The parenthesised options came with 15.
    if (server_major < 15) return command + (options.export_snapshot ? "" : " NOEXPORT_SNAPSHOT");
    command += options.export_snapshot ? " (SNAPSHOT 'export'" : " (SNAPSHOT 'nothing'";
    if (options.failover && server_major >= 17) command += ", FAILOVER";
    return command + ")";
}

std::string start_replication_command(std::string_view slot, Lsn from, const PluginOptions& options) {
    require_slot_name(slot);
    std::string command = "START_REPLICATION SLOT " + quote_identifier(slot) + " LOGICAL " + lsn_text(from);
    const char* separator = " (";
    for (const auto& [name, value] : options) {
        command += separator + quote_identifier(name) + " " + quote_literal(value);
        separator = ", ";
    }
    if (!options.empty()) command += ")";
    return command;
}

std::string set_failover_command(std::string_view slot) {
    require_slot_name(slot);
    return "ALTER_REPLICATION_SLOT " + quote_identifier(slot) + " (FAILOVER)";
}

std::string drop_slot_command(std::string_view slot, bool wait) {
    require_slot_name(slot);
    return "DROP_REPLICATION_SLOT " + quote_identifier(slot) + (wait ? " WAIT" : "");
}

// A line for each timeline before: its number, where it ended, and a reason, parted by tabs (timeline.c).
std::optional<Lsn> timeline_end(std::string_view history, Timeline timeline) {
    while (!history.empty()) {
        std::string_view line = history.substr(0, history.find('\n'));
        history.remove_prefix(std::min(line.size() + 1, history.size()));
        uint32_t number = 0;
        const auto [end, problem] = std::from_chars(line.data(), line.data() + line.size(), number);
        if (problem != std::errc{} || number != timeline.value) continue;
        line.remove_prefix(static_cast<size_t>(end - line.data()));
        line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
        return parse_lsn(line.substr(0, line.find_first_of(" \t")));
    }
    return std::nullopt;
}

}  // namespace walferry
