// The table of settings, what is printed from it, and the small parsers below it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "config/checks.h"
#include "config/load.h"
#include "config/reference_page.h"
#include "config/settings.h"
#include "config/text.h"
#include "config/units.h"
#include "error/error.h"

namespace walferry {
namespace {

using namespace std::chrono_literals;

TEST(Settings, HavePathsOfTheirOwnAndHelp) {
    std::set<std::string_view> paths;
    for (const Setting& setting : settings()) {
        EXPECT_TRUE(paths.insert(setting.path).second) << setting.path;
        EXPECT_FALSE(setting.help.empty()) << setting.path;
        EXPECT_EQ(setting.help.back(), '.') << setting.path;
        EXPECT_FALSE(default_text(setting).empty()) << setting.path;
    }
}

// A file made of nothing but the examples must be right: that is what a remedy tells people to write.
TEST(Settings, ExamplesAreValid) {
    std::string text;
    std::string section;
    for (const Setting& setting : settings()) {
        const size_t dot = setting.path.rfind('.');
        const std::string mine(dot == setting.path.npos ? "" : setting.path.substr(0, dot));
        if (setting.path == "sink.kafka") {
            text += "[sink.kafka]\n\"compression.type\" = \"lz4\"\n";
            continue;
        }
        if (mine != section) text += mine == "table" ? "[[table]]\n" : "[" + mine + "]\n";
        section = mine;
        text += std::string(setting.path.substr(dot + 1)) + " = " + std::string(setting.example) + "\n";
    }
    EXPECT_NO_THROW(parse_task(text, "examples.toml")) << text;
}

TEST(Settings, ConfigurationPageIsTheOnePrinted) {
    std::ifstream file(WALFERRY_SOURCE_DIR "/docs/configuration.md");
    std::stringstream page;
    page << file.rdbuf();
    EXPECT_EQ(page.str(), settings_markdown())
        << "write it anew: walferry config --markdown > docs/configuration.md";
}

TEST(Settings, OverviewNamesEverySetting) {
    const std::string overview = settings_overview();
    for (const Setting& setting : settings()) {
        if (setting.path == "sink.kafka") continue;
        EXPECT_NE(overview.find(setting.path), std::string::npos) << setting.path;
    }
}

TEST(EffectiveSettings, NameTheirOriginAndHideSecrets) {
    ::setenv("WALFERRY_TEST_SECRET", "hush", 1);
    const TaskConfig task = parse_task(R"(name = "shop"
[source]
dsn = "dbname=shop password=${WALFERRY_TEST_SECRET}"
[sink]
brokers = "b:1"
queue_bytes = 67108864
[sink.kafka]
"sasl.password" = "hush"
"linger.ms" = 5
[[table]]
match = "public.orders"
operations = ["insert"]
)",
                                       "shop.toml");
    const std::string text = effective_settings(task);
    EXPECT_EQ(text.find("hush"), std::string::npos) << text;
    const auto line = [&](const std::string& start) {
        const size_t at = text.find("\n" + start);
        EXPECT_NE(at, std::string::npos) << start << "\n" << text;
        return at == std::string::npos ? "" : text.substr(at + 1, text.find('\n', at + 1) - at - 1);
    };
    EXPECT_NE(line("dsn = ").find("# shop.toml:3, ${WALFERRY_TEST_SECRET}"), std::string::npos) << text;
    EXPECT_NE(line("queue_bytes = \"64MB\"").find("# shop.toml:6"), std::string::npos);
    EXPECT_NE(line("slot = \"shop\"").find("# default"), std::string::npos);
    EXPECT_NE(line("\"linger.ms\" = \"5\"").find("# shop.toml:9"), std::string::npos);
    EXPECT_NE(line("\"sasl.password\" = \"***\"").find("# shop.toml:8"), std::string::npos);
    EXPECT_NE(line("match = \"public.orders\"").find("# shop.toml:11"), std::string::npos);
}

// What is printed can be used as a task file again.
TEST(EffectiveSettings, AreATaskFile) {
    const TaskConfig task = parse_task(R"(name = "shop"
source.dsn = "dbname=shop"
sink = { brokers = "b:1", kafka = { acks = "all", linger.ms = 5 } }
table = [ { match = "public.\"a b\"", key = ["x"] } ]
)",
                                       "shop.toml");
    const TaskConfig again = parse_task(effective_settings(task), "again.toml");
    EXPECT_EQ(again.sink.kafka, task.sink.kafka);
    EXPECT_EQ(again.tables.at(0).match, task.tables.at(0).match);
    EXPECT_EQ(effective_settings(again).size() > 0, true);
}

TEST(Units, Durations) {
    EXPECT_EQ(parse_duration("500ms"), 500ms);
    EXPECT_EQ(parse_duration("30s"), 30s);
    EXPECT_EQ(parse_duration("720min"), 720min);
    EXPECT_EQ(parse_duration("12 h"), 12h);
    EXPECT_EQ(parse_duration("7d"), 168h);
    for (const char* wrong :
         {"", "s", "5", "5m", "5 s ", "-5s", "1.5s", "5S", "99999999999999999999s", "9223372036854775807d"})
        EXPECT_EQ(parse_duration(wrong), std::nullopt) << wrong;
    EXPECT_EQ(format_duration(720min), "12h");
    EXPECT_EQ(format_duration(90s), "90s");
    EXPECT_EQ(format_duration(0ms), "0ms");
}

TEST(Units, Sizes) {
    EXPECT_EQ(parse_bytes("64MB"), 64U << 20);
    EXPECT_EQ(parse_bytes("1kB"), 1024U);
    EXPECT_EQ(parse_bytes("7B"), 7U);
    for (const char* wrong : {"", "MB", "64", "64mb", "64 M", "-1MB", "0.5GB", "9223372036854775807TB"})
        EXPECT_EQ(parse_bytes(wrong), std::nullopt) << wrong;
    EXPECT_EQ(format_bytes(64 << 20), "64MB");
    EXPECT_EQ(format_bytes(1000), "1000B");
}

TEST(MaskDsn, HidesPasswordsInEveryForm) {
    EXPECT_EQ(mask_dsn("host=a password=hush dbname=b"), "host=a password=*** dbname=b");
    EXPECT_EQ(mask_dsn("password = 'hu sh' user=u"), "password=*** user=u");
    EXPECT_EQ(mask_dsn(R"(password='hu\'sh' user=u)"), "password=*** user=u");
    EXPECT_EQ(mask_dsn(R"(password=hu\ sh user=u)"), "password=*** user=u");
    EXPECT_EQ(mask_dsn("sslpassword=hush"), "sslpassword=***");
    EXPECT_EQ(mask_dsn("password='hush"), "***");
    EXPECT_EQ(mask_dsn("password=hush\\"), "password=***");
    EXPECT_EQ(mask_dsn("hush"), "***");
    EXPECT_EQ(mask_dsn("=hush"), "***");
    EXPECT_EQ(mask_dsn("postgresql://u:hush@h:5432/db"), "postgresql://u:***@h:5432/db");
    EXPECT_EQ(mask_dsn("postgres://u:hu@sh@h/db"), "postgres://u:***@h/db");
    EXPECT_EQ(mask_dsn("postgres://u:hu?sh@h/db?password=hush&x=1"),
              "postgres://u:***@h/db?password=***&x=1");
    EXPECT_EQ(mask_dsn("postgresql:///db?p%61ssword=hush"), "postgresql:///db?p%61ssword=***");
    EXPECT_EQ(mask_dsn("postgresql://h:5432/db"), "postgresql://h:5432/db");
    EXPECT_EQ(mask_dsn("host=a user=b"), "host=a user=b");
    EXPECT_EQ(mask_dsn(""), "");
}

TEST(Text, ExcerptsAreSafeToPrint) {
    EXPECT_EQ(excerpt("a\n\x1B[2J"), "\"a\\n\\u001b[2J\"");
    EXPECT_LT(excerpt(std::string(1000, 'a')).size(), 80U);
    EXPECT_EQ(find_invalid_utf8(excerpt(std::string(59, 'a') + "\xC3\xA9" + "aaa")), std::string::npos);
}

TEST(Text, NearestFindsSlipsOnly) {
    const std::string_view words[] = {"brokers", "format", "topic"};
    EXPECT_EQ(nearest("borkers", words), "brokers");
    EXPECT_EQ(nearest("topics", words), "topic");
    EXPECT_EQ(nearest("compression", words), "");
    EXPECT_EQ(nearest(std::string(100'000, 'a'), words), "");
}

}  // namespace
}  // namespace walferry
