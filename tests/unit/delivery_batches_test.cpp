#include "delivery/delivery.h"

#include <gtest/gtest.h>

#include "delivery/exactly_once.h"

namespace walferry {
namespace {

std::string batch_of(const TaskConfig& config) {
    SinkOptions options = sink_options(config);
    return options.properties.contains("batch.size") ? options.properties["batch.size"] : "";
}

TEST(DeliveryBatches, AreNoLargerThanTheSmallestMessageLimit) {
    TaskConfig config;
    config.sink.oversize = Oversize::split;
    EXPECT_EQ(batch_of(config), "");
    config.sink.max_message_size.value = 5'000'000;
    EXPECT_EQ(batch_of(config), "");
    config.sink.max_message_size.value = 90'000;
    EXPECT_EQ(batch_of(config), "90000");
    config.tables.emplace_back().max_message_size.value = 40'000;
    EXPECT_EQ(batch_of(config), "40000");
    for (const SinkOptions& producer : ExactlyOnce::producers(config))
        EXPECT_EQ(producer.properties.at("batch.size"), "40000");
    config.sink.kafka["batch.size"] = "123";
    EXPECT_EQ(batch_of(config), "123");
}

TEST(DeliveryBatches, AreNotTouchedWhereTheBrokersDecide) {
    TaskConfig config;
    config.sink.max_message_size.value = 90'000;
    config.tables.emplace_back().max_message_size.value = 40'000;
    EXPECT_EQ(batch_of(config), "");
    config.tables[0].oversize = Oversize::key_only;
    EXPECT_EQ(batch_of(config), "40000");
}

}  // namespace
}  // namespace walferry
