#include "source/precheck.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "source/command.h"

namespace walferry {
namespace {

// A plugin that cannot be loaded is refused within milliseconds; one that can be may then wait for
// transactions.
constexpr std::chrono::milliseconds kProbeTimeout{2'000};

int to_int(const std::optional<std::string>& text) {
    int value = 0;
    if (text) std::from_chars(text->data(), text->data() + text->size(), value);
    return value;
}

class Precheck {
 public:
    Precheck(Connection& connection, const PrecheckOptions& options)
        : connection_(connection), options_(options), major_(connection.server_major()) {
        connection_.scene().slot = options.slot;
        connection_.scene().plugin = options.plugin;
    }

    std::vector<Finding> run() {
        server_version();
        // Below the oldest version the queries that follow may not be understood.
        if (major_ < kOldestServerMajor) return std::move(findings_);
        recovery();
        wal_level();
        ok("replication_right",
           "the role " + connection_.scene().user + " has opened a replication connection");
        slot();
        if (options_.failover) failover();
        wal_senders();
        plugin();
        return std::move(findings_);
    }

 private:
    void ok(std::string name, std::string reason) {
        findings_.push_back({std::move(name), Verdict::ok, std::move(reason), "", std::nullopt});
    }
    void warn(std::string name, std::string reason, std::string repair) {
        findings_.push_back(
            {std::move(name), Verdict::warning, std::move(reason), std::move(repair), std::nullopt});
    }
    void fail(std::string name, ErrorCode code, std::string reason, std::string repair) {
        findings_.push_back({std::move(name), Verdict::error, std::move(reason), std::move(repair), code});
    }
    void fail(std::string name, const Error& error) {
        Finding finding = finding_of(error);
        finding.name = std::move(name);
        findings_.push_back(std::move(finding));
    }

    std::string show(const std::string& setting) {
        return connection_.query("SHOW " + setting).value(0, setting).value_or("");
    }

    void server_version() {
        const std::string version = "the server is PostgreSQL " + std::to_string(major_);
        if (major_ < kOldestServerMajor)
            fail("server_version", ErrorCode::source_server_version, version,
                 "Upgrade the server: 14 to 18 are supported");
        else if (major_ > kNewestServerMajor)
            warn("server_version", version + ", newer than the newest that was tested (18)",
                 "See whether a newer walferry knows this version");
        else
            ok("server_version", version);
    }

    void recovery() {
        in_recovery_ =
            connection_.query("SELECT pg_catalog.pg_is_in_recovery() AS standby").value(0, "standby") == "t";
        if (!in_recovery_)
            ok("primary", "the server is not in recovery");
        else if (major_ < 16)
            fail("primary", ErrorCode::source_in_recovery,
                 "the server is in recovery (a standby); before version 16 it cannot decode",
                 "Name the primary in the DSN, or several hosts with target_session_attrs=read-write");
        else if (show("hot_standby_feedback") != "on")
            warn("primary",
                 "the server is a standby, and hot_standby_feedback is off: the primary may remove catalog "
                 "rows that the slot "
                 "needs, which ends the slot",
                 "On the standby: ALTER SYSTEM SET hot_standby_feedback = on; SELECT pg_reload_conf();");
        else
            ok("primary", "the server is a standby that can decode");
    }

    void wal_level() {
        const std::string level = show("wal_level");
        if (level == "logical") return ok("wal_level", "wal_level is logical");
        // From 19 on the server raises the level by itself when there is a logical slot.
        if (major_ >= 19)
            return ok("wal_level", "wal_level is " + level + ", which this version raises by itself");
        fail("wal_level", ErrorCode::source_wal_level, "wal_level is " + level,
             "ALTER SYSTEM SET wal_level = logical; and restart the server");
    }

    void slot() {
        try {
            require_slot_name(options_.slot);
        } catch (const Error& error) {
            return fail("slot", error);
        }
        const auto slot = find_slot(connection_, options_.slot);
        if (!slot) return slot_to_create();
        const auto problem =
            slot_problem(*slot, connection_.scene(), connection_.application_name(),
                         find_holder(connection_, *slot), options_.holder_before, in_recovery_);
        if (problem) return fail("slot", *problem);
        if (slot->wal_status == "unreserved")
            return warn("slot",
                        "slot " + slot->name +
                            " is about to be invalidated: the next checkpoint may remove "
                            "WAL that it needs",
                        "ALTER SYSTEM SET max_slot_wal_keep_size = <more>; SELECT pg_reload_conf();");
        ok("slot", "slot " + slot->name + " is ready, confirmed up to " + lsn_text(slot->confirmed_flush));
    }

    void slot_to_create() {
        const int most = to_int(show("max_replication_slots"));
        const int used =
            to_int(connection_.query("SELECT count(*) AS used FROM pg_catalog.pg_replication_slots")
                       .value(0, "used"));
        const std::string counts =
            std::to_string(used) + " of " + std::to_string(most) + " replication slots are used";
        no_slot_left_ = used >= most;
        if (no_slot_left_)
            fail("slot", ErrorCode::source_no_slot_left, counts + ", none is left for " + options_.slot,
                 "Drop a slot that nobody uses (SELECT slot_name, active FROM pg_replication_slots;) or: "
                 "ALTER SYSTEM "
                 "SET max_replication_slots = " +
                     std::to_string(most + 4) + "; and restart the server");
        else if (in_recovery_)
            warn("slot",
                 "slot " + options_.slot +
                     " is created as soon as the primary has logged which transactions run; " + counts,
                 "On the primary: SELECT pg_log_standby_snapshot(); its next checkpoint does the same");
        else
            ok("slot", "slot " + options_.slot + " is created at the start; " + counts);
    }

    void failover() {
        if (major_ < 17)
            return fail(
                "failover", ErrorCode::source_failover,
                "the server is PostgreSQL " + std::to_string(major_) + "; failover slots came with 17",
                "Set source.failover = false; before 17 the tools around the server (Patroni's permanent "
                "slots, the "
                "extension pg_failover_slots) carry slots over");
        if (in_recovery_)
            return fail("failover", ErrorCode::source_failover,
                        "the server is a standby, on which no failover slot can be made",
                        "Name the primary in the DSN, or set source.failover = false");
        if (show("synchronized_standby_slots").empty())
            return warn(
                "failover",
                "synchronized_standby_slots is empty: Kafka may get changes that a standby does not have "
                "yet, and "
                "that are gone if it is promoted then",
                "ALTER SYSTEM SET synchronized_standby_slots = '<physical slot of the standby>'; SELECT "
                "pg_reload_conf();");
        ok("failover", "changes are sent once the standbys in synchronized_standby_slots have them");
    }

    void wal_senders() {
        const int most = to_int(show("max_wal_senders"));
        const int used =
            to_int(connection_.query("SELECT count(*) AS used FROM pg_catalog.pg_stat_get_wal_senders()")
                       .value(0, "used"));
        const std::string counts = std::to_string(used) + " of " + std::to_string(most) +
                                   " WAL senders are used, this connection included";
        if (used < most) return ok("wal_senders", counts);
        warn("wal_senders", counts + ": after a lost connection there would be none to come back with",
             "ALTER SYSTEM SET max_wal_senders = " + std::to_string(most + 4) + "; and restart the server");
    }

    void plugin() {
        const std::string name = options_.plugin;
        const auto allowed = allowed_plugins();
        if (allowed) {
            connection_.scene().allowed_plugins = *allowed;
            if (std::find(allowed->begin(), allowed->end(), name) == allowed->end())
                return fail("output_plugin", ErrorCode::source_plugin_not_allowed,
                            "output_plugin_libraries does not name " + name,
                            allow_plugin_statement(connection_.scene()));
        }
        const bool can_probe =
            options_.probe_plugin && !in_recovery_ && !no_slot_left_ && !failed("wal_level");
        if (!can_probe)
            return ok("output_plugin",
                      unlisted_ ? "this server allows any output plugin"
                      : allowed ? "output_plugin_libraries names " + name
                                : "output_plugin_libraries is not visible to this role; the start of "
                                  "the stream will tell");
        try {
            create_slot(connection_, probe_slot(), name, {.temporary = true}, kProbeTimeout);
            drop_slot(connection_, probe_slot());
        } catch (const Error& error) {
            connection_.scene().slot = options_.slot;
            const bool only_slow = error.code() == ErrorCode::source_timeout;
            if (error.code() == ErrorCode::source_stopped || error.retry() == Retry::source) {
                if (!only_slow) throw;
            } else {
                return fail("output_plugin", error);
            }
        }
        connection_.scene().slot = options_.slot;
        ok("output_plugin", "the server has loaded the output plugin " + name);
    }

    std::string probe_slot() const { return "walferry_probe_" + std::to_string(connection_.backend_pid()); }

    bool failed(std::string_view name) const {
        return std::any_of(findings_.begin(), findings_.end(), [name](const Finding& finding) {
            return finding.name == name && finding.verdict == Verdict::error;
        });
    }

    // Nothing when any plugin is allowed (minor releases before August 2026), or when it cannot be seen.
    std::optional<std::vector<std::string>> allowed_plugins() {
        const QueryOutcome shown = connection_.try_query("SHOW output_plugin_libraries");
        if (!shown.error)
            return split_name_list(shown.result.value(0, "output_plugin_libraries").value_or(""));
        unlisted_ = shown.error->sqlstate == "42704";
        if (unlisted_) return std::nullopt;
        // SHOW wants pg_read_all_settings, but what ALTER ROLE or ALTER DATABASE has set is there for all to
        // read.
        const QueryResult settings = connection_.query(
            "SELECT pg_catalog.split_part(item, '=', 2) AS list FROM pg_catalog.pg_db_role_setting AS s, "
            "pg_catalog.unnest(s.setconfig) AS item "
            "LEFT JOIN pg_catalog.pg_database AS d ON d.datname = pg_catalog.current_database() "
            "LEFT JOIN pg_catalog.pg_roles AS r ON r.rolname = session_user "
            "WHERE s.setdatabase IN (0, d.oid) AND s.setrole IN (0, r.oid) AND item LIKE "
            "'output\\_plugin\\_libraries=%' "
            "ORDER BY s.setrole <> 0 DESC, s.setdatabase <> 0 DESC LIMIT 1");
        if (settings.rows.empty()) return std::nullopt;
        return split_name_list(settings.value(0, "list").value_or(""));
    }

    Connection& connection_;
    const PrecheckOptions& options_;
    const int major_;
    std::vector<Finding> findings_;
    bool in_recovery_ = false;
    bool no_slot_left_ = false;
    bool unlisted_ = false;
};

}  // namespace

std::vector<Finding> precheck(Connection& connection, const PrecheckOptions& options) {
    return Precheck(connection, options).run();
}

Finding finding_of(const Error& error) {
    return {"connection", Verdict::error,
            error.happened() + (error.why().empty() ? "" : " (" + error.why() + ")"), error.remedy(),
            error.code()};
}

void require_precheck(const std::vector<Finding>& findings) {
    for (const Finding& finding : findings)
        if (finding.verdict == Verdict::warning)
            spdlog::warn("precheck {}: {}; remedy: {}", finding.name, finding.reason, finding.repair);
    for (const Finding& finding : findings)
        if (finding.verdict == Verdict::error)
            throw Error(finding.code.value_or(ErrorCode::source_server_error),
                        "Precheck \"" + finding.name + "\" failed", finding.reason, finding.repair);
}

std::vector<std::string> split_name_list(const std::string& text) {
    std::vector<std::string> names;
    std::string name;
    bool quoted = false;
    const auto finish_name = [&] {
        if (!name.empty()) names.push_back(std::move(name));
        name.clear();
    };
    for (size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c == '"' && quoted && i + 1 < text.size() && text[i + 1] == '"') {
            name += c;
            ++i;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (c == ',' && !quoted) {
            finish_name();
        } else if (quoted || (c != ' ' && c != '\t')) {
            name += c;
        }
    }
    finish_name();
    return names;
}

}  // namespace walferry
