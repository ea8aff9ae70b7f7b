// Turns librdkafka's error codes into the shipper's errors: which code, and what to do next.
#pragma once

#include <cstddef>
#include <string>

#include <librdkafka/rdkafka.h>

#include "error/error.h"
#include "sink/options.h"

namespace walferry {

// A message that was not written, or a request about a topic that was refused.
struct FailedMessage {
    std::string topic;
    size_t bytes = 0;     // key and value; the largest one where a whole batch failed
    size_t messages = 1;  // failed in the same report
};

// The command that creates the topic by hand.
std::string create_topic_command(const SinkOptions& options, const std::string& topic);

// `detail`: librdkafka's or the broker's own text; may be empty.
Error delivery_error(rd_kafka_resp_err_t code, const std::string& detail, const FailedMessage& message,
                     const SinkOptions& options);
// The whole producer failed (rd_kafka_fatal_error): it must be replaced.
Error fatal_error(rd_kafka_resp_err_t code, const std::string& detail, const SinkOptions& options);
// A transaction could not be begun or committed, or the producer was fenced.
Error transaction_error(rd_kafka_resp_err_t code, const std::string& detail, const SinkOptions& options);
// A topic is missing that has to be compacted, and may not be created.
Error compacted_topic_missing(const std::string& topic, const SinkOptions& options);
// rd_kafka_new() failed; call it at once.
Error client_error(const std::string& detail);
// Reading a topic was refused.
Error read_authorization(const std::string& topic, const SinkOptions& options);
// No broker answered within the bound. `code`: the last connection error.
Error connection_error(rd_kafka_resp_err_t code, const std::string& detail, const SinkOptions& options);
// CreateTopics refused a topic.
Error create_error(rd_kafka_resp_err_t code, const std::string& detail, const std::string& topic,
                   const SinkOptions& options);

}  // namespace walferry
