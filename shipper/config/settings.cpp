#include "config/settings.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/checks.h"
#include "config/units.h"

namespace walferry {
namespace {

using Task = TaskConfig;
using Table = TableConfig;

constexpr int64_t kDay = 86'400'000;
constexpr std::string_view kTopicRule =
    "letters, digits, `.`, `_`, `-`, and `{db}`, `{schema}`, `{table}`, `{name}`";
constexpr std::string_view kPatternRule = "`schema.table` with `*` and `?`";

// The order is that of the page.
const Setting kSettings[] = {
    {.path = "name",
     .example = R"("shop")",
     .help = "Names the task: the slot, the Kafka client and the progress record carry it.",
     .allowed = "1 to 63 letters, digits, `_`, `-`, `.`",
     .required = true,
     .check = check_task_name,
     .member = [](Task& t, Table&) -> Member { return &t.name; }},

    {.path = "source.dsn",
     .example = R"("host=127.0.0.1 dbname=shop user=walferry")",
     .help = "Where to find PostgreSQL: a libpq connection string or URI; PG* variables, pgpass and service "
             "files work.",
     .required = true,
     .secret = true,
     .check = check_not_empty,
     .member = [](Task& t, Table&) -> Member { return &t.source.dsn; }},
    {.path = "source.tables",
     .example = R"(["public.*", "!public.scratch_*"])",
     .help = "Which tables to stream; the last pattern that matches a table decides.",
     .allowed = kPatternRule,
     .fallback = "every user table",
     .check = check_pattern,
     .member = [](Task& t, Table&) -> Member { return &t.source.tables; }},
    {.path = "source.operations",
     .example = R"(["insert", "update", "delete"])",
     .help = "Which operations to stream.",
     .allowed = "insert|update|delete|truncate",
     .member = [](Task& t, Table&) -> Member { return &t.source.operations; }},
    {.path = "source.publish_via_root",
     .example = "true",
     .help =
         "Whether a partition's changes carry the name of the partitioned table at the root; a TRUNCATE of a "
         "single partition is then not sent.",
     .member = [](Task& t, Table&) -> Member { return &t.source.publish_via_root; }},
    {.path = "source.origin",
     .example = R"("none")",
     .help = "`none` leaves out changes that reached the server by replication from elsewhere.",
     .allowed = "any|none",
     .member = [](Task& t, Table&) -> Member { return choice(t.source.origin); }},
    {.path = "source.messages",
     .example = R"(["audit"])",
     .help = "Logical messages (`pg_logical_emit_message`) to stream: all, none, or those whose prefix is in "
             "the list.",
     .allowed = "`true`, `false`, or a list of prefixes",
     .check = check_not_empty,
     .member = [](Task& t, Table&) -> Member { return &t.source.messages; }},
    {.path = "source.streaming",
     .example = "false",
     .help = "Whether transactions larger than the server's `logical_decoding_work_mem` come while they are "
             "in progress, into "
             "the spool, rather than after their commit from the server's disk.",
     .member = [](Task& t, Table&) -> Member { return &t.source.streaming; }},
    {.path = "source.two_phase",
     .example = R"(["app-"])",
     .help = "Prepared transactions (`PREPARE TRANSACTION`) to take in when they are prepared, into the "
             "spool: all, none, or "
             "those whose name begins with one in the list. They reach Kafka when they are committed, as all "
             "others do.",
     .allowed = "`true`, `false`, or a list of beginnings of names",
     .check = check_not_empty,
     .member = [](Task& t, Table&) -> Member { return &t.source.two_phase; }},
    {.path = "source.slot",
     .example = R"("shop")",
     .help = "The replication slot.",
     .allowed = "1 to 63 lower-case letters, digits, `_`",
     .fallback = "the name in lower case, `-` and `.` as `_`",
     .check = check_slot_name,
     .member = [](Task& t, Table&) -> Member { return &t.source.slot; }},
    {.path = "source.create_slot",
     .example = "false",
     .help = "Whether to create the slot when it is missing; otherwise that is an error.",
     .member = [](Task& t, Table&) -> Member { return &t.source.create_slot; }},
    {.path = "source.failover",
     .example = "true",
     .help =
         "Whether the slot is to survive a failover: standbys of PostgreSQL 17 or later keep a copy of it "
         "(docs/versions.md).",
     .member = [](Task& t, Table&) -> Member { return &t.source.failover; }},
    {.path = "source.status_interval_ms",
     .example = "500",
     .help = "How often the confirmed position is told to the server.",
     .unit = "ms",
     .min = 10,
     .max = 60'000,
     .member = [](Task& t, Table&) -> Member { return &t.source.status_interval_ms; }},
    {.path = "source.silence_timeout",
     .example = R"("1min")",
     .help =
         "How long the server may be silent before the connection counts as lost; after half of it, it is "
         "asked.",
     .min = 1'000,
     .max = 3'600'000,
     .member = [](Task& t, Table&) -> Member { return &t.source.silence_timeout; }},
    {.path = "source.second_shipper",
     .example = R"("exit")",
     .help =
         "What a shipper does that finds its slot read by another one: wait, as a standby that takes over "
         "when the other one dies or hangs, or exit.",
     .allowed = "wait|exit",
     .member = [](Task& t, Table&) -> Member { return choice(t.source.second_shipper); }},
    {.path = "source.takeover_timeout",
     .example = R"("10s")",
     .help = "How long a shipper may say nothing to the server before the server, or a standby, ends its "
             "connection.",
     .min = 2'000,
     .max = 600'000,
     .member = [](Task& t, Table&) -> Member { return &t.source.takeover_timeout; }},

    {.path = "sink.brokers",
     .example = R"("127.0.0.1:9092")",
     .help = "Where to find Kafka: one or more brokers, parted by commas.",
     .allowed = "`host:port`, the port being 9092 when left out",
     .required = true,
     .check = check_brokers,
     .member = [](Task& t, Table&) -> Member { return &t.sink.brokers; }},
    {.path = "sink.format",
     .example = R"("canal-json")",
     .help = "How a change is written.",
     .allowed = "canal-json",
     .later = "dts-avro|shareplex-json|debezium-json|flatbuffers",
     .member = [](Task& t, Table&) -> Member { return choice(t.sink.format); }},
    {.path = "sink.topic",
     .example = R"("cdc.{schema}.{table}")",
     .help = "The topic of a table's changes.",
     .allowed = kTopicRule,
     .check = check_topic_template,
     .member = [](Task& t, Table&) -> Member { return &t.sink.topic; }},
    {.path = "sink.ddl_topic",
     .example = R"("{name}.ddl")",
     .help = "The topic of TRUNCATE and other DDL.",
     .allowed = kTopicRule,
     .fallback = "the topic of the table's changes",
     .check = check_optional_topic_template,
     .member = [](Task& t, Table&) -> Member { return &t.sink.ddl_topic; }},
    {.path = "sink.message_topic",
     .example = R"("{db}.outbox")",
     .help =
         "The topic of logical messages (`source.messages`): the prefix is the key, the content the value.",
     .allowed = "letters, digits, `.`, `_`, `-`, and `{db}`, `{name}`",
     .check = check_message_topic_template,
     .member = [](Task& t, Table&) -> Member { return &t.sink.message_topic; }},
    {.path = "sink.partition_by",
     .example = R"("table")",
     .help = "What decides the partition: nothing (always partition 0), the table, or the key columns of the "
             "row.",
     .allowed = "none|table|key",
     .member = [](Task& t, Table&) -> Member { return choice(t.sink.partition_by); }},
    {.path = "sink.partition_hash",
     .example = R"("java")",
     .help = "The hash: Kafka's own (`murmur2`), or that of DTS and Canal (`java`).",
     .allowed = "murmur2|java",
     .member = [](Task& t, Table&) -> Member { return choice(t.sink.partition_hash); }},
    {.path = "sink.key_change",
     .example = R"("delete-insert")",
     .help =
         "An UPDATE that changes the message key as one change under the new key, or as a DELETE of the old "
         "key and an INSERT (docs/row-images.md).",
     .allowed = "update|delete-insert",
     .member = [](Task& t, Table&) -> Member { return choice(t.sink.key_change); }},
    {.path = "sink.delivery",
     .example = R"("exactly-once")",
     .help = "What is promised when a process dies (docs/delivery.md): what has reached Kafka is found there "
             "and not sent again (`at-least-once`), or Kafka's transactions decide what counts "
             "(`exactly-once`, for readers with `isolation.level=read_committed`).",
     .allowed = "at-least-once|exactly-once",
     .member = [](Task& t, Table&) -> Member { return choice(t.sink.delivery); }},
    {.path = "sink.progress_topic",
     .example = R"("cdc.progress.{name}")",
     .help = "The compacted topic that holds the task's position.",
     .allowed = "letters, digits, `.`, `_`, `-`, and `{name}`, which must be there",
     .check = check_progress_topic_template,
     .member = [](Task& t, Table&) -> Member { return &t.sink.progress_topic; }},
    {.path = "sink.commit_interval",
     .example = R"("100ms")",
     .help =
         "With exactly-once: how long a Kafka transaction stays open. It ends at the end of a transaction "
         "of the source, and holds whole ones. While the task is more than a second behind, ten times as "
         "long, or half of what it is behind.",
     .min = 1,
     .max = 10'000,
     .member = [](Task& t, Table&) -> Member { return &t.sink.commit_interval; }},
    {.path = "sink.commit_bytes",
     .example = R"("64MB")",
     .help = "With exactly-once: after how many bytes of keys and values a Kafka transaction ends, at the "
             "latest.",
     .min = 1 << 20,
     .max = 64LL << 30,
     .member = [](Task& t, Table&) -> Member { return &t.sink.commit_bytes; }},
    {.path = "sink.commit_rows",
     .example = "100000",
     .help = "With exactly-once: the same, by the number of messages.",
     .unit = "messages",
     .min = 1,
     .max = 100'000'000,
     .member = [](Task& t, Table&) -> Member { return &t.sink.commit_rows; }},
    {.path = "sink.create_topics",
     .example = "false",
     .help = "Whether to create a topic that is missing; otherwise that is an error.",
     .member = [](Task& t, Table&) -> Member { return &t.sink.create_topics; }},
    {.path = "sink.topic_partitions",
     .example = "6",
     .help = "Partitions of a topic that walferry creates.",
     .unit = "partitions",
     .min = 1,
     .max = 100'000,
     .member = [](Task& t, Table&) -> Member { return &t.sink.topic_partitions; }},
    {.path = "sink.topic_replication",
     .example = "3",
     .help = "Copies of each partition of a topic that walferry creates; -1 leaves it to the broker.",
     .unit = "copies",
     .min = -1,
     .max = 100,
     .member = [](Task& t, Table&) -> Member { return &t.sink.topic_replication; }},
    {.path = "sink.queue_bytes",
     .example = R"("64MB")",
     .help =
         "How much may wait for Kafka's acknowledgement before reading from PostgreSQL pauses. Raise it for "
         "brokers far away.",
     .min = 1 << 20,
     .max = 2LL << 30,
     .member = [](Task& t, Table&) -> Member { return &t.sink.queue_bytes; }},
    {.path = "sink.headers",
     .example = R"("position")",
     .help = "Record headers: the change's position, by which a reader can tell repeats, and the name of its "
             "replication "
             "origin, if it has one; or none.",
     .allowed = "position|none",
     .member = [](Task& t, Table&) -> Member { return choice(t.sink.headers); }},
    {.path = "sink.oversize",
     .example = R"("claim-check")",
     .help = "What is done with a message that is larger than its topic takes (docs/oversize.md).",
     .allowed = "stop|dead-letter|split|claim-check|key-only",
     .member = [](Task& t, Table&) -> Member { return choice(t.sink.oversize); }},
    {.path = "sink.unrenderable",
     .example = R"("dead-letter")",
     .help = "What is done with a row that cannot be rendered (WF4102) or that the plugin could not send "
             "whole (WF4103).",
     .allowed = "stop|dead-letter|key-only",
     .member = [](Task& t, Table&) -> Member { return choice(t.sink.unrenderable); }},
    {.path = "sink.max_message_size",
     .example = R"("900kB")",
     .help =
         "The largest message, before compression, that `sink.oversize` lets pass, at least 10kB; batches "
         "are not made larger either. With `stop` the brokers decide.",
     .fallback = "the topic's `max.message.bytes` (also with 0)",
     .max = 900 << 20,
     .member = [](Task& t, Table&) -> Member { return &t.sink.max_message_size; }},
    {.path = "sink.dead_letter_topic",
     .example = R"("{name}.dead-letters")",
     .help = "The topic of records that `dead-letter` sets aside.",
     .allowed = kTopicRule,
     .check = check_topic_template,
     .member = [](Task& t, Table&) -> Member { return &t.sink.dead_letter_topic; }},
    {.path = "sink.claim_check_directory",
     .example = R"("/var/lib/walferry/claims")",
     .help = "Where `claim-check` writes the values that were too large; it must exist.",
     .allowed = "an absolute path",
     .fallback = "none; `claim-check` needs one",
     .check = check_optional_absolute_path,
     .member = [](Task& t, Table&) -> Member { return &t.sink.claim_check_directory; }},

    {.path = "sink.canal.database",
     .example = R"("database")",
     .help = "What the member `database` holds: the schema's name or the database's.",
     .allowed = "schema|database",
     .member = [](Task& t, Table&) -> Member { return choice(t.sink.canal.database); }},
    {.path = "sink.canal.boolean",
     .example = R"("1")",
     .help = "Booleans as `true` and `false`, `t` and `f`, or `1` and `0`.",
     .allowed = "true|t|1",
     .member = [](Task& t, Table&) -> Member { return choice(t.sink.canal.boolean); }},
    {.path = "sink.canal.bytea",
     .example = R"("hex")",
     .help = "Binary values as base64, as PostgreSQL's `\\x` hex, or one character per byte.",
     .allowed = "base64|hex|latin1",
     .member = [](Task& t, Table&) -> Member { return choice(t.sink.canal.bytea); }},
    {.path = "sink.canal.timestamp",
     .example = R"("iso")",
     .help = "Between date and time stands a space (`sql`) or a `T` (`iso`).",
     .allowed = "sql|iso",
     .member = [](Task& t, Table&) -> Member { return choice(t.sink.canal.timestamp); }},
    {.path = "sink.canal.timestamptz",
     .example = R"("offset")",
     .help = "Times with time zone are in UTC and end in `Z` or in `+00`.",
     .allowed = "z|offset",
     .member = [](Task& t, Table&) -> Member { return choice(t.sink.canal.timestamptz); }},
    {.path = "sink.canal.truncate",
     .example = R"("skip")",
     .help = "TRUNCATE as type `TRUNCATE` (`canal`), as type `DDL` (`dts`), or not at all (`skip`).",
     .allowed = "canal|dts|skip",
     .member = [](Task& t, Table&) -> Member { return choice(t.sink.canal.truncate); }},
    {.path = "sink.canal.type_parameters",
     .example = "true",
     .help = "Whether `mysqlType` has the type's parameters: `numeric(10,2)` rather than `numeric`.",
     .member = [](Task& t, Table&) -> Member { return &t.sink.canal.type_parameters; }},

    {.path = "sink.kafka",
     .example = R"({ "compression.type" = "lz4" })",
     .help = "Any producer property of librdkafka, passed on as it is.",
     .allowed = "see below",
     .fallback = "librdkafka's own, `acks` being `all`",
     .member = [](Task& t, Table&) -> Member { return &t.sink.kafka; }},

    {.path = "retry.connection_window",
     .example = R"("720min")",
     .help = "How long a connection error is retried before the process gives up.",
     .max = 365 * kDay,
     .member = [](Task& t, Table&) -> Member { return &t.retry.connection_window; }},
    {.path = "retry.other_window",
     .example = R"("10min")",
     .help = "The same for errors that are not about the connection.",
     .max = 365 * kDay,
     .member = [](Task& t, Table&) -> Member { return &t.retry.other_window; }},
    {.path = "retry.initial_delay",
     .example = R"("100ms")",
     .help = "The pause before the first retry; it doubles each time, with jitter.",
     .min = 1,
     .max = 3'600'000,
     .member = [](Task& t, Table&) -> Member { return &t.retry.initial_delay; }},
    {.path = "retry.max_delay",
     .example = R"("30s")",
     .help = "The longest pause between retries; not shorter than the first.",
     .min = 1,
     .max = 3'600'000,
     .member = [](Task& t, Table&) -> Member { return &t.retry.max_delay; }},

    {.path = "spool.directory",
     .example = R"("/var/lib/walferry")",
     .help = "Where the spool makes a folder for itself. It holds transactions that are not committed yet, "
             "and nothing that is "
             "needed after a crash.",
     .fallback = "a folder of the user below `/var/tmp`",
     .member = [](Task& t, Table&) -> Member { return &t.spool.directory; }},
    {.path = "spool.size",
     .example = R"("20GB")",
     .help = "The most bytes that the spool takes. When it is full, large transactions come after their "
             "commit again.",
     .min = 16 << 20,
     .max = 1LL << 50,
     .member = [](Task& t, Table&) -> Member { return &t.spool.size; }},

    {.path = "spool.outage",
     .example = "true",
     .help = "Whether changes go to a log on disk while Kafka is away, so that the server need not keep its "
             "own log for them (docs/delivery.md). Needs `spool.directory`, on a disk that outlives the "
             "process.",
     .member = [](Task& t, Table&) -> Member { return &t.spool.outage; }},
    {.path = "spool.outage_after",
     .example = R"("1min")",
     .help = "How long Kafka acknowledges nothing, or takes nothing, until that begins.",
     .min = 1'000,
     .max = 3'600'000,
     .member = [](Task& t, Table&) -> Member { return &t.spool.outage_after; }},
    {.path = "spool.outage_lag",
     .example = R"("10min")",
     .help =
         "How old a commit may be when Kafka gets it, while Kafka takes less than the server sends, until "
         "that begins too. 0: a slow Kafka is waited for, and the server keeps its log meanwhile.",
     .min = 0,
     .max = 604'800'000,
     .member = [](Task& t, Table&) -> Member { return &t.spool.outage_lag; }},
    {.path = "spool.outage_size",
     .example = R"("200GB")",
     .help = "How large that log may become. When it is full, the server keeps what comes.",
     .min = 64 << 20,
     .max = 1LL << 50,
     .member = [](Task& t, Table&) -> Member { return &t.spool.outage_size; }},
    {.path = "log.level",
     .example = R"("debug")",
     .help = "The least severe messages that are logged.",
     .allowed = "debug|info|warning|error",
     .member = [](Task& t, Table&) -> Member { return choice(t.log.level); }},
    {.path = "log.format",
     .example = R"("json")",
     .help = "`auto` is text on a terminal and JSON lines elsewhere.",
     .allowed = "auto|text|json",
     .member = [](Task& t, Table&) -> Member { return choice(t.log.format); }},

    {.path = "shutdown.timeout",
     .example = R"("30s")",
     .help = "How long SIGTERM waits for Kafka to acknowledge what was sent.",
     .max = 3'600'000,
     .member = [](Task& t, Table&) -> Member { return &t.shutdown.timeout; }},

    {.path = "table.match",
     .example = R"("public.orders")",
     .help = "The tables that this entry is about.",
     .allowed = kPatternRule,
     .required = true,
     .check = check_positive_pattern,
     .member = [](Task&, Table& table) -> Member { return &table.match; }},
    {.path = "table.topic",
     .example = R"("orders")",
     .help = "In place of `sink.topic`.",
     .allowed = kTopicRule,
     .fallback = "`sink.topic`",
     .check = check_topic_template,
     .member = [](Task&, Table& table) -> Member { return &table.topic; }},
    {.path = "table.key",
     .example = R"(["customer_id"])",
     .help = "The columns of the message key.",
     .fallback = "the replica identity's",
     .check = check_not_empty,
     .member = [](Task&, Table& table) -> Member { return &table.key; }},
    {.path = "table.operations",
     .example = R"(["insert", "update"])",
     .help = "In place of `source.operations`; it can only take away from them.",
     .allowed = "insert|update|delete|truncate",
     .fallback = "`source.operations`",
     .member = [](Task&, Table& table) -> Member { return &table.operations; }},
    {.path = "table.key_change",
     .example = R"("delete-insert")",
     .help = "In place of `sink.key_change`.",
     .allowed = "update|delete-insert",
     .fallback = "`sink.key_change`",
     .member = [](Task&, Table& table) -> Member { return choice(table.key_change); }},
    {.path = "table.oversize",
     .example = R"("split")",
     .help = "In place of `sink.oversize`.",
     .allowed = "stop|dead-letter|split|claim-check|key-only",
     .fallback = "`sink.oversize`",
     .member = [](Task&, Table& table) -> Member { return choice(table.oversize); }},
    {.path = "table.unrenderable",
     .example = R"("key-only")",
     .help = "In place of `sink.unrenderable`.",
     .allowed = "stop|dead-letter|key-only",
     .fallback = "`sink.unrenderable`",
     .member = [](Task&, Table& table) -> Member { return choice(table.unrenderable); }},
    {.path = "table.max_message_size",
     .example = R"("5MB")",
     .help = "In place of `sink.max_message_size`.",
     .fallback = "`sink.max_message_size`",
     .max = 900 << 20,
     .member = [](Task&, Table& table) -> Member { return &table.max_message_size; }},
};

std::string toml_text(std::string_view text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string format_list(const std::vector<std::string>& list) {
    std::string text = "[";
    for (const std::string& item : list) text += (text.size() > 1 ? ", " : "") + toml_text(item);
    return text + "]";
}

std::string format_operations(const Operations& operations) {
    std::vector<std::string> names;
    if (operations.insert) names.emplace_back("insert");
    if (operations.update) names.emplace_back("update");
    if (operations.remove) names.emplace_back("delete");
    if (operations.truncate) names.emplace_back("truncate");
    return format_list(names);
}

struct Formatter {
    const Setting& setting;

    std::string operator()(const std::string* text) const {
        return toml_text(setting.secret ? mask_dsn(*text) : *text);
    }
    std::string operator()(const std::vector<std::string>* list) const { return format_list(*list); }
    std::string operator()(const bool* flag) const { return *flag ? "true" : "false"; }
    std::string operator()(const int* number) const { return fmt::format("{}", *number); }
    std::string operator()(const Bytes* bytes) const { return toml_text(format_bytes(bytes->value)); }
    std::string operator()(const std::chrono::milliseconds* duration) const {
        return toml_text(format_duration(*duration));
    }
    std::string operator()(const Choice& member) const {
        return toml_text(split(setting.allowed, '|')[member.get(member.where)]);
    }
    std::string operator()(const Operations* operations) const { return format_operations(*operations); }
    std::string operator()(const std::optional<Operations>* operations) const {
        return *operations ? format_operations(**operations) : "";
    }
    std::string operator()(const ByPrefix* messages) const {
        if (!messages->prefixes.empty()) return format_list(messages->prefixes);
        return messages->all ? "true" : "false";
    }
    std::string operator()(const std::map<std::string, std::string>* properties) const {
        std::string text = "{";
        for (const auto& [name, value] : *properties) {
            text += text.size() > 1 ? ", " : " ";
            text += toml_text(name) + " = " + (is_secret_kafka_property(name) ? "\"***\"" : toml_text(value));
        }
        return text + " }";
    }
};

struct TypeName {
    std::string_view operator()(const std::string*) const { return "text"; }
    std::string_view operator()(const std::vector<std::string>*) const { return "list of texts"; }
    std::string_view operator()(const bool*) const { return "boolean"; }
    std::string_view operator()(const int*) const { return "number"; }
    std::string_view operator()(const Bytes*) const { return "size"; }
    std::string_view operator()(const std::chrono::milliseconds*) const { return "duration"; }
    std::string_view operator()(const Choice&) const { return "choice"; }
    std::string_view operator()(const Operations*) const { return "list of choices"; }
    std::string_view operator()(const std::optional<Operations>*) const { return "list of choices"; }
    std::string_view operator()(const ByPrefix*) const { return "boolean or list of texts"; }
    std::string_view operator()(const std::map<std::string, std::string>*) const { return "table"; }
};

}  // namespace

std::span<const Setting> settings() {
    return kSettings;
}

const Setting* find_setting(std::string_view path) {
    for (const Setting& setting : kSettings) {
        if (setting.path == path) return &setting;
    }
    return nullptr;
}

bool is_section(std::string_view path) {
    for (const Setting& setting : kSettings) {
        if (setting.path.size() > path.size() && setting.path.starts_with(path) &&
            setting.path[path.size()] == '.')
            return true;
    }
    return false;
}

std::string_view type_name(const Setting& setting) {
    Task task;
    Table table;
    return std::visit(TypeName{}, setting.member(task, table));
}

std::string range_text(const Setting& setting) {
    Task task;
    Table table;
    const Member member = setting.member(task, table);
    if (std::holds_alternative<int*>(member)) return fmt::format("{} to {}", setting.min, setting.max);
    if (std::holds_alternative<Bytes*>(member)) {
        return fmt::format("{} to {}", format_bytes(static_cast<uint64_t>(setting.min)),
                           format_bytes(static_cast<uint64_t>(setting.max)));
    }
    if (std::holds_alternative<std::chrono::milliseconds*>(member)) {
        return fmt::format("{} to {}", format_duration(std::chrono::milliseconds(setting.min)),
                           format_duration(std::chrono::milliseconds(setting.max)));
    }
    if (std::holds_alternative<Choice>(member) || std::holds_alternative<Operations*>(member) ||
        std::holds_alternative<std::optional<Operations>*>(member)) {
        std::string text;
        for (const std::string_view name : split(setting.allowed, '|'))
            text += fmt::format("{}`{}`", text.empty() ? "" : ", ", name);
        return text;
    }
    return std::string(setting.allowed);
}

std::string format_value(const Setting& setting, TaskConfig& task, TableConfig& table) {
    return std::visit(Formatter{setting}, setting.member(task, table));
}

std::string default_text(const Setting& setting) {
    if (setting.required) return "required";
    if (!setting.fallback.empty()) return std::string(setting.fallback);
    Task task;
    Table table;
    return format_value(setting, task, table);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    while (!text.empty()) {
        const size_t end = text.find(separator);
        parts.push_back(text.substr(0, end));
        if (end == text.npos) break;
        text.remove_prefix(end + 1);
    }
    return parts;
}

}  // namespace walferry
