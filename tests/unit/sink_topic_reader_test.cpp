// The reader of topics' ends against librdkafka's own in-process cluster, whose broker can be made to answer
// late. What needs a real broker stands in tests/integration.
#include "sink/topic_reader.h"

#include <array>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "error/error.h"
#include "sink/kafka_sink.h"
#include "sink/topics.h"

namespace walferry {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr int kPartitions = 3;

class TopicReaderTest : public ::testing::Test {
 protected:
    TopicReaderTest() {
        std::array<char, 256> text{};
        handle_ = rd_kafka_new(RD_KAFKA_PRODUCER, nullptr, text.data(), text.size());
        mock_ = rd_kafka_mock_cluster_new(handle_, 1);
        rd_kafka_mock_topic_create(mock_, "t", kPartitions, 1);
        options_.brokers = rd_kafka_mock_cluster_bootstraps(mock_);
        options_.request_timeout = 1s;
        for (int partition = 0; partition < kPartitions; ++partition) refs_.push_back({"t", partition});
    }
    ~TopicReaderTest() override {
        rd_kafka_mock_cluster_destroy(mock_);
        rd_kafka_destroy(handle_);
    }

    // Into each partition as many messages as its number.
    void fill() {
        KafkaSink sink(options_);
        sink.connect();
        Topics topics({&sink});
        const TopicHandle topic = topics.get("t");
        for (uint32_t partition = 0; partition < kPartitions; ++partition) {
            for (uint32_t i = 0; i < partition; ++i)
                ASSERT_EQ(sink.produce(topic.of[0], "key", "value", "", partition, 0, {}), Produced::ok);
        }
        const auto until = Clock::now() + 30s;
        while (sink.queued_messages() > 0 && Clock::now() < until) static_cast<void>(sink.poll(100ms));
        ASSERT_EQ(sink.queued_messages(), 0u);
    }

    void answer_after(std::chrono::milliseconds delay) {
        rd_kafka_mock_broker_set_rtt(mock_, 1, static_cast<int>(delay.count()));
    }

    rd_kafka_t* handle_ = nullptr;
    rd_kafka_mock_cluster_t* mock_ = nullptr;
    SinkOptions options_;
    std::vector<PartitionRef> refs_;
    bool hangs_ = false;
};

TEST_F(TopicReaderTest, BoundsOfManyPartitionsComeInTheirOrder) {
    fill();
    TopicReader reader(options_, [] { return true; });
    const std::vector<PartitionRef> reversed(refs_.rbegin(), refs_.rend());
    const std::vector<int64_t> ends = reader.ends(reversed);
    ASSERT_EQ(ends.size(), reversed.size());
    for (size_t i = 0; i < reversed.size(); ++i) EXPECT_EQ(ends[i], reversed[i].partition);
    EXPECT_EQ(reader.begins(reversed), std::vector<int64_t>(reversed.size(), 0));
    EXPECT_TRUE(reader.ends({}).empty());
}

TEST_F(TopicReaderTest, ABrokerThatAnswersLateIsWaitedFor) {
    fill();
    TopicReader reader(options_, [] { return true; });
    answer_after(300ms);
    EXPECT_EQ(reader.bounds({"t", 2}).end, 2);
}

// Its connection stays, and it is only the answer that does not come: librdkafka itself would wait a minute.
TEST_F(TopicReaderTest, ABrokerThatHangsIsGivenUpInTimeAndTheCallerServedMeanwhile) {
    int calls = 0;
    TopicReader reader(options_, [&] {
        ++calls;
        return true;
    });
    EXPECT_EQ(reader.bounds({"t", 0}).end, 0);
    answer_after(60s);
    calls = 0;
    const auto start = Clock::now();
    try {
        static_cast<void>(reader.bounds({"t", 0}));
        FAIL() << "no error";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kafka_unreachable);
    }
    EXPECT_LT(Clock::now() - start, 10s);
    EXPECT_GE(calls, 2);
}

TEST_F(TopicReaderTest, AStopEndsTheWaitForABrokerThatHangs) {
    options_.request_timeout = 60s;
    bool going = true;
    TopicReader reader(options_, [&] { return std::exchange(going, !hangs_); });
    EXPECT_EQ(reader.bounds({"t", 0}).end, 0);
    answer_after(60s);
    hangs_ = true;
    const auto start = Clock::now();
    try {
        static_cast<void>(reader.bounds({"t", 0}));
        FAIL() << "no error";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::source_stopped);
    }
    EXPECT_LT(Clock::now() - start, 10s);
}

}  // namespace
}  // namespace walferry
