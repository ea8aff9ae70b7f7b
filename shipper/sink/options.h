// What the sink is told. run/ fills it from the task file.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <string>

namespace walferry {

struct SinkOptions {
    std::string brokers;  // host:port, separated by commas
    std::string client_id = "walferry";
    // librdkafka properties, passed on as they are; they win over the defaults of kafka_sink.cpp.
    std::map<std::string, std::string> properties;
    // Bound of the memory that messages under way may take, librdkafka's bookkeeping included.
    size_t queue_bytes = size_t{8} << 20;
    // For finding a broker and for each administrative request.
    std::chrono::milliseconds request_timeout{10000};
    bool create_topics = true;
    int topic_partitions = -1;   // -1: the broker's default (num.partitions)
    int topic_replication = -1;  // -1: the broker's default (default.replication.factor)
    // Not empty: messages count when their transaction is committed (sink/transaction.h).
    std::string transactional_id;
};

}  // namespace walferry
