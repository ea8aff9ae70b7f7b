#include "source/slot.h"

#include <spdlog/spdlog.h>

#include <charconv>
#include <utility>

#include "fail_point/fail_point.h"

namespace walferry {
namespace {

template <typename Number>
std::optional<Number> number(const std::optional<std::string>& text) {
    Number value{};
    if (!text) return std::nullopt;
    const auto [end, problem] = std::from_chars(text->data(), text->data() + text->size(), value);
    if (problem != std::errc{} || end != text->data() + text->size()) return std::nullopt;
    return value;
}

bool truth(const std::optional<std::string>& text) {
    return text == "t";
}
Lsn lsn_or_none(const std::optional<std::string>& text) {
    return parse_lsn(text.value_or("")).value_or(Lsn{});
}

std::string drop_statement(const SlotInfo& slot) {
    return "SELECT pg_drop_replication_slot(" + quote_literal(slot.name) + ");";
}

std::optional<Error> holder_problem(const SlotInfo& slot, const ServerScene& scene,
                                    const std::string& application_name,
                                    const std::optional<SlotHolder>& holder,
                                    const std::optional<SlotHolder>& before) {
    const std::string pid = std::to_string(*slot.active_pid);
    const std::string what = scene.server + ": slot \"" + slot.name + "\" is being read by backend " + pid;
    std::string who = "The server does not show who that is";
    if (holder) {
        who = "It is \"" + holder->application_name + "\"" +
              (holder->client_address.empty() ? "" : " from " + holder->client_address);
        const bool alive =
            before && (before->pid != holder->pid || before->confirmed_flush != holder->confirmed_flush);
        if (alive && holder->application_name == application_name)
            return Error(ErrorCode::source_slot_second_shipper, what,
                         who + ", and it is alive: another shipper runs with the same slot",
                         "Stop one of the two, or give this task another name");
    }
    return Error(ErrorCode::source_slot_active, what, who,
                 "If it is a reader that should not be there: SELECT pg_terminate_backend(" + pid +
                     "); The connection of a dead shipper is ended by the server after wal_sender_timeout");
}

}  // namespace

std::optional<SlotInfo> find_slot(Connection& connection, const std::string& name) {
    const int major = connection.server_major();
    std::string columns =
        "slot_name, plugin, slot_type, database, temporary, active_pid, restart_lsn, confirmed_flush_lsn, "
        "wal_status, safe_wal_size";
    if (major >= 16) columns += ", conflicting";
    if (major >= 17) columns += ", invalidation_reason, failover, synced";
    const QueryResult found =
        connection.query("SELECT " + columns +
                         " FROM pg_catalog.pg_replication_slots WHERE slot_name = " + quote_literal(name));
    if (found.rows.empty()) return std::nullopt;
    const auto column = [&found](std::string_view wanted) { return found.value(0, wanted); };
    SlotInfo slot;
    slot.name = name;
    slot.plugin = column("plugin").value_or("");
    slot.logical = column("slot_type") == "logical";
    slot.database = column("database").value_or("");
    slot.temporary = truth(column("temporary"));
    slot.active_pid = number<int>(column("active_pid"));
    slot.restart = lsn_or_none(column("restart_lsn"));
    slot.confirmed_flush = lsn_or_none(column("confirmed_flush_lsn"));
    slot.wal_status = column("wal_status").value_or("");
    slot.safe_wal_size = number<int64_t>(column("safe_wal_size"));
    slot.invalidation_reason = column("invalidation_reason").value_or("");
    slot.conflicting = truth(column("conflicting"));
    slot.failover = truth(column("failover"));
    slot.synced = truth(column("synced"));
    return slot;
}

std::optional<SlotHolder> find_holder(Connection& connection, const SlotInfo& slot) {
    if (!slot.active_pid) return std::nullopt;
    const QueryResult found = connection.query(
        "SELECT application_name, client_addr FROM pg_catalog.pg_stat_replication WHERE pid = " +
        std::to_string(*slot.active_pid));
    if (found.rows.empty()) return std::nullopt;
    return SlotHolder{*slot.active_pid, found.value(0, "application_name").value_or(""),
                      found.value(0, "client_addr").value_or(""), slot.confirmed_flush};
}

std::optional<Error> slot_problem(const SlotInfo& slot, const ServerScene& scene,
                                  const std::string& application_name,
                                  const std::optional<SlotHolder>& holder,
                                  const std::optional<SlotHolder>& before, bool in_recovery) {
    const std::string what = scene.server + ": slot \"" + slot.name + "\"";
    if (!slot.logical)
        return Error(ErrorCode::source_slot_physical, what + " is physical",
                     "It belongs to a standby or a backup",
                     "Choose another slot name; only if nobody needs that slot: " + drop_statement(slot));
    if (slot.plugin != scene.plugin)
        return Error(ErrorCode::source_slot_other_plugin,
                     what + " uses the output plugin \"" + slot.plugin + "\"",
                     "A slot keeps its plugin for life; this shipper reads \"" + scene.plugin + "\"",
                     "Choose another slot name; only if nobody needs that slot: " + drop_statement(slot));
    if (slot.database != scene.database)
        return Error(ErrorCode::source_slot_other_database,
                     what + " belongs to the database \"" + slot.database + "\"",
                     "The shipper is connected to \"" + scene.database + "\"",
                     "Choose another slot name, or set dbname=" + slot.database + " in the DSN");
    if (slot.synced && in_recovery)
        return Error(
            ErrorCode::source_in_recovery, what + " is a copy that a standby keeps",
            "The slot itself is on the primary; the copy can be read once this server has been promoted",
            "Name the primary in the DSN, or several hosts with target_session_attrs=read-write; the shipper "
            "tries "
            "again by itself");
    if (slot.wal_status == "lost" || !slot.invalidation_reason.empty() || slot.conflicting) {
        const std::string reason = slot.invalidation_reason.empty()
                                       ? (slot.conflicting ? "it conflicts with recovery on a standby"
                                                           : "the WAL it needs was removed")
                                       : "invalidation_reason is " + slot.invalidation_reason;
        return Error(ErrorCode::source_slot_lost, what + " was invalidated",
                     "The server gave it up: " + reason,
                     drop_statement(slot) +
                         " then start with a new slot and a new initial load. To keep it from "
                         "happening again look at max_slot_wal_keep_size (and, from 18 on, "
                         "idle_replication_slot_timeout)");
    }
    if (slot.active_pid) return holder_problem(slot, scene, application_name, holder, before);
    return std::nullopt;
}

SlotStart create_slot(Connection& connection, const std::string& name, const std::string& plugin,
                      const SlotOptions& options, std::chrono::milliseconds timeout) {
    connection.scene().slot = name;
    connection.scene().plugin = plugin;
    const QueryResult created =
        connection.query(create_slot_command(connection.server_major(), name, plugin, options), timeout);
    const auto position = parse_lsn(created.value(0, "consistent_point").value_or(""));
    if (!position)
        throw Error(ErrorCode::source_protocol, "The answer to CREATE_REPLICATION_SLOT cannot be read",
                    "It has no consistent_point", "Reach the server directly, without a pooler between");
    WALFERRY_FAIL_POINT("slot_created");
    return {true, *position, created.value(0, "snapshot_name").value_or("")};
}

SlotStart ensure_slot(Connection& connection, const std::string& name, const std::string& plugin,
                      const SlotOptions& options, const std::optional<SlotHolder>& before) {
    require_slot_name(name);
    connection.scene().slot = name;
    connection.scene().plugin = plugin;
    if (const auto slot = find_slot(connection, name)) {
        const auto problem = slot_problem(*slot, connection.scene(), connection.application_name(),
                                          find_holder(connection, *slot), before);
        if (problem) throw *problem;
        spdlog::info("using replication slot {}, confirmed up to {}", name, lsn_text(slot->confirmed_flush));
        return {false, slot->confirmed_flush, ""};
    }
    spdlog::info(
        "creating {} replication slot {} with plugin {}, because there is none of this name; this waits for "
        "the transactions that run now",
        options.temporary ? "temporary" : "persistent", name, plugin);
    SlotStart start = create_slot(connection, name, plugin, options);
    spdlog::info("created replication slot {}, consistent from {}", name, lsn_text(start.position));
    return start;
}

void ensure_failover(Connection& connection, const SlotInfo& slot) {
    if (slot.failover) return;
    connection.scene().slot = slot.name;
    connection.query(set_failover_command(slot.name));
    spdlog::info("made replication slot {} a failover slot", slot.name);
}

void drop_slot(Connection& connection, const std::string& name, std::chrono::milliseconds timeout) {
    connection.scene().slot = name;
    connection.query(drop_slot_command(name, true), timeout);
    spdlog::info("dropped replication slot {}", name);
}

}  // namespace walferry
