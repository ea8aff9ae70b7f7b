// What a topic takes, as its brokers tell it.
#pragma once

#include <cstddef>
#include <functional>
#include <string>

#include "sink/kafka_sink.h"

namespace walferry {

struct TopicLimits {
    size_t message_bytes = kDefaultMessageBytes;  // the largest batch; one message in it passes
    bool compacted = false;                       // keeps the last message of each key only
    bool known = false;  // false: the brokers did not say, these are Kafka's defaults

    static constexpr size_t kDefaultMessageBytes = 1048588;  // of a broker without settings
};

// Asks for a topic that exists; waits at most SinkOptions::request_timeout. A refusal gives the defaults, and
// throws no Error; brokers that do not answer do (kafka_unreachable). `keep_going` is called now and then;
// false gives up (source_stopped).
TopicLimits describe_limits(const KafkaSink& sink, const std::string& topic,
                            const std::function<bool()>& keep_going);

// Properties of the producer, whoever has set them: the largest message that it sends, and the largest batch
// of several.
size_t largest_message(const KafkaSink& sink);
size_t largest_batch(const KafkaSink& sink);

}  // namespace walferry
