// What a valid task file becomes.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "config/load.h"
#include "error/error.h"

namespace walferry {
namespace {

using namespace std::chrono_literals;

const std::string kSmallest = R"(
name = "shop"
[source]
dsn = "dbname=shop"
[sink]
brokers = "127.0.0.1:9092"
)";

TaskConfig parse(const std::string& text) {
    return parse_task(text, "task.toml");
}

TEST(ConfigParse, TheSmallestFileHasEveryDefault) {
    const TaskConfig task = parse(kSmallest);
    EXPECT_EQ(task.name, "shop");
    EXPECT_EQ(task.source.dsn, "dbname=shop");
    EXPECT_TRUE(task.source.tables.empty());
    EXPECT_EQ(task.source.operations, Operations());
    EXPECT_EQ(task.source.messages, ByPrefix());
    EXPECT_EQ(task.source.slot, "shop");
    EXPECT_TRUE(task.source.create_slot);
    EXPECT_EQ(task.source.status_interval_ms, 500);
    EXPECT_EQ(task.source.silence_timeout, 1min);
    EXPECT_EQ(task.sink.topic, "{schema}.{table}");
    EXPECT_EQ(task.sink.queue_bytes.value, 8U << 20);
    EXPECT_TRUE(task.sink.idempotent);
    EXPECT_TRUE(task.source.streaming);
    EXPECT_EQ(task.source.two_phase, ByPrefix());
    EXPECT_EQ(task.spool.directory, "");
    EXPECT_EQ(task.spool.size.value, uint64_t(4) << 30);
    EXPECT_EQ(task.retry.connection_window, 720min);
    EXPECT_EQ(task.shutdown.timeout, 30s);
    EXPECT_TRUE(task.tables.empty());
    EXPECT_TRUE(task.warnings.empty());
}

TEST(ConfigParse, EveryKeyArrives) {
    const TaskConfig task = parse(R"(
name = "Shop-EU.1"
[source]
dsn = "postgresql://walferry@db/shop"
tables = ["public.*", "!public.scratch_*"]
operations = ["insert", "delete"]
publish_via_root = true
origin = "none"
messages = ["audit", "outbox"]
create_slot = false
failover = true
status_interval_ms = 1000
[sink]
brokers = "a:9092,b,[::1]:9093"
format = "canal-json"
topic = "cdc.{db}.{schema}.{table}"
ddl_topic = "{name}.ddl"
partition_by = "table"
partition_hash = "java"
delivery = "at-least-once"
create_topics = false
topic_partitions = 6
topic_replication = -1
queue_bytes = "1GB"
headers = "none"
[sink.canal]
database = "database"
boolean = "1"
bytea = "latin1"
timestamp = "iso"
timestamptz = "offset"
truncate = "skip"
type_parameters = true
[retry]
connection_window = "2h"
other_window = "0s"
initial_delay = "1s"
max_delay = "1min"
[log]
level = "debug"
format = "json"
[shutdown]
timeout = "500ms"
[[table]]
match = "public.orders"
topic = "orders"
key = ["customer_id", "id"]
operations = ["insert"]
[[table]]
match = "*.audit"
)");
    EXPECT_EQ(task.source.slot, "shop_eu_1");
    EXPECT_EQ(task.source.tables, (std::vector<std::string>{"public.*", "!public.scratch_*"}));
    EXPECT_EQ(task.source.operations, (Operations{true, false, true, false}));
    EXPECT_TRUE(task.source.publish_via_root);
    EXPECT_EQ(task.source.origin, Origin::none);
    EXPECT_EQ(task.source.messages.prefixes, (std::vector<std::string>{"audit", "outbox"}));
    EXPECT_FALSE(task.source.create_slot);
    EXPECT_TRUE(task.source.failover);
    EXPECT_EQ(task.source.status_interval_ms, 1000);
    EXPECT_EQ(task.sink.brokers, "a:9092,b,[::1]:9093");
    EXPECT_EQ(task.sink.ddl_topic, "{name}.ddl");
    EXPECT_EQ(task.sink.partition_by, PartitionBy::table);
    EXPECT_EQ(task.sink.partition_hash, PartitionHash::java);
    EXPECT_FALSE(task.sink.create_topics);
    EXPECT_EQ(task.sink.topic_partitions, 6);
    EXPECT_EQ(task.sink.topic_replication, -1);
    EXPECT_EQ(task.sink.queue_bytes.value, 1U << 30);
    EXPECT_EQ(task.sink.headers, Headers::none);
    EXPECT_EQ(task.sink.canal.database, CanalDatabase::database);
    EXPECT_EQ(task.sink.canal.boolean, CanalBoolean::digits);
    EXPECT_EQ(task.sink.canal.bytea, CanalBytea::latin1);
    EXPECT_EQ(task.sink.canal.timestamp, CanalTimestamp::iso);
    EXPECT_EQ(task.sink.canal.timestamptz, CanalTimestampTz::offset);
    EXPECT_EQ(task.sink.canal.truncate, CanalTruncate::skip);
    EXPECT_TRUE(task.sink.canal.type_parameters);
    EXPECT_EQ(task.retry.connection_window, 2h);
    EXPECT_EQ(task.retry.other_window, 0s);
    EXPECT_EQ(task.retry.initial_delay, 1s);
    EXPECT_EQ(task.retry.max_delay, 1min);
    EXPECT_EQ(task.log.level, LogLevel::debug);
    EXPECT_EQ(task.log.format, LogFormat::json);
    EXPECT_EQ(task.shutdown.timeout, 500ms);
    ASSERT_EQ(task.tables.size(), 2U);
    EXPECT_EQ(task.tables[0].match, "public.orders");
    EXPECT_EQ(task.tables[0].topic, "orders");
    EXPECT_EQ(task.tables[0].key, (std::vector<std::string>{"customer_id", "id"}));
    EXPECT_EQ(task.tables[0].operations, (Operations{true, false, false, false}));
    EXPECT_EQ(task.tables[1].match, "*.audit");
    EXPECT_FALSE(task.tables[1].operations.has_value());
    EXPECT_EQ(task.origins.at("table[0].key").line, 47U);
}

TEST(ConfigParse, KafkaPropertiesBecomeTextWithOrWithoutQuotes) {
    const TaskConfig task = parse(kSmallest + R"([sink.kafka]
"compression.type" = "lz4"
linger.ms = 5
socket.keepalive.enable = true
"batch.size" = 65536
queue.buffering.backpressure.threshold = -1
)");
    EXPECT_EQ(task.sink.kafka,
              (std::map<std::string, std::string>{{"compression.type", "lz4"},
                                                  {"linger.ms", "5"},
                                                  {"socket.keepalive.enable", "true"},
                                                  {"batch.size", "65536"},
                                                  {"queue.buffering.backpressure.threshold", "-1"}}));
    EXPECT_EQ(task.origins.at("sink.kafka.linger.ms").line, 9U);
}

TEST(ConfigParse, WeakerAcksTurnIdempotenceOffWithAWarning) {
    const TaskConfig strong = parse(kSmallest + "kafka.acks = -1\n");
    EXPECT_TRUE(strong.sink.idempotent);
    EXPECT_EQ(strong.sink.kafka.at("acks"), "all");
    const TaskConfig weak = parse(kSmallest + "kafka.acks = 1\n");
    EXPECT_FALSE(weak.sink.idempotent);
    ASSERT_EQ(weak.warnings.size(), 1U);
    EXPECT_NE(weak.warnings[0].find("task.toml:7"), std::string::npos) << weak.warnings[0];
}

TEST(ConfigParse, TheEnvironmentFillsTexts) {
    ::setenv("WALFERRY_TEST_PASSWORD", "s3cret", 1);
    ::setenv("WALFERRY_TEST_TOPIC", "orders", 1);
    const TaskConfig task = parse(R"(
name = "shop"
[source]
dsn = "dbname=shop password=${WALFERRY_TEST_PASSWORD} options=$${x} $y"
[sink]
brokers = "127.0.0.1:9092"
topic = "cdc.${WALFERRY_TEST_TOPIC}.{table}"
)");
    EXPECT_EQ(task.source.dsn, "dbname=shop password=s3cret options=${x} $y");
    EXPECT_EQ(task.sink.topic, "cdc.orders.{table}");
    EXPECT_EQ(task.origins.at("source.dsn").variables, (std::vector<std::string>{"WALFERRY_TEST_PASSWORD"}));
}

TEST(ConfigParse, MessagesMayBeABoolean) {
    EXPECT_TRUE(parse(R"(name = "a"
source = { dsn = "x", messages = true }
sink.brokers = "b")")
                    .source.messages.all);
}

TEST(ConfigParse, TransactionsInProgressHaveTheirSettings) {
    const TaskConfig task = parse(R"(name = "a"
source = { dsn = "x", streaming = false, two_phase = ["app-"] }
sink.brokers = "b"
[spool]
directory = "/srv/spool"
size = "20GB")");
    EXPECT_FALSE(task.source.streaming);
    EXPECT_EQ(task.source.two_phase.prefixes, (std::vector<std::string>{"app-"}));
    EXPECT_EQ(task.spool.directory, "/srv/spool");
    EXPECT_EQ(task.spool.size.value, uint64_t(20) << 30);
}

TEST(PluginOptions, LeaveOutDefaults) {
    EXPECT_EQ(plugin_options_json(SourceConfig()), R"({"version":1,"streaming":true})");
    SourceConfig source;
    source.streaming = false;
    source.messages.all = true;
    source.two_phase.all = true;
    EXPECT_EQ(plugin_options_json(source), R"({"version":1,"messages":true,"two_phase":true})");
}

TEST(PluginOptions, HoldWhatWasSet) {
    SourceConfig source;
    source.tables = {"public.*", R"(!public."my ""table""")"};
    source.operations = Operations{true, true, false, false};
    source.publish_via_root = true;
    source.origin = Origin::none;
    source.messages.prefixes = {"audit"};
    source.two_phase.prefixes = {"app-", "web-"};
    EXPECT_EQ(
        plugin_options_json(source),
        R"({"version":1,"tables":["public.*","!public.\"my \"\"table\"\"\""],"operations":["insert","update"],)"
        R"("publish_via_root":true,"origin":"none","messages":["audit"],"streaming":true,"two_phase":["app-","web-"]})");
}

}  // namespace
}  // namespace walferry
