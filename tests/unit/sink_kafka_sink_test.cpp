// The sink against librdkafka's own in-process cluster, which speaks the protocol over real sockets and
// returns the errors that a test asks for. What needs a real broker stands in tests/integration.
#include "sink/kafka_sink.h"

#include <poll.h>

#include <array>
#include <chrono>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "sink/topics.h"

namespace walferry {
namespace {

using namespace std::chrono_literals;

constexpr auto kLong = 30s;  // only a failing test waits that long
constexpr int16_t kProduceRequest = 0, kInitProducerIdRequest = 22;

class Cluster {
 public:
    Cluster() {
        std::array<char, 256> text{};
        handle_ = rd_kafka_new(RD_KAFKA_PRODUCER, nullptr, text.data(), text.size());
        mock = rd_kafka_mock_cluster_new(handle_, 1);
    }
    ~Cluster() {
        rd_kafka_mock_cluster_destroy(mock);
        rd_kafka_destroy(handle_);
    }
    Cluster(const Cluster&) = delete;
    Cluster& operator=(const Cluster&) = delete;

    SinkOptions options() const {
        SinkOptions result;
        result.brokers = rd_kafka_mock_cluster_bootstraps(mock);
        return result;
    }
    void create(const char* topic, int partitions) { rd_kafka_mock_topic_create(mock, topic, partitions, 1); }

    rd_kafka_mock_cluster_t* mock = nullptr;

 private:
    rd_kafka_t* handle_ = nullptr;
};

struct Received {
    bool has_key;
    std::string key, value, position;
};

// The first `count` messages of a topic, by partition.
std::map<int32_t, std::vector<Received>> read_back(const Cluster& cluster, const char* topic, int partitions,
                                                   size_t count) {
    std::array<char, 256> text{};
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", cluster.options().brokers.c_str(), text.data(), text.size());
    rd_kafka_conf_set(conf, "group.id", "test", text.data(), text.size());
    rd_kafka_t* consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text.data(), text.size());
    rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(partitions);
    for (int32_t i = 0; i < partitions; ++i)
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_assign(consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    std::map<int32_t, std::vector<Received>> result;
    const auto deadline = std::chrono::steady_clock::now() + kLong;
    while (count > 0 && std::chrono::steady_clock::now() < deadline) {
        rd_kafka_message_t* message = rd_kafka_consumer_poll(consumer, 1000);
        if (message == nullptr) continue;
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            Received received{message->key != nullptr, {}, {}, "(none)"};
            received.key.assign(static_cast<const char*>(message->key), message->key_len);
            received.value.assign(static_cast<const char*>(message->payload), message->len);
            rd_kafka_headers_t* headers = nullptr;
            const void* position = nullptr;
            size_t size = 0;
            if (rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR &&
                rd_kafka_header_get_last(headers, kPositionHeader, &position, &size) ==
                    RD_KAFKA_RESP_ERR_NO_ERROR)
                received.position.assign(static_cast<const char*>(position), size);
            result[message->partition].push_back(std::move(received));
            --count;
        }
        rd_kafka_message_destroy(message);
    }
    EXPECT_EQ(count, 0U) << "messages missing in " << topic;
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    return result;
}

// Polls on the wake descriptor alone until `done`.
template <typename Function>
bool wait_for(KafkaSink& sink, Function&& done, std::map<uint32_t, uint32_t>* acknowledged = nullptr) {
    const auto deadline = std::chrono::steady_clock::now() + kLong;
    while (!done()) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        pollfd wake{sink.wake_fd(), POLLIN, 0};
        ::poll(&wake, 1, 1000);
        if ((wake.revents & POLLIN) == 0) continue;
        for (const Acknowledged& ack : sink.poll())
            if (acknowledged != nullptr) (*acknowledged)[ack.group] += ack.messages;
    }
    return true;
}

template <typename Function>
Error error_of(Function&& function) {
    try {
        function();
    } catch (const Error& error) {
        return error;
    }
    ADD_FAILURE() << "no error";
    return Error(ErrorCode::usage, "", "", "");
}

// The error that delivery ends with.
Error delivery_failure(KafkaSink& sink) {
    return error_of([&] { wait_for(sink, [] { return false; }); });
}

SinkOptions nowhere() {
    SinkOptions options;
    options.brokers = "127.0.0.1:1";
    options.request_timeout = 300ms;
    return options;
}

struct LocalTopic {  // a handle without any question to a cluster
    explicit LocalTopic(KafkaSink& sink) : handle(rd_kafka_topic_new(sink.handle(), "local", nullptr)) {}
    ~LocalTopic() { rd_kafka_topic_destroy(handle); }
    LocalTopic(const LocalTopic&) = delete;
    LocalTopic& operator=(const LocalTopic&) = delete;
    rd_kafka_topic_t* handle;
};

TEST(KafkaSink, AcknowledgesEachMessageUnderItsGroup) {
    Cluster cluster;
    cluster.create("t", 3);
    KafkaSink sink(cluster.options());
    sink.connect();
    EXPECT_TRUE(sink.brokers_up());
    Topics topics({&sink});
    rd_kafka_topic_t* const topic = topics.get("t").of[0];
    constexpr uint32_t kMessages = 3000;
    const uint32_t groups[] = {0, 7, 0xFFFFFFFF};
    for (uint32_t i = 0; i < kMessages; ++i)
        ASSERT_EQ(sink.produce(topic, "key", "value", "0/1", i, groups[i % 3]), Produced::ok);
    EXPECT_EQ(sink.queued_messages(), kMessages);
    std::map<uint32_t, uint32_t> acknowledged;
    ASSERT_TRUE(wait_for(
        sink, [&] { return sink.queued_messages() == 0; }, &acknowledged));
    EXPECT_EQ(acknowledged, (std::map<uint32_t, uint32_t>{{0, 1000}, {7, 1000}, {0xFFFFFFFF, 1000}}));
    EXPECT_EQ(sink.queued_bytes(), 0U);
    EXPECT_EQ(sink.statistics().acknowledged_messages, kMessages);
    EXPECT_EQ(sink.statistics().acknowledged_bytes, kMessages * 8U);
    EXPECT_EQ(sink.stalled_for(), 0ms);
}

TEST(KafkaSink, TakesThePartitionFromTheHashAlsoWithoutAKey) {
    Cluster cluster;
    cluster.create("t", 7);
    KafkaSink sink(cluster.options());
    sink.connect();
    Topics topics({&sink});
    rd_kafka_topic_t* const topic = topics.get("t").of[0];
    const uint32_t hashes[] = {0, 1, 6, 7, 2147483647, 2147483648U};
    for (const uint32_t hash : hashes) {
        for (int i = 0; i < 3; ++i) {
            sink.produce(topic, i == 0 ? std::string_view() : std::string_view("k"), std::to_string(hash), {},
                         hash, 1);
        }
    }
    ASSERT_TRUE(sink.flush(kLong, [](auto) {}));
    size_t count = 0;
    for (const auto& [partition, messages] : read_back(cluster, "t", 7, std::size(hashes) * 3)) {
        for (const Received& message : messages) {
            EXPECT_EQ(std::stoul(message.value) % 7, static_cast<unsigned long>(partition));
            ++count;
        }
    }
    EXPECT_EQ(count, std::size(hashes) * 3);
}

TEST(KafkaSink, KeepsAbsentAndEmptyApart) {
    Cluster cluster;
    cluster.create("t", 1);
    KafkaSink sink(cluster.options());
    sink.connect();
    Topics topics({&sink});
    rd_kafka_topic_t* const topic = topics.get("t").of[0];
    sink.produce(topic, {}, "no key, no header", {}, 0, 1);
    sink.produce(topic, "", "empty key and header", "", 0, 1);
    sink.produce(topic, "k", "both", "16/B374D848", 0, 1);
    ASSERT_TRUE(sink.flush(kLong, [](auto) {}));
    const auto messages = read_back(cluster, "t", 1, 3)[0];
    ASSERT_EQ(messages.size(), 3U);
    EXPECT_FALSE(messages[0].has_key);
    EXPECT_EQ(messages[0].position, "(none)");
    EXPECT_EQ(messages[1].key, "");
    EXPECT_EQ(messages[1].position, "");
    EXPECT_EQ(messages[2].key, "k");
    EXPECT_EQ(messages[2].value, "both");
    EXPECT_EQ(messages[2].position, "16/B374D848");
}

TEST(KafkaSink, BoundsTheBytesUnderWay) {
    SinkOptions options = nowhere();
    options.queue_bytes = 100000;
    KafkaSink sink(options);
    const LocalTopic topic(sink);
    const std::string value(1000, 'v');
    uint32_t produced = 0;
    while (sink.produce(topic.handle, "k", value, "0/1", 0, 1) == Produced::ok) ASSERT_LT(++produced, 100U);
    EXPECT_GT(produced, 60U);
    EXPECT_LE(sink.queued_bytes(), options.queue_bytes);
    EXPECT_EQ(sink.queued_messages(), produced);
}

TEST(KafkaSink, TakesAMessageLargerThanTheBoundAlone) {
    SinkOptions options = nowhere();
    options.queue_bytes = 1000;
    KafkaSink sink(options);
    const LocalTopic topic(sink);
    EXPECT_EQ(sink.produce(topic.handle, "k", std::string(5000, 'v'), {}, 0, 1), Produced::ok);
    EXPECT_EQ(sink.produce(topic.handle, "k", "v", {}, 0, 1), Produced::queue_full);
}

TEST(KafkaSink, WaitsForABrokerThatGoesAwayAndLosesNothing) {
    Cluster cluster;
    cluster.create("t", 1);
    KafkaSink sink(cluster.options());
    sink.connect();
    Topics topics({&sink});
    rd_kafka_topic_t* const topic = topics.get("t").of[0];
    rd_kafka_mock_broker_set_down(cluster.mock, 1);
    for (int i = 0; i < 100; ++i) sink.produce(topic, "k", std::to_string(i), {}, 0, 1);
    ASSERT_TRUE(wait_for(sink, [&] { return !sink.brokers_up(); }));
    EXPECT_FALSE(sink.last_error().empty());
    EXPECT_EQ(sink.queued_messages(), 100U);
    rd_kafka_mock_broker_set_up(cluster.mock, 1);
    ASSERT_TRUE(wait_for(sink, [&] { return sink.queued_messages() == 0; }));
    EXPECT_TRUE(sink.brokers_up());
    const auto messages = read_back(cluster, "t", 1, 100)[0];
    for (size_t i = 0; i < messages.size(); ++i) EXPECT_EQ(messages[i].value, std::to_string(i));
}

TEST(KafkaSink, RetriesWhatIsTransient) {
    Cluster cluster;
    cluster.create("t", 1);
    KafkaSink sink(cluster.options());
    sink.connect();
    Topics topics({&sink});
    rd_kafka_topic_t* const topic = topics.get("t").of[0];
    rd_kafka_mock_push_request_errors(cluster.mock, kProduceRequest, 3, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
                                      RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                      RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT);
    sink.produce(topic, "k", "v", {}, 0, 1);
    EXPECT_TRUE(sink.flush(kLong, [](auto) {}));
}

TEST(KafkaSink, RefusedMessagesAreErrorsThatHoldNoValue) {
    const std::pair<rd_kafka_resp_err_t, ErrorCode> cases[] = {
        {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, ErrorCode::kafka_message_too_large},
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, ErrorCode::kafka_topic_authorization},
        {RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS, ErrorCode::kafka_delivery},
    };
    for (const auto& [kafka, expected] : cases) {
        Cluster cluster;
        cluster.create("t", 1);
        KafkaSink sink(cluster.options());
        sink.connect();
        Topics topics({&sink});
        rd_kafka_mock_push_request_errors(cluster.mock, kProduceRequest, 1, kafka);
        sink.produce(topics.get("t").of[0], "key-4711", "secret-value", {}, 0, 1);
        const Error error = delivery_failure(sink);
        EXPECT_EQ(error.code(), expected) << error.what();
        EXPECT_EQ(std::string(error.what()).find("secret-value"), std::string::npos);
        EXPECT_EQ(std::string(error.what()).find("key-4711"), std::string::npos);
    }
}

TEST(KafkaSink, AFailedProducerStaysFailed) {
    Cluster cluster;
    cluster.create("t", 1);
    KafkaSink sink(cluster.options());
    sink.connect();
    Topics topics({&sink});
    rd_kafka_mock_push_request_errors(cluster.mock, kProduceRequest, 1,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    sink.produce(topics.get("t").of[0], "k", "v", {}, 0, 1);
    const Error error = delivery_failure(sink);
    EXPECT_EQ(error_of([&] { sink.poll(); }).code(), error.code());
    EXPECT_EQ(error_of([&] { sink.poll(); }).code(), error.code());
}

TEST(KafkaSink, NoRightToProduceIdempotentlyIsNamed) {
    Cluster cluster;
    cluster.create("t", 1);
    rd_kafka_mock_push_request_errors(cluster.mock, kInitProducerIdRequest, 1,
                                      RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED);
    KafkaSink sink(cluster.options());
    EXPECT_EQ(delivery_failure(sink).code(), ErrorCode::kafka_cluster_authorization);
    const LocalTopic topic(sink);
    EXPECT_EQ(error_of([&] { sink.produce(topic.handle, "k", "v", {}, 0, 1); }).code(),
              ErrorCode::kafka_cluster_authorization);
}

TEST(KafkaSink, TheLocalLimitIsAnErrorAtOnce) {
    SinkOptions options = nowhere();
    options.properties["message.max.bytes"] = "2000";
    options.properties["batch.size"] = "2000";
    KafkaSink sink(options);
    const LocalTopic topic(sink);
    const Error error = error_of([&] { sink.produce(topic.handle, "k", std::string(4999, 'v'), {}, 0, 1); });
    EXPECT_EQ(error.code(), ErrorCode::kafka_message_too_large);
    EXPECT_NE(error.happened().find("5000 bytes"), std::string::npos);
    EXPECT_EQ(sink.queued_bytes(), 0U);
}

TEST(KafkaSink, ConnectIsBoundedAndNamesTheBrokers) {
    KafkaSink sink(nowhere());
    const Error error = error_of([&] { sink.connect(); });
    EXPECT_EQ(error.code(), ErrorCode::kafka_unreachable);
    EXPECT_EQ(error.retry(), Retry::sink);
    EXPECT_NE(error.happened().find("127.0.0.1:1"), std::string::npos);
    EXPECT_NE(error.why().find("refused"), std::string::npos);
}

TEST(KafkaSink, FlushEndsWithItsTime) {
    KafkaSink sink(nowhere());
    const LocalTopic topic(sink);
    sink.produce(topic.handle, "k", "v", {}, 0, 1);
    EXPECT_FALSE(sink.flush(20ms, [](auto) {}));
    EXPECT_EQ(sink.queued_messages(), 1U);
}

TEST(KafkaSink, WhatWasPurgedIsNeitherAcknowledgedNorAnError) {
    KafkaSink sink(nowhere());
    const LocalTopic topic(sink);
    for (int i = 0; i < 10; ++i) sink.produce(topic.handle, "k", "v", {}, 0, 1);
    sink.purge();
    std::map<uint32_t, uint32_t> acknowledged;
    ASSERT_TRUE(wait_for(
        sink, [&] { return sink.queued_messages() == 0; }, &acknowledged));
    EXPECT_TRUE(acknowledged.empty());
    EXPECT_EQ(sink.queued_bytes(), 0U);
}

TEST(KafkaSink, PassesPropertiesOnAndNamesABadOne) {
    const auto refused = [](const char* name, const char* value) {
        SinkOptions options = nowhere();
        options.properties[name] = value;
        const Error error = error_of([&] { KafkaSink{options}; });
        EXPECT_EQ(error.code(), ErrorCode::kafka_property) << name;
        EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
    };
    refused("no.such.property", "1");
    refused("linger.ms", "-5");
    refused("compression.type", "rar");
    refused("acks", "0");
    refused("partitioner", "random");
    refused("delivery.report.only.error", "true");
    refused("transactional.id", "t");
    refused("bootstrap.servers", "elsewhere:9092");
    refused("max.in.flight", "9");

    SinkOptions options = nowhere();
    options.properties = {{"compression.type", "zstd"}, {"linger.ms", "5"}, {"acks", "1"}};
    EXPECT_NO_THROW(KafkaSink{options});
}

TEST(Topics, OneHandlePerTopic) {
    Cluster cluster;
    cluster.create("t", 1);
    cluster.create("u", 1);
    KafkaSink sink(cluster.options());
    sink.connect();
    Topics topics({&sink});
    EXPECT_EQ(topics.get("t").of[0], topics.get("t").of[0]);
    EXPECT_NE(topics.get("t").of[0], topics.get("u").of[0]);
}

TEST(Topics, AMissingTopicIsAnErrorWhereCreationIsNotAllowed) {
    Cluster cluster;
    cluster.create("t", 1);
    SinkOptions options = cluster.options();
    options.create_topics = false;
    KafkaSink sink(options);
    sink.connect();
    Topics topics({&sink});
    topics.get("t");
    const Error error = error_of([&] { topics.get("missing"); });
    EXPECT_EQ(error.code(), ErrorCode::kafka_topic_missing);
    EXPECT_NE(error.remedy().find("--create --topic missing"), std::string::npos);
    // Asking must not have made the cluster create it.
    EXPECT_EQ(error_of([&] { topics.get("missing"); }).code(), ErrorCode::kafka_topic_missing);
    // Somebody creates it meanwhile.
    cluster.create("missing", 1);
    EXPECT_NE(topics.get("missing").of[0], nullptr);
}

TEST(Topics, AVanishedTopicEndsTheProducerWithoutAnAcknowledgement) {
    for (const bool create : {true, false}) {
        Cluster cluster;
        cluster.create("t", 1);
        SinkOptions options = cluster.options();
        options.create_topics = create;
        options.properties["topic.metadata.propagation.max.ms"] = "100";
        KafkaSink sink(options);
        sink.connect();
        Topics topics({&sink});
        rd_kafka_topic_t* const topic = topics.get("t").of[0];
        rd_kafka_mock_topic_set_error(cluster.mock, "t", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
        const std::vector<rd_kafka_resp_err_t> gone(50, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
        rd_kafka_mock_push_request_errors_array(cluster.mock, kProduceRequest, gone.size(), gone.data());
        sink.produce(topic, "k", "v", {}, 0, 1);
        const Error error = delivery_failure(sink);
        EXPECT_EQ(error.code(), create ? ErrorCode::kafka_topic_deleted : ErrorCode::kafka_topic_missing)
            << error.what();
        EXPECT_EQ(sink.statistics().acknowledged_messages, 0U);
    }
}

}  // namespace
}  // namespace walferry
