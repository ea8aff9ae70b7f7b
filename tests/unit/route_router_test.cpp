#include "route/router.h"

#include <gtest/gtest.h>

#include "format_row_builder.h"

namespace walferry {
namespace {

RelationSchema relation(const std::string& table) {
    return test::make_relation("public", table, {{"id", 23, "integer", wire::ValueClass::Int4, 1}});
}

TableConfig entry(const std::string& match) {
    TableConfig table;
    table.match = match;
    return table;
}

TEST(Router, GivesEveryTableWhatTheTaskSays) {
    TaskConfig config;
    config.source.operations.remove = false;
    config.sink.key_change = KeyChanges::delete_insert;
    const Destination destination = Router(config).route(relation("t"), "db");
    EXPECT_EQ(destination.topic, "public.t");
    EXPECT_EQ(destination.operations, (Operations{true, true, false, true}));
    EXPECT_EQ(destination.key_change, KeyChanges::delete_insert);
    EXPECT_TRUE(destination.key.empty());
}

TEST(Router, TheLastEntryThatSetsAKeyDecidesAboutThatKey) {
    TaskConfig config;
    config.tables = {entry("public.*"), entry("public.a*"), entry("public.ab")};
    config.tables[0].key_change = KeyChanges::delete_insert;
    config.tables[0].key = {"id"};
    config.tables[1].operations = Operations{true, false, false, false};
    config.tables[2].key_change = KeyChanges::update;
    const Router router(config);

    const Destination a = router.route(relation("a"), "db");
    EXPECT_EQ(a.key_change, KeyChanges::delete_insert);
    EXPECT_EQ(a.operations, (Operations{true, false, false, false}));
    const Destination ab = router.route(relation("ab"), "db");
    EXPECT_EQ(ab.key_change, KeyChanges::update);
    EXPECT_EQ(ab.key, std::vector<std::string>{"id"}) << "of the first entry";
    const Destination other = router.route(relation("b"), "db");
    EXPECT_EQ(other.operations, Operations());
    EXPECT_EQ(other.key_change, KeyChanges::delete_insert);
}

}  // namespace
}  // namespace walferry
