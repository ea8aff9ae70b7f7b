// Whether Kafka gets on with what it was given: librdkafka retries in silence, for example while a topic has
// too few in-sync replicas, or while a commit's coordinator is away.
//
// Thread contract: one thread. Errors: Error.
#pragma once

#include <chrono>

#include "run/pipeline.h"

namespace walferry {

class KafkaWatch {
 public:
    // `window`: for how long Kafka may stand still.
    explicit KafkaWatch(std::chrono::milliseconds window) : window_(window) {}

    // Call it now and then. Says in the log when Kafka stands still, and when it goes on. Throws
    // kafka_window_over.
    void look(const Pipeline& pipeline);

 private:
    std::chrono::milliseconds window_;
    bool waits_ = false;         // the log has said that nothing is acknowledged,
    bool commit_waits_ = false;  // that a commit is not answered
};

}  // namespace walferry
