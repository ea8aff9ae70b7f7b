#include <gtest/gtest.h>

#include "config/load.h"
#include "config/reference_page.h"
#include "error/error.h"

namespace walferry {
namespace {

TaskConfig parse(const std::string& sink, const std::string& tables) {
    return parse_task(
        "name = \"shop\"\n[source]\ndsn = \"dbname=shop\"\n[sink]\nbrokers = \"localhost:9092\"\n"
        "format = \"canal-json\"\n" +
            sink + tables,
        "task.toml");
}

TEST(ConfigKeyChange, IsAnUpdateUnlessTheFileSaysOtherwise) {
    const TaskConfig task = parse("", "[[table]]\nmatch = \"public.a\"\n");
    EXPECT_EQ(task.sink.key_change, KeyChanges::update);
    EXPECT_FALSE(task.tables[0].key_change.has_value());
}

TEST(ConfigKeyChange, IsSetForAllTablesAndForSome) {
    const TaskConfig task = parse("key_change = \"delete-insert\"\n",
                                  "[[table]]\nmatch = \"public.a\"\nkey_change = \"update\"\n"
                                  "[[table]]\nmatch = \"public.b\"\nkey_change = \"delete-insert\"\n");
    EXPECT_EQ(task.sink.key_change, KeyChanges::delete_insert);
    EXPECT_EQ(task.tables[0].key_change, KeyChanges::update);
    EXPECT_EQ(task.tables[1].key_change, KeyChanges::delete_insert);
    const std::string page = effective_settings(task);
    EXPECT_NE(page.find("key_change = \"delete-insert\""), page.npos) << page;
    EXPECT_NE(page.find("key_change = \"update\""), page.npos) << page;
}

TEST(ConfigKeyChange, RefusesOtherNames) {
    try {
        (void)parse("key_change = \"delete\"\n", "");
        FAIL() << "no error";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::config_value);
    }
}

}  // namespace
}  // namespace walferry
