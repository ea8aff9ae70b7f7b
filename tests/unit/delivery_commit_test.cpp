// Exactly-once delivery against librdkafka's own in-process cluster, whose broker can be made to answer a
// commit late.
#include <array>
#include <chrono>
#include <string>

#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "delivery/delivery.h"

namespace walferry {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr int16_t kEndTransactionRequest = 26;
constexpr auto kLong = 60s;  // only a failing test waits that long

class DeliveryCommitTest : public ::testing::Test {
 protected:
    DeliveryCommitTest() {
        std::array<char, 256> text{};
        handle_ = rd_kafka_new(RD_KAFKA_PRODUCER, nullptr, text.data(), text.size());
        mock_ = rd_kafka_mock_cluster_new(handle_, 1);
        rd_kafka_mock_topic_create(mock_, "t", 1, 1);
        rd_kafka_mock_topic_create(mock_, "walferry.progress.task", 1, 1);
        config_.name = "task";
        config_.sink.brokers = rd_kafka_mock_cluster_bootstraps(mock_);
        config_.sink.delivery = DeliveryMode::exactly_once;
    }
    ~DeliveryCommitTest() override {
        rd_kafka_mock_cluster_destroy(mock_);
        rd_kafka_destroy(handle_);
    }

    template <typename Condition>
    static bool poll_until(Delivery& delivery, const Condition& reached) {
        const auto until = Clock::now() + kLong;
        while (!reached() && Clock::now() < until) delivery.poll(20ms);
        return reached();
    }

    rd_kafka_t* handle_ = nullptr;
    rd_kafka_mock_cluster_t* mock_ = nullptr;
    TaskConfig config_;
};

// All messages are acknowledged by then, so that nothing else tells that Kafka does not get on.
TEST_F(DeliveryCommitTest, ACommitThatIsNotAnsweredCountsAsStandingStill) {
    const auto delivery = Delivery::make(config_);
    const std::atomic<bool> stop{false};
    delivery->connect(stop);
    ProgressRecord record = delivery->open().value_or(ProgressRecord{});
    record.epoch = 1;
    record.task = config_.name;
    delivery->announce(record);
    delivery->begin(record, std::nullopt);
    EXPECT_EQ(delivery->stalled_for(), 0ms);

    constexpr std::chrono::milliseconds kLate{3000};
    rd_kafka_mock_broker_push_request_error_rtts(mock_, 1, kEndTransactionRequest, 1,
                                                 RD_KAFKA_RESP_ERR_NO_ERROR, static_cast<int>(kLate.count()));
    const auto wait = [&] { delivery->poll(20ms); };
    const TopicHandle topic = delivery->topic("t");
    delivery->begin_group(wait);
    ASSERT_EQ(delivery->produce(topic, "key", "value", "", 0, ""), Produced::ok);
    Frontier frontier;
    frontier.produced = Lsn{100};
    delivery->end_group(frontier.produced, frontier);
    delivery->tick(frontier, true);
    ASSERT_TRUE(poll_until(*delivery, [&] { return delivery->commit_waits_for() > kLate / 2; }));
    EXPECT_EQ(delivery->sink().stalled_for(), 0ms);
    EXPECT_GE(delivery->stalled_for(), kLate / 2);
    EXPECT_EQ(delivery->recorded(), Lsn{});

    ASSERT_TRUE(poll_until(*delivery, [&] { return delivery->recorded() == Lsn{100}; }));
    EXPECT_EQ(delivery->commit_waits_for(), 0ms);
    EXPECT_EQ(delivery->stalled_for(), 0ms);
}

}  // namespace
}  // namespace walferry
