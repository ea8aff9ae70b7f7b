#include "source/server_error.h"

#include <algorithm>
#include <cctype>
#include <optional>

#include "source/command.h"

namespace walferry {
namespace {

bool has(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

bool in_class(const ServerError& error, std::string_view sqlstate_class) {
    return std::string_view(error.sqlstate).substr(0, 2) == sqlstate_class;
}

// Everything of the server's own words but the message itself.
std::string server_words(const ServerError& error) {
    std::string text;
    const auto add = [&text](std::string_view label, const std::string& part) {
        if (part.empty()) return;
        if (!text.empty()) text += "; ";
        text += std::string(label) + part;
    };
    add("", error.severity + (error.sqlstate.empty() ? "" : " " + error.sqlstate));
    add("detail: ", error.detail);
    add("hint: ", error.hint);
    add("context: ", error.context);
    return text;
}

class Mapper {
 public:
    Mapper(const ServerError& error, const ServerScene& scene) : error_(error), scene_(scene) {}

    Error map() const {
        // First, because its SQLSTATE is that of any function of anybody's.
        if (auto mapped = unreadable_value()) return *mapped;
        if (auto mapped = login()) return *mapped;
        if (auto mapped = limits()) return *mapped;
        if (auto mapped = slot()) return *mapped;
        // Before the plugin's: a server that shuts down may do so within one of the plugin's callbacks.
        if (auto mapped = availability()) return *mapped;
        if (auto mapped = plugin()) return *mapped;
        if (auto mapped = outside_of_commands()) return *mapped;
        return make(ErrorCode::source_server_error,
                    "Act on the server's own words; its log has more at this moment");
    }

 private:
    using Result = std::optional<Error>;

    Error make(ErrorCode code, std::string remedy) const {
        return Error(code, scene_.server + ": " + error_.message, server_words(error_), std::move(remedy));
    }

    // The plugin names the column in the context (plugin/relation_cache.cpp). A cancel, a shutdown or a lack
    // of resources that comes in the middle of it is not about the value.
    Result unreadable_value() const {
        if (!has(error_.context, "walferry: column \"") || in_class(error_, "57") || in_class(error_, "08") ||
            in_class(error_, "53") || in_class(error_, "40"))
            return std::nullopt;
        return make(ErrorCode::source_unreadable_value,
                    "Repair the column's type on the server (the context names the column; most often its "
                    "extension's library is missing or of another version), or leave the table out with "
                    "\"!schema.table\" in source.tables; then start the task again");
    }

    Result login() const {
        const std::string& state = error_.sqlstate;
        const std::string user = quote_identifier(scene_.user);
        if (in_class(error_, "28") && has(error_.message, "pg_hba.conf"))
            return make(ErrorCode::source_hba_rejected,
                        "Add to pg_hba.conf on the server, above any line that rejects: host " +
                            quote_identifier(scene_.database) + " " + user +
                            " <address of the shipper>/32 scram-sha-256; then: SELECT pg_reload_conf();");
        if (in_class(error_, "28"))
            return make(
                ErrorCode::source_authentication,
                "Put the right user and password into the DSN, PGPASSWORD or ~/.pgpass; to set a new one, "
                "in psql: \\password " +
                    user);
        if (state == "3D000" || state == "57P04")
            return make(ErrorCode::source_database_missing,
                        "Name an existing database as dbname in the DSN. A slot that the database had is "
                        "gone with it");
        if (state == "42501") return privilege();
        return std::nullopt;
    }

    Result privilege() const {
        if (has(error_.message, "output plugin") || has(error_.hint, "output_plugin_libraries"))
            return make(ErrorCode::source_plugin_not_allowed, allow_plugin_statement(scene_));
        if (has(error_.message, "WAL sender") || has(error_.message, "walsender") ||
            has(error_.message, "replication slots") || has(error_.detail, "REPLICATION"))
            return make(ErrorCode::source_no_replication_right,
                        "ALTER ROLE " + quote_identifier(scene_.user) + " REPLICATION;");
        if (has(error_.message, "for database"))
            return make(ErrorCode::source_privilege, "GRANT CONNECT ON DATABASE " +
                                                         quote_identifier(scene_.database) + " TO " +
                                                         quote_identifier(scene_.user) + ";");
        return make(ErrorCode::source_privilege,
                    "Grant " + quote_identifier(scene_.user) + " what the server asks for");
    }

    Result limits() const {
        const std::string& state = error_.sqlstate;
        if (state == "53300" && has(error_.message, "max_wal_senders"))
            return make(ErrorCode::source_no_wal_sender_left,
                        "End another replication connection (SELECT pid, application_name FROM "
                        "pg_stat_replication;) or: ALTER SYSTEM SET max_wal_senders = <more>; and restart "
                        "the server");
        if (state == "53300")
            return make(
                ErrorCode::source_too_many_connections,
                "Wait, or free connections (SELECT pid, usename, state FROM pg_stat_activity;), or raise "
                "max_connections or the limit of the role or the database");
        if (state == "53400" && has(error_.message + error_.hint, "slots"))
            return make(ErrorCode::source_no_slot_left,
                        "Drop a slot that nobody uses (SELECT slot_name, active FROM pg_replication_slots;) "
                        "or: ALTER "
                        "SYSTEM SET max_replication_slots = <more>; and restart the server");
        if (in_class(error_, "53") || state == "58030" || state == "40001" || state == "40P01")
            return make(ErrorCode::source_server_resources,
                        "The shipper tries again by itself; free the resource that the server names");
        return std::nullopt;
    }

    Result slot() const {
        const std::string& state = error_.sqlstate;
        const std::string_view message = error_.message;
        const std::string slot = quote_literal(scene_.slot);
        if (state == "42602")
            return make(ErrorCode::source_slot_name,
                        "Choose a name of 1 to 63 lower case letters, digits and underscores");
        if (state == "42710")
            return make(ErrorCode::source_slot_exists,
                        "The shipper looks the slot up again by itself; if this repeats, see whether another "
                        "program creates slots of this name");
        if (state == "42704" && has(message, "replication slot"))
            return make(
                ErrorCode::source_slot_missing,
                "Somebody dropped the slot: changes since then may be lost to it. Start again with a new "
                "slot and a new initial load");
        if (state == "55006" && has(message, "replication slot"))
            return make(
                ErrorCode::source_slot_active,
                "Stop the other reader of the slot (SELECT active_pid FROM pg_replication_slots WHERE "
                "slot_name = " +
                    slot + ";). A dead one is ended by the server after wal_sender_timeout");
        if (has(message, "requested WAL segment") || (state == "55000" && slot_is_lost()))
            return make(
                ErrorCode::source_slot_lost,
                "See what the slot is: SELECT slot_type, plugin, wal_status FROM pg_replication_slots WHERE "
                "slot_name = " +
                    slot +
                    "; If it is this task's own and lost, drop it, then start with a new "
                    "slot and a new initial load. To keep it from happening again raise or unset "
                    "max_slot_wal_keep_size");
        if (state == "55000" && has(message, "physical"))
            return make(ErrorCode::source_slot_physical, "Choose another slot name");
        if (state == "55000" && has(message, "not created in this database"))
            return make(ErrorCode::source_slot_other_database,
                        "Choose another slot name, or connect to the slot's own database");
        if ((state == "55000" || state == "0A000") && has(message, "recovery"))
            return make(ErrorCode::source_in_recovery,
                        "Name the primary in the DSN, or several hosts with target_session_attrs=read-write");
        if (state == "55000" && has(message, "wal_level"))
            return make(ErrorCode::source_wal_level,
                        "ALTER SYSTEM SET wal_level = logical; and restart the server" +
                            std::string(has(message, "primary") ? " (the primary)" : ""));
        return std::nullopt;
    }

    bool slot_is_lost() const {
        return has(error_.detail, "invalidated") || has(error_.message, "invalidated") ||
               has(error_.message, "can no longer") || has(error_.message, "maximum reserved size");
    }

    Result plugin() const {
        const std::string& message = error_.message;
        const bool names_plugin = !scene_.plugin.empty() && (has(message, '"' + scene_.plugin + '"') ||
                                                             has(message, scene_.plugin + ".so"));
        const bool not_loadable = has(message, "_PG_output_plugin_init") ||
                                  (names_plugin && (error_.sqlstate == "58P01" || has(message, "library")));
        if (not_loadable)
            return make(ErrorCode::source_plugin_not_loadable,
                        "Install the plugin on the server, built for its major version: make install "
                        "PG_CONFIG=<pg_config of that server>");
        if (has(error_.context, "output plugin \""))
            return make(
                ErrorCode::source_plugin_error,
                "Act on the plugin's own words. If shipper and plugin are of different versions, install the "
                "same one on both sides");
        return std::nullopt;
    }

    Result availability() const {
        if (in_class(error_, "57") || in_class(error_, "08"))
            return make(
                ErrorCode::source_unavailable,
                "The shipper connects anew by itself; see the server's log for why it ended the connection");
        return std::nullopt;
    }

    Result outside_of_commands() const {
        const std::string& state = error_.sqlstate;
        if (state == "42704" || state == "22023" || state == "42601")
            // Before any command was sent these can only come from the DSN's own options.
            if (error_.severity == "FATAL")
                return make(ErrorCode::source_dsn,
                            "Correct the options in the DSN, PGOPTIONS or the service file");
        if (!state.empty()) return std::nullopt;
        return without_sqlstate();
    }

    // Errors that libpq reports by itself.
    Error without_sqlstate() const {
        const std::string_view message = error_.message;
        if (has(message, "no password supplied") || has(message, "authentication method") ||
            has(message, "channel binding"))
            return make(ErrorCode::source_authentication,
                        "Give the password in ~/.pgpass, PGPASSWORD or the DSN, by the method that the "
                        "server asks for");
        const bool about_tls = has(message, "SSL") || has(message, "certificate") || has(message, "GSSAPI");
        const bool cut_off = has(message, "SYSCALL") || has(message, "closed unexpectedly") ||
                             has(message, "EOF") || has(message, "invalid response");
        if (about_tls && !cut_off)
            return make(
                ErrorCode::source_tls,
                "Check sslmode, sslrootcert, sslcert and sslkey in the DSN against what the server offers");
        return make(
            ErrorCode::source_connection,
            "Check host and port in the DSN, that the server runs, and the network between. The shipper "
            "tries again by itself");
    }

    const ServerError& error_;
    const ServerScene& scene_;
};

bool is_sqlstate(std::string_view text) {
    return text.size() == 5 && std::all_of(text.begin(), text.end(), [](unsigned char c) {
               return std::isdigit(c) != 0 || std::isupper(c) != 0;
           });
}

std::string_view take_line(std::string_view& text) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    return line;
}

// "...: FATAL:  28P01: text": the place of the SQLSTATE, or npos.
size_t find_sqlstate(std::string_view line) {
    for (size_t at = line.find(":  "); at != std::string_view::npos; at = line.find(":  ", at + 1)) {
        if (is_sqlstate(line.substr(at + 3, 5)) && line.substr(at + 8, 2) == ": ") return at + 3;
    }
    return std::string_view::npos;
}

}  // namespace

Error map_server_error(const ServerError& error, const ServerScene& scene) {
    return Mapper(error, scene).map();
}

ServerError parse_connect_message(std::string_view text) {
    ServerError error;
    std::string* last_field = &error.message;
    while (!text.empty()) {
        const std::string_view line = take_line(text);
        if (const size_t state = find_sqlstate(line); state != std::string_view::npos) {
            error = ServerError{};
            const std::string_view before = line.substr(0, state - 3);
            const size_t space = before.rfind(' ');
            error.severity = before.substr(space == std::string_view::npos ? 0 : space + 1);
            error.sqlstate = line.substr(state, 5);
            error.message = line.substr(state + 7);
            last_field = &error.message;
        } else if (line.starts_with("DETAIL:  ")) {
            error.detail = line.substr(9);
            last_field = &error.detail;
        } else if (line.starts_with("HINT:  ")) {
            error.hint = line.substr(7);
            last_field = &error.hint;
        } else if (line.starts_with("LOCATION:  ")) {
            last_field = nullptr;
        } else if (!line.empty() && last_field != nullptr) {
            const size_t start = std::min(line.find_first_not_of(" \t"), line.size());
            if (!last_field->empty()) *last_field += ' ';
            *last_field += line.substr(start);
        }
    }
    return error;
}

std::string allow_plugin_statement(const ServerScene& scene) {
    std::string list;
    for (const std::string& name : scene.allowed_plugins)
        if (name != scene.plugin) list += quote_literal(name) + ", ";
    list += quote_literal(scene.plugin);
    return "For this role alone: ALTER ROLE " + quote_identifier(scene.user) +
           " SET output_plugin_libraries = " + list +
           "; or for all: ALTER SYSTEM SET output_plugin_libraries = " + list + "; SELECT pg_reload_conf();";
}

}  // namespace walferry
