#include "sink/statistics.h"

#include <string>

#include <gtest/gtest.h>

#include "sink/log_limiter.h"

namespace walferry {
namespace {

// Shortened from what librdkafka 2.0.2 writes.
constexpr const char* kDocument =
    R"({"name":"walferry#producer-1","ts":123,"msg_cnt":7,"brokers":{)"
    R"("10.0.0.1:9092/bootstrap":{"name":"a","nodeid":-1,"state":"UP","req":{"Produce":0},"toppars":{}},)"
    R"("10.0.0.1:9092/1":{"name":"b","nodeid":1,"state":"UP","rtt":{"min":3,"state":9},"toppars":{"t-0":{"topic":"t","partition":0}}},)"
    R"("10.0.0.2:9092/2":{"name":"c","nodeid":2,"state":"UPDATE","toppars":{}},)"
    R"("10.0.0.3:9092/3":{"name":"d","nodeid":3,"state":"DOWN","toppars":{}}},)"
    R"("topics":{"t":{"partitions":{"0":{"nodeid":5,"state":"UP"}}}},"txmsgs":5})";

TEST(ParseBrokers, CountsBrokersThatHaveAnId) {
    const BrokerCount count = parse_brokers(kDocument);
    EXPECT_EQ(count.known, 3U);
    EXPECT_EQ(count.up, 2U);
}

TEST(ParseBrokers, StopsAfterTheBrokers) {
    const std::string text(kDocument);
    const BrokerCount count = parse_brokers(text.substr(0, text.find("\"t\":{\"partitions")) + "broken");
    EXPECT_EQ(count.known, 3U);
    EXPECT_EQ(count.up, 2U);
}

TEST(ParseBrokers, TakesAnyBytes) {
    const std::string text(kDocument);
    for (size_t length = 0; length < text.size(); ++length)
        EXPECT_LE(parse_brokers(text.substr(0, length)).known, 3U);
    for (const char* bad :
         {"", "[]", "null", "{\"brokers\":3}", "{\"brokers\":{\"a\":[1,{\"nodeid\":1}]}}", "\xFF\xFE"})
        EXPECT_EQ(parse_brokers(bad).known, 0U) << bad;
}

TEST(LogLimiter, HoldsBackAndCountsWhatComesTooFast) {
    LogLimiter limiter(3);
    LogLimiter::Clock::time_point now{std::chrono::hours(1)};
    uint64_t suppressed = 0;
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(limiter.pass(now, suppressed));
    for (int i = 0; i < 5; ++i) EXPECT_FALSE(limiter.pass(now, suppressed));
    now += std::chrono::seconds(1);
    EXPECT_TRUE(limiter.pass(now, suppressed));
    EXPECT_EQ(suppressed, 5U);
    EXPECT_FALSE(limiter.pass(now, suppressed));
    now += std::chrono::hours(1);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(limiter.pass(now, suppressed));
    EXPECT_EQ(suppressed, 0U);
    EXPECT_FALSE(limiter.pass(now, suppressed));
}

}  // namespace
}  // namespace walferry
