// What a task file says, after every default and check: plain values that the other folders read. Each
// member's initializer is the default; config/settings.cpp names the key, range and help of each.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace walferry {

struct Operations {
    bool insert = true;
    bool update = true;
    bool remove = true;  // "delete" in the file
    bool truncate = true;

    friend bool operator==(const Operations&, const Operations&) = default;
};

// None, all, or those that the list chooses: logical messages (pg_logical_emit_message) by their prefix,
// prepared transactions by the beginning of their name.
struct ByPrefix {
    bool all = false;
    std::vector<std::string> prefixes;

    friend bool operator==(const ByPrefix&, const ByPrefix&) = default;
};

// A number of bytes; its own type, so that the settings table knows its unit.
struct Bytes {
    uint64_t value = 0;
};

enum class Origin { any, none };  // `none`: only changes that did not come by replication from elsewhere

// What a shipper does whose slot another one reads: wait to take over, or stop.
enum class SecondShipper { wait, exit };

struct SourceConfig {
    std::string dsn;
    std::vector<std::string> tables;  // patterns, see common/match/pattern.h; empty: every user table
    Operations operations;
    bool publish_via_root = false;
    Origin origin = Origin::any;
    ByPrefix messages;
    bool streaming = true;
    ByPrefix two_phase;
    std::string slot;  // filled from the task's name where the file says nothing
    bool create_slot = true;
    bool failover = false;
    int status_interval_ms = 500;
    std::chrono::milliseconds silence_timeout = std::chrono::minutes(1);
    SecondShipper second_shipper = SecondShipper::wait;
    std::chrono::milliseconds takeover_timeout = std::chrono::seconds(4);
};

enum class SinkFormat { canal_json };
enum class PartitionBy { none, table, key };
enum class PartitionHash { murmur2, java };
enum class KeyChanges { update, delete_insert };  // how an UPDATE of the message key is told
enum class DeliveryMode { at_least_once, exactly_once };
enum class Headers { position, none };

// What is sent in place of a message that is larger than its topic takes.
enum class Oversize { stop, dead_letter, split, claim_check, key_only };
// The same of a row that cannot be rendered, or that the plugin could not send whole.
enum class Unrenderable { stop, dead_letter, key_only };

enum class CanalDatabase { schema, database };       // what the member "database" holds
enum class CanalBoolean { words, letters, digits };  // true/false, t/f, 1/0
enum class CanalBytea { base64, hex, latin1 };
enum class CanalTimestamp { sql, iso };         // a space or a T between date and time
enum class CanalTimestampTz { z, offset };      // 03:04:05Z or 03:04:05+00
enum class CanalTruncate { canal, dts, skip };  // type TRUNCATE, type DDL, no message

struct CanalConfig {
    CanalDatabase database = CanalDatabase::schema;
    CanalBoolean boolean = CanalBoolean::words;
    CanalBytea bytea = CanalBytea::base64;
    CanalTimestamp timestamp = CanalTimestamp::sql;
    CanalTimestampTz timestamptz = CanalTimestampTz::z;
    CanalTruncate truncate = CanalTruncate::canal;
    bool type_parameters = false;  // numeric(10,2) rather than numeric
};

struct SinkConfig {
    std::string brokers;
    SinkFormat format = SinkFormat::canal_json;
    std::string topic = "{schema}.{table}";
    std::string ddl_topic;  // template; empty: the topic of the table's rows
    std::string message_topic = "{name}.messages";
    PartitionBy partition_by = PartitionBy::key;
    PartitionHash partition_hash = PartitionHash::murmur2;
    KeyChanges key_change = KeyChanges::update;
    DeliveryMode delivery = DeliveryMode::at_least_once;
    std::string progress_topic = "walferry.progress.{name}";  // template
    // Of exactly-once: when a Kafka transaction ends, at the next end of a transaction of the source.
    std::chrono::milliseconds commit_interval = std::chrono::milliseconds(50);
    Bytes commit_bytes{uint64_t(256) << 20};
    int commit_rows = 500'000;
    bool create_topics = true;
    int topic_partitions = 1;
    int topic_replication = 1;  // -1: the broker's default
    // Enough for 1 MB in flight on several partitions. More would only fall out of the processor's caches,
    // and let librdkafka poll in vain while a full batch waits for the one before.
    Bytes queue_bytes{8 << 20};
    Headers headers = Headers::position;
    Oversize oversize = Oversize::stop;
    Unrenderable unrenderable = Unrenderable::stop;
    Bytes max_message_size;  // 0: asked of each topic
    std::string dead_letter_topic = "{name}.dead-letters";
    std::string claim_check_directory;
    CanalConfig canal;
    std::map<std::string, std::string> kafka;  // librdkafka properties, as text
    bool idempotent = true;                    // derived: false where kafka["acks"] is not "all"
};

struct SpoolConfig {
    std::string directory;  // empty: one for this user below /var/tmp
    Bytes size{uint64_t(4) << 30};
    // Takes what comes while Kafka is away.
    bool outage = false;
    std::chrono::milliseconds outage_after = std::chrono::seconds(10);
    std::chrono::milliseconds outage_lag{0};  // 0: a Kafka that takes something is not away
    Bytes outage_size{uint64_t(20) << 30};
};

struct RetryConfig {
    std::chrono::milliseconds connection_window = std::chrono::minutes(720);
    std::chrono::milliseconds other_window = std::chrono::minutes(10);
    std::chrono::milliseconds initial_delay = std::chrono::milliseconds(100);
    std::chrono::milliseconds max_delay = std::chrono::seconds(30);
};

enum class LogLevel { debug, info, warning, error };
enum class LogFormat { automatic, text, json };  // automatic: text on a terminal, JSON lines elsewhere

struct LogConfig {
    LogLevel level = LogLevel::info;
    LogFormat format = LogFormat::automatic;
};

struct ShutdownConfig {
    std::chrono::milliseconds timeout = std::chrono::seconds(30);
};

// What differs for the tables that a pattern matches. Where several entries match, the last one that sets a
// key decides about that key.
struct TableConfig {
    std::string match;
    std::string topic;             // template; empty: not set
    std::vector<std::string> key;  // columns; empty: not set
    std::optional<Operations> operations;
    std::optional<KeyChanges> key_change;
    std::optional<Oversize> oversize;
    std::optional<Unrenderable> unrenderable;
    Bytes max_message_size;  // 0: not set
};

// Where a value came from; a key without an entry has its default.
struct SettingOrigin {
    unsigned line = 0;
    std::vector<std::string> variables;  // environment variables that were replaced in it
};

struct TaskConfig {
    std::string name;
    SourceConfig source;
    SinkConfig sink;
    SpoolConfig spool;
    RetryConfig retry;
    LogConfig log;
    ShutdownConfig shutdown;
    std::vector<TableConfig> tables;

    std::string file;                              // as given by the user
    std::map<std::string, SettingOrigin> origins;  // by path: "sink.kafka.linger.ms", "table[0].match"
    std::vector<std::string> warnings;             // allowed, yet worth a line in the log
};

}  // namespace walferry
