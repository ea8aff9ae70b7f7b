#include <gtest/gtest.h>

#include "format_row_builder.h"
#include "route/router.h"

namespace walferry {
namespace {

TEST(RouterOversize, TheLastEntryThatSetsAPolicyDecides) {
    TaskConfig config;
    config.name = "shop";
    config.sink.oversize = Oversize::split;
    config.sink.max_message_size.value = 50'000;
    config.tables.resize(3);
    config.tables[0].match = "shop.*";
    config.tables[0].oversize = Oversize::key_only;
    config.tables[0].max_message_size.value = 20'000;
    config.tables[1].match = "shop.orders";
    config.tables[1].unrenderable = Unrenderable::key_only;
    config.tables[2].match = "shop.other";
    config.tables[2].oversize = Oversize::stop;
    const Router router(config);
    const Destination orders = router.route(test::orders(), "db");
    EXPECT_EQ(orders.oversize, Oversize::key_only);
    EXPECT_EQ(orders.unrenderable, Unrenderable::key_only);
    EXPECT_EQ(orders.max_message_size.value, 20'000U);
    EXPECT_EQ(orders.dead_letter_topic, "");

    config.tables.clear();
    const Destination all = Router(config).route(test::orders(), "db");
    EXPECT_EQ(all.oversize, Oversize::split);
    EXPECT_EQ(all.unrenderable, Unrenderable::stop);
    EXPECT_EQ(all.max_message_size.value, 50'000U);
}

TEST(RouterOversize, ADeadLetterTopicIsNamedOnlyWhereItIsNeeded) {
    TaskConfig config;
    config.name = "shop";
    config.sink.dead_letter_topic = "{name}.dead.{table}";
    config.sink.unrenderable = Unrenderable::dead_letter;
    EXPECT_EQ(Router(config).route(test::orders(), "db").dead_letter_topic, "shop.dead.orders");
    config.sink.unrenderable = Unrenderable::stop;
    EXPECT_EQ(Router(config).route(test::orders(), "db").dead_letter_topic, "");
    config.sink.oversize = Oversize::dead_letter;
    EXPECT_EQ(Router(config).route(test::orders(), "db").dead_letter_topic, "shop.dead.orders");
}

}  // namespace
}  // namespace walferry
