#include <gtest/gtest.h>

#include "config/load.h"
#include "config/reference_page.h"
#include "error/error.h"

namespace walferry {
namespace {

TaskConfig parse(const std::string& sink, const std::string& tables = "", const std::string& source = "") {
    return parse_task("name = \"shop\"\n[source]\ndsn = \"dbname=shop\"\n" + source +
                          "[sink]\nbrokers = \"localhost:9092\"\n" + sink + tables,
                      "task.toml");
}

std::string error_of(const std::string& sink, const std::string& tables = "",
                     const std::string& source = "") {
    try {
        (void)parse(sink, tables, source);
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}

TEST(ConfigOversize, StopsUnlessTheFileSaysOtherwise) {
    const TaskConfig task = parse("", "[[table]]\nmatch = \"public.a\"\n");
    EXPECT_EQ(task.sink.oversize, Oversize::stop);
    EXPECT_EQ(task.sink.unrenderable, Unrenderable::stop);
    EXPECT_EQ(task.sink.max_message_size.value, 0U);
    EXPECT_EQ(task.sink.dead_letter_topic, "{name}.dead-letters");
    EXPECT_FALSE(task.tables[0].oversize.has_value());
    EXPECT_FALSE(task.tables[0].unrenderable.has_value());
}

TEST(ConfigOversize, IsSetForAllTablesAndForSome) {
    const TaskConfig task =
        parse("oversize = \"split\"\nunrenderable = \"dead-letter\"\nmax_message_size = \"900kB\"\n",
              "[[table]]\nmatch = \"public.a\"\noversize = \"stop\"\nunrenderable = \"key-only\"\n"
              "max_message_size = \"5MB\"\n");
    EXPECT_EQ(task.sink.oversize, Oversize::split);
    EXPECT_EQ(task.sink.unrenderable, Unrenderable::dead_letter);
    EXPECT_EQ(task.sink.max_message_size.value, 900U << 10);
    EXPECT_EQ(task.tables[0].oversize, Oversize::stop);
    EXPECT_EQ(task.tables[0].unrenderable, Unrenderable::key_only);
    EXPECT_EQ(task.tables[0].max_message_size.value, 5U << 20);
}

// What `walferry config TASK` prints is a task file again.
TEST(ConfigOversize, EffectiveSettingsCanBeReadAgain) {
    const std::string page = effective_settings(parse("oversize = \"split\"\n"));
    EXPECT_NO_THROW((void)parse_task(page, "again.toml")) << page;
}

TEST(ConfigOversize, ClaimCheckNeedsADirectory) {
    const std::string all = error_of("oversize = \"claim-check\"\n");
    EXPECT_NE(all.find("WF1007"), all.npos) << all;
    EXPECT_NE(all.find("task.toml:6"), all.npos) << all;
    EXPECT_NE(all.find("sink.claim_check_directory"), all.npos) << all;
    const std::string table = error_of("", "[[table]]\nmatch = \"a.b\"\noversize = \"claim-check\"\n");
    EXPECT_NE(table.find("table[0].oversize"), table.npos) << table;
    EXPECT_EQ(error_of("oversize = \"claim-check\"\nclaim_check_directory = \"/claims\"\n"), "");
    const std::string relative = error_of("oversize = \"claim-check\"\nclaim_check_directory = \"claims\"\n");
    EXPECT_NE(relative.find("absolute"), relative.npos) << relative;
}

TEST(ConfigOversize, PoliciesNeedHeaders) {
    for (const char* policy : {"oversize = \"split\"\n", "unrenderable = \"key-only\"\n"}) {
        const std::string error = error_of(std::string("headers = \"none\"\n") + policy);
        EXPECT_NE(error.find("WF1006"), error.npos) << error;
        EXPECT_NE(error.find("sink.headers"), error.npos) << error;
    }
    const std::string table =
        error_of("headers = \"none\"\n", "[[table]]\nmatch = \"a.b\"\nunrenderable = \"key-only\"\n");
    EXPECT_NE(table.find("table[0].unrenderable = \"key-only\""), table.npos) << table;
    EXPECT_EQ(error_of("headers = \"none\"\noversize = \"stop\"\n"), "");
}

TEST(ConfigOversize, DeadLettersHaveATopicOfTheirOwn) {
    const std::string same =
        error_of("oversize = \"dead-letter\"\ndead_letter_topic = \"{schema}.{table}\"\n");
    EXPECT_NE(same.find("WF1006"), same.npos) << same;
    EXPECT_EQ(error_of("oversize = \"split\"\ndead_letter_topic = \"{schema}.{table}\"\n"), "");
}

TEST(ConfigOversize, LogicalMessagesHaveNoTableForADeadLetterTopic) {
    const std::string sink = "unrenderable = \"dead-letter\"\ndead_letter_topic = \"dead.{table}\"\n";
    EXPECT_EQ(error_of(sink), "");
    const std::string error = error_of(sink, "", "messages = true\n");
    EXPECT_NE(error.find("{table}"), error.npos) << error;
    EXPECT_EQ(error_of("unrenderable = \"dead-letter\"\n", "", "messages = true\n"), "");
}

TEST(ConfigOversize, SizesHaveBounds) {
    EXPECT_NE(error_of("max_message_size = \"1kB\"\n").find("WF1006"), std::string::npos);
    EXPECT_NE(error_of("", "[[table]]\nmatch = \"a.b\"\nmax_message_size = 9999\n").find("table[0]"),
              std::string::npos);
    EXPECT_NE(error_of("max_message_size = \"2GB\"\n").find("WF1006"), std::string::npos);
    EXPECT_EQ(error_of("max_message_size = 0\n"), "");
}

TEST(ConfigOversize, RefusesOtherNames) {
    EXPECT_NE(error_of("oversize = \"drop\"\n").find("WF1006"), std::string::npos);
    EXPECT_NE(error_of("unrenderable = \"split\"\n").find("WF1006"), std::string::npos);
}

}  // namespace
}  // namespace walferry
