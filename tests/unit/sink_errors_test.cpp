#include "sink/errors.h"

#include <string>

#include <gtest/gtest.h>

namespace walferry {
namespace {

SinkOptions options(bool create = true) {
    SinkOptions result;
    result.brokers = "kafka1:9092,kafka2:9092";
    result.create_topics = create;
    result.topic_partitions = 6;
    result.topic_replication = 3;
    return result;
}

Error delivery(rd_kafka_resp_err_t code, const SinkOptions& given = options()) {
    return delivery_error(code, {}, {.topic = "orders", .bytes = 2000000}, given);
}

bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

TEST(SinkErrors, MessageTooLargeNamesTopicSizeAndSettings) {
    const Error error = delivery(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    EXPECT_EQ(error.code(), ErrorCode::kafka_message_too_large);
    EXPECT_EQ(error.retry(), Retry::never);
    EXPECT_TRUE(contains(error.happened(), "2000000 bytes"));
    EXPECT_TRUE(contains(error.happened(), "\"orders\""));
    EXPECT_TRUE(contains(error.why(), "max.message.bytes"));
    EXPECT_TRUE(contains(error.why(), "message.max.bytes"));
    EXPECT_TRUE(
        contains(error.remedy(), "kafka-configs.sh --bootstrap-server kafka1:9092,kafka2:9092 --alter"));
}

TEST(SinkErrors, BatchTooLargeNamesTheBatchSize) {
    const Error error = delivery_error(RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, {},
                                       {.topic = "orders", .bytes = 300, .messages = 2000}, options());
    EXPECT_EQ(error.code(), ErrorCode::kafka_message_too_large);
    EXPECT_TRUE(contains(error.happened(), "2000 messages"));
    EXPECT_TRUE(contains(error.remedy(), "batch.size"));
}

TEST(SinkErrors, VanishedTopicIsMadeAgainWhereCreationIsAllowed) {
    for (const auto code : {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
                            RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION}) {
        EXPECT_EQ(delivery(code).code(), ErrorCode::kafka_topic_deleted);
        EXPECT_EQ(delivery(code).retry(), Retry::sink);
        const Error refused = delivery(code, options(false));
        EXPECT_EQ(refused.code(), ErrorCode::kafka_topic_missing);
        EXPECT_EQ(refused.retry(), Retry::never);
        EXPECT_TRUE(contains(refused.remedy(),
                             "kafka-topics.sh --bootstrap-server kafka1:9092,kafka2:9092 --create "
                             "--topic orders --partitions 6 --replication-factor 3"));
    }
}

TEST(SinkErrors, RefusedRightsNameTheUserAndTheCommand) {
    SinkOptions given = options();
    EXPECT_TRUE(
        contains(delivery(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, given).remedy(), "User:NAME"));
    given.properties["sasl.username"] = "ferry";
    const Error topic = delivery(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, given);
    EXPECT_EQ(topic.code(), ErrorCode::kafka_topic_authorization);
    EXPECT_TRUE(contains(topic.remedy(), "--allow-principal User:ferry --producer --topic orders"));
    const Error cluster = fatal_error(RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, {}, given);
    EXPECT_EQ(cluster.code(), ErrorCode::kafka_cluster_authorization);
    EXPECT_TRUE(contains(cluster.remedy(), "IdempotentWrite"));
    const Error create = create_error(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, {}, "orders", given);
    EXPECT_EQ(create.code(), ErrorCode::kafka_topic_authorization);
    EXPECT_TRUE(contains(create.remedy(), "--operation Create"));
}

TEST(SinkErrors, ATopicIsCreatedLaterWhereNoBrokerIsThereYet) {
    SinkOptions given = options();
    const auto refused = [&](const std::string& detail) {
        return create_error(RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR, detail, "orders", given);
    };
    const Error fenced =
        refused("Unable to replicate the partition 3 time(s): All brokers are currently fenced.");
    EXPECT_EQ(fenced.code(), ErrorCode::kafka_unreachable);
    EXPECT_EQ(fenced.retry(), Retry::sink);
    EXPECT_TRUE(contains(fenced.happened(), "\"orders\""));
    const std::string too_few =
        "The target replication factor of 3 cannot be reached because only 1 broker(s) are registered.";
    EXPECT_EQ(refused(too_few).code(), ErrorCode::kafka_topic_create);
    EXPECT_EQ(refused(too_few).retry(), Retry::never);
    given.topic_replication = 1;
    EXPECT_EQ(refused("Replication factor: 1 larger than available brokers: 0.").retry(), Retry::sink);
}

TEST(SinkErrors, FatalProducerErrorsAreMendedByANewProducer) {
    for (const auto code :
         {RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
          RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID, RD_KAFKA_RESP_ERR__INCONSISTENT}) {
        const Error error = fatal_error(code, "what librdkafka says", options());
        EXPECT_EQ(error.code(), ErrorCode::kafka_producer_fatal);
        EXPECT_EQ(error.retry(), Retry::sink);
        EXPECT_TRUE(contains(error.why(), "what librdkafka says"));
    }
}

TEST(SinkErrors, ConnectionErrorsTellLoginTlsAndNetworkApart) {
    const auto code = [](rd_kafka_resp_err_t kafka) { return connection_error(kafka, {}, options()).code(); };
    EXPECT_EQ(code(RD_KAFKA_RESP_ERR__AUTHENTICATION), ErrorCode::kafka_authentication);
    EXPECT_EQ(code(RD_KAFKA_RESP_ERR__SSL), ErrorCode::kafka_tls);
    EXPECT_EQ(code(RD_KAFKA_RESP_ERR__TRANSPORT), ErrorCode::kafka_unreachable);
    EXPECT_EQ(code(RD_KAFKA_RESP_ERR__RESOLVE), ErrorCode::kafka_unreachable);
    EXPECT_EQ(connection_error(
                  RD_KAFKA_RESP_ERR__TRANSPORT,
                  "ssl://b:9093/bootstrap: error:0A000086:SSL routines::certificate verify failed", options())
                  .code(),
              ErrorCode::kafka_tls);
    EXPECT_EQ(connection_error(RD_KAFKA_RESP_ERR__TRANSPORT, {}, options()).retry(), Retry::sink);
    EXPECT_TRUE(contains(connection_error(RD_KAFKA_RESP_ERR__TRANSPORT, "refused\n", options()).why(),
                         "refused (_TRANSPORT)"));
}

TEST(SinkErrors, CreationErrorsTellTransientFromLasting) {
    const auto code = [](rd_kafka_resp_err_t kafka) {
        return create_error(kafka, {}, "orders", options()).code();
    };
    EXPECT_EQ(code(RD_KAFKA_RESP_ERR__TIMED_OUT), ErrorCode::kafka_unreachable);
    EXPECT_EQ(code(RD_KAFKA_RESP_ERR_NOT_CONTROLLER), ErrorCode::kafka_unreachable);
    EXPECT_EQ(code(RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR), ErrorCode::kafka_topic_create);
    EXPECT_EQ(code(RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION), ErrorCode::kafka_topic_create);
    EXPECT_EQ(code(RD_KAFKA_RESP_ERR_POLICY_VIOLATION), ErrorCode::kafka_topic_create);
}

TEST(SinkErrors, NeverPrintASecret) {
    SinkOptions given = options();
    given.properties["sasl.password"] = "hunter2";
    given.properties["sasl.username"] = "ferry";
    for (const auto code :
         {RD_KAFKA_RESP_ERR__AUTHENTICATION, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED}) {
        EXPECT_FALSE(contains(connection_error(code, {}, given).what(), "hunter2"));
        EXPECT_FALSE(contains(delivery(code, given).what(), "hunter2"));
    }
}

}  // namespace
}  // namespace walferry
