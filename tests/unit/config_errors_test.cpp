// Every wrong task file is told by code, file, line, and what to do.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "config/load.h"
#include "error/error.h"

namespace walferry {
namespace {

Error error_of(const std::string& text) {
    try {
        parse_task(text, "task.toml");
    } catch (const Error& error) {
        return error;
    }
    ADD_FAILURE() << "accepted:\n" << text;
    return Error(ErrorCode::usage, "", "", "");
}

// Lines 1 to 5; a case adds its own line 6 in the section [sink].
const std::string kHead =
    "name = \"shop\"\n"
    "[source]\n"
    "dsn = \"dbname=shop password=hush\"\n"
    "[sink]\n"
    "brokers = \"127.0.0.1:9092\"\n";

struct Case {
    std::string text;
    ErrorCode code;
    std::string happened;  // a part of what happened
    std::string remedy;    // a part of why or remedy
};

void expect(const Case& c, const std::string& head, const std::string& place) {
    const Error error = error_of(head + c.text);
    EXPECT_EQ(error.code(), c.code) << c.text << "\n" << error.what();
    EXPECT_EQ(error.happened().rfind(place, 0), 0U) << c.text << "\n" << error.what();
    EXPECT_NE(error.happened().find(c.happened), std::string::npos) << c.text << "\n" << error.what();
    EXPECT_NE((error.why() + "\n" + error.remedy()).find(c.remedy), std::string::npos) << c.text << "\n"
                                                                                       << error.what();
    EXPECT_FALSE(error.remedy().empty()) << error.what();
    EXPECT_EQ(std::string(error.what()).find("hush"), std::string::npos) << error.what();
}

TEST(ConfigErrors, OfOneLineNameTheLineAndTheRemedy) {
    using enum ErrorCode;
    const Case cases[] = {
        {"topics = \"x\"", config_unknown_key, "sink.topics", "Did you mean sink.topic?"},
        {"borkers = \"x\"", config_unknown_key, "sink.borkers", "Did you mean sink.brokers?"},
        {"tables = [\"public.*\"]", config_unknown_key, "sink.tables", "Did you mean source.tables?"},
        {"zzzzzzzzz = 1", config_unknown_key, "sink.zzzzzzzzz", "brokers, format, topic"},
        {"\"canal.bytea\" = \"hex\"", config_unknown_key, "sink.canal.bytea", "Known in sink"},
        {"[snik]", config_unknown_key, "snik", "Did you mean sink?"},
        {"[metrics]", config_unknown_key, "metrics", "Known at the top: name, source, sink"},
        {"topic = 5", config_type, "sink.topic is a whole number", "topic = \"cdc.{schema}.{table}\""},
        {"create_topics = \"yes\"", config_type, "is a text", "true or false"},
        {"topic_partitions = \"6\"", config_type, "is a text", "topic_partitions = 6"},
        {"topic_partitions = 1.5", config_type, "is a fraction", "whole number"},
        {"queue_bytes = true", config_type, "is a boolean", "queue_bytes = \"64MB\""},
        {"canal = 3", config_type, "sink.canal is a whole number", "[sink.canal]"},
        {"kafka = 3", config_type, "sink.kafka is a whole number", "compression.type"},
        {"kafka.x = [1]", config_type, "sink.kafka.x is a list", "a text, a number or a boolean"},
        {"[table]", config_type, "table is a table", "[[table]]"},
        {"[retry]\nmax_delay = 30", config_type, "retry.max_delay is a whole number", "with its unit"},
        {"[retry]\nmax_delay = 2026-01-01", config_type, "a date or time", "duration"},
        {"topic_partitions = 0", config_value, "= 0 is out of range", "1 to 100000"},
        {"topic_partitions = 9223372036854775807", config_value, "out of range", "1 to 100000"},
        {"queue_bytes = \"64\"", config_value, "\"64\" is not a size", "B, kB, MB, GB, TB"},
        {"queue_bytes = \"1kB\"", config_value, "out of range", "1MB to 2GB"},
        {"queue_bytes = \"99999999999TB\"", config_value, "not a size", "64MB"},
        {"queue_bytes = -1", config_value, "out of range", "1MB to 2GB"},
        {"format = \"dts-avro\"", config_value, "dts-avro", "does not have it yet; use canal-json"},
        {"format = \"canal_json\"", config_value, "canal_json", "Did you mean format = \"canal-json\"?"},
        {"format = \"xml\"", config_value, "\"xml\"", "`canal-json`"},
        {"delivery = \"exactly_once\"", config_value, "exactly_once",
         "Did you mean delivery = \"exactly-once\"?"},
        {"progress_topic = \"{table}.p\"", config_value, "the progress is that of the whole task", "{name}"},
        {"partition_by = \"row\"", config_value, "row", "`none`, `table`, `key`"},
        {"topic = \"\"", config_value, "is empty", "{schema}"},
        {"topic = \"{shema}\"", config_value, "placeholder {shema}", "{schema}"},
        {"topic = \"{schema\"", config_value, "'{' without its '}'", "{schema}"},
        {"topic = \"a}\"", config_value, "'}' without its '{'", "{schema}"},
        {"topic = \"a b\"", config_value, "does not allow in a topic", "letters, digits"},
        {"topic = \"..\"", config_value, "keeps for itself", "letters"},
        {"ddl_topic = \"ü\"", config_value, "does not allow in a topic", "letters"},
        {"kafka.\"bootstrap.servers\" = \"x\"", config_value, "cannot be set here", "use sink.brokers"},
        {"kafka.message.timeout.ms = 5", config_value, "cannot be set here", "retry.connection_window"},
        {"kafka.\"transactional.id\" = \"x\"", config_value, "cannot be set here", "sink.delivery"},
        {"kafka.enable.idempotence = false", config_value, "cannot be set here", "follows acks"},
        {"kafka.dr_msg_cb = \"x\"", config_value, "cannot be set here", "pointer"},
        {"kafka.acks = 0", config_value, "\"0\" is not allowed", "no position could be confirmed"},
        {"kafka.acks = 2", config_value, "\"2\" is not allowed", "all (the same as -1) and 1"},
        {"kafka = { linger.ms = 1, \"linger.ms\" = 2 }", config_value, "set twice", "one of the lines"},
        {"kafka.\"a b\" = 1", config_value, "not a property's name", "no spaces"},
        {"[log]\nlevel = \"loud\"", config_value, "loud", "`debug`, `info`, `warning`, `error`"},
        {"[retry]\nmax_delay = \"30\"", config_value, "not a duration", "ms, s, min, h, d"},
        {"[retry]\nmax_delay = \"-1s\"", config_value, "not a duration", "ms, s, min, h, d"},
        {"[retry]\ninitial_delay = \"40s\"", config_value, "longer than retry.max_delay (30s)", "Raise"},
        {"[[table]]\ntopic = \"x\"", config_missing, "table[0].match is missing",
         "match = \"public.orders\""},
        {"[[table]]\nmatch = \"!a.b\"", config_value, "starts with '!'", "schema.table"},
        {"[[table]]\nkey = []", config_value, "is empty", "Leave the key out"},
        {"[[table]]\nkey = [1]", config_type, "a whole number", "a list of texts"},
        {"[[table]]\nmach = \"a.b\"", config_unknown_key, "table[0].mach", "Did you mean table.match?"},
        {"topic = \"${WALFERRY_TEST_UNSET}\"", config_environment, "WALFERRY_TEST_UNSET, which is not set",
         "export"},
        {"topic = \"${}\"", config_value, "no name", "$${"},
        {"topic = \"${A\"", config_value, "no name", "$${"},
        {"topic = unquoted", config_syntax, "not valid TOML", "quotes"},
        {"brokers = \"b\"", config_syntax, "not valid TOML", "once per section"},
        // Two that are undefined behaviour in toml++ as it comes.
        {"\xEF\xBB\xBB", config_syntax, "not valid TOML", "quotes"},
        {"[ { x = 1\n\n", config_syntax, "not valid TOML", "does not start as one"},
        {"topic = \"open", config_syntax, "not valid TOML", "quotes"},
    };
    ::unsetenv("WALFERRY_TEST_UNSET");
    for (const Case& c : cases) {
        const bool two_lines = c.text.find('\n') != std::string::npos &&
                               c.code != ErrorCode::config_missing && c.code != ErrorCode::config_syntax;
        expect(c, kHead, two_lines ? "task.toml:7: " : "task.toml:6: ");
    }
}

TEST(ConfigErrors, KeyWithAColumnTwice) {
    const Case twice{"key = [\"x\", \"y\", \"x\"]", ErrorCode::config_value, "table[0].key has \"x\" twice",
                     "once"};
    expect(twice, kHead + "[[table]]\nmatch = \"a.b\"\n", "task.toml:8: ");
}

TEST(ConfigErrors, OfTheSourceNameTheLineAndTheRemedy) {
    using enum ErrorCode;
    const std::string head =
        "name = \"shop\"\n"
        "sink.brokers = \"127.0.0.1:9092\"\n"
        "[source]\n"
        "dsn = \"dbname=shop password=hush\"\n";
    const Case cases[] = {
        {"tables = \"public.*\"", config_type, "source.tables is a text", "a list of texts"},
        {"tables = []", config_value, "is empty", "Leave the key out"},
        {"tables = [\"orders\"]", config_value, "\"orders\" is no pattern of tables: a dot", "schema.table"},
        {"tables = [\"public.my table\"]", config_value, "at character 10", "schema.table"},
        {"tables = [\"a.b\", \"a.\\\"b\"]", config_value, "double quote is not closed", "schema.table"},
        {"operations = [\"upsert\"]", config_value, "\"upsert\" is not an operation", "`insert`"},
        {"operations = [\"insert\"]\n[[table]]\nmatch=\"a.b\"\noperations=[\"update\"]", config_value,
         "source.operations leaves out", "take it out here"},
        {"slot = \"Shop\"", config_value, "lower-case letter", "slot = \"shop\""},
        {"slot = \"\"", config_value, "is empty", "slot"},
        {"slot = \"" + std::string(64, 'a') + "\"", config_value, "64 characters", "63"},
        {"messages = 1", config_type, "source.messages is a whole number", "true, false, or a list"},
        {"messages = [\"\"]", config_value, "is empty", "prefixes"},
        {"status_interval_ms = 1", config_value, "out of range", "10 to 60000"},
        {"origin = \"local\"", config_value, "local", "`any`, `none`"},
    };
    for (const Case& c : cases)
        expect(c, head, c.text.find("[[table]]") == std::string::npos ? "task.toml:5: " : "task.toml:8: ");
}

TEST(ConfigErrors, OfTheTopLevel) {
    using enum ErrorCode;
    expect({"name = \"\"", config_value, "is empty", "1 to 63"}, "", "task.toml:1: ");
    expect({"name = \"a b\"", config_value, "no letter, digit", "1 to 63"}, "", "task.toml:1: ");
    expect({"name = \"--\"", config_value, "no letter or digit", "1 to 63"}, "", "task.toml:1: ");
    expect({"nam = \"x\"", config_unknown_key, "nam", "Did you mean name?"}, "", "task.toml:1: ");
    expect({"source = 1", config_type, "source is a whole number", "[source]"}, "", "task.toml:1: ");
    expect({"table = [1]", config_type, "table is a list", "[[table]]"}, "", "task.toml:1: ");
}

TEST(ConfigErrors, OfBrokers) {
    for (const std::string brokers : {"", ",", "a,,b", "a:", "a:x", "a:0", "a:65536", ":9092", "a b:1",
                                      "[::1", "[::1]x", "PLAINTEXT://"}) {
        const Error error = error_of("name=\"a\"\nsource.dsn=\"x\"\nsink.brokers=\"" + brokers + "\"");
        EXPECT_EQ(error.code(), ErrorCode::config_value) << brokers << error.what();
        EXPECT_EQ(error.happened().rfind("task.toml:3: ", 0), 0U) << error.what();
    }
}

TEST(ConfigErrors, WhatIsMissingIsNamedWithTheSmallestFile) {
    const Case cases[] = {
        {"", ErrorCode::config_missing, "empty", "smallest task file"},
        {" \n\t", ErrorCode::config_missing, "empty", "smallest task file"},
        {"# nothing\n", ErrorCode::config_missing, "name is missing", "smallest task file"},
        {"name = \"a\"", ErrorCode::config_missing, "source.dsn is missing", "smallest task file"},
        {"name = \"a\"\n[source]\n", ErrorCode::config_missing, "source.dsn is missing",
         "smallest task file"},
        {"name = \"a\"\nsource.dsn = \"x\"", ErrorCode::config_missing, "sink.brokers is missing",
         "smallest"},
    };
    for (const Case& c : cases) expect(c, "", "task.toml:");
}

TEST(ConfigErrors, WhatIsNoTextIsSaidSo) {
    using namespace std::string_literals;
    const Case cases[] = {
        {"name = \"a\"\nx\0y"s, ErrorCode::config_syntax, "zero byte", "UTF-8"},
        {"name = \"a\"\n\xFF\xFE", ErrorCode::config_syntax, "not valid UTF-8", "UTF-8"},
        {"name = \"a\"\n# \xC0\xAF", ErrorCode::config_syntax, "not valid UTF-8", "UTF-8"},
        {"name = \"a\"\n# \xED\xA0\x80", ErrorCode::config_syntax, "not valid UTF-8", "UTF-8"},
    };
    for (const Case& c : cases) expect(c, "", "task.toml:2: ");
    expect({"\x7F"
            "ELF\x02\x01\x01\x00\x00"s,
            ErrorCode::config_syntax, "zero byte", "UTF-8"},
           "", "task.toml:1: ");
}

TEST(ConfigErrors, AZeroByteByEscapeIsRefused) {
    EXPECT_EQ(error_of("name = \"a\\u0000b\"").code(), ErrorCode::config_value);
    EXPECT_EQ(error_of(kHead + "kafka.\"client\\u0000\" = 1").code(), ErrorCode::config_value);
}

TEST(ConfigErrors, DeepNestingIsAnErrorNotACrash) {
    EXPECT_EQ(error_of("a = " + std::string(100'000, '[')).code(), ErrorCode::config_syntax);
    std::string dots;
    for (int i = 0; i < 200'000; i++) dots += ".a";
    EXPECT_EQ(error_of("sink.kafka" + dots + " = 1").code(), ErrorCode::config_syntax);
    EXPECT_EQ(error_of("x = '\n[sink" + dots + "]").code(), ErrorCode::config_syntax);
    EXPECT_EQ(error_of("x = \"\"\"\\\"\"\"\"\ny = '\\'\nz = { \"a\"" + dots + " = 1 }").code(),
              ErrorCode::config_syntax);
}

TEST(ConfigErrors, DotsInTextsAndCommentsAreFree) {
    const std::string dots(5000, '.');
    EXPECT_NO_THROW(
        parse_task(kHead + "# " + dots + "\nkafka.\"client.id\" = \"" + dots + "\"\n", "task.toml"));
    EXPECT_NO_THROW(parse_task(kHead + "kafka.\"client.id\" = '''\n" + dots + "'''\n", "task.toml"));
}

class ConfigFile : public testing::Test {
 protected:
    void SetUp() override {
        std::string pattern = std::filesystem::temp_directory_path() / "walferry-config-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    Error error_of_file(const std::filesystem::path& file) {
        try {
            load_task(file);
        } catch (const Error& error) {
            return error;
        }
        ADD_FAILURE() << "accepted: " << file;
        return Error(ErrorCode::usage, "", "", "");
    }

    std::filesystem::path folder_;
};

TEST_F(ConfigFile, IsRead) {
    std::ofstream(folder_ / "task.toml") << kHead;
    EXPECT_EQ(load_task(folder_ / "task.toml").name, "shop");
}

TEST_F(ConfigFile, ThatIsMissingIsNamed) {
    const Error error = error_of_file(folder_ / "none.toml");
    EXPECT_EQ(error.code(), ErrorCode::config_file);
    EXPECT_NE(error.happened().find("none.toml: There is no such task file"), std::string::npos)
        << error.what();
    EXPECT_FALSE(error.remedy().empty());
}

TEST_F(ConfigFile, ThatIsADirectoryIsNamed) {
    const Error error = error_of_file(folder_);
    EXPECT_EQ(error.code(), ErrorCode::config_file);
    EXPECT_NE(error.happened().find("is a directory"), std::string::npos) << error.what();
}

TEST_F(ConfigFile, ThatMayNotBeReadIsNamed) {
    if (::geteuid() == 0) {
        // Root reads everything; a path through a file cannot be opened by anybody.
        std::ofstream(folder_ / "file") << "x";
        EXPECT_EQ(error_of_file(folder_ / "file" / "task.toml").code(), ErrorCode::config_file);
        return;
    }
    std::ofstream(folder_ / "task.toml") << kHead;
    ::chmod((folder_ / "task.toml").c_str(), 0);
    const Error error = error_of_file(folder_ / "task.toml");
    EXPECT_EQ(error.code(), ErrorCode::config_file);
    EXPECT_EQ(error.why(), "Permission denied");
}

TEST_F(ConfigFile, ThatIsHugeIsNamed) {
    std::ofstream(folder_ / "task.toml") << std::string((1 << 20) + 1, '#');
    const Error error = error_of_file(folder_ / "task.toml");
    EXPECT_EQ(error.code(), ErrorCode::config_file);
    EXPECT_NE(error.happened().find("larger than 1 MiB"), std::string::npos) << error.what();
    EXPECT_EQ(error_of_file("/dev/zero").code(), ErrorCode::config_file);
}

}  // namespace
}  // namespace walferry
