// The topics that the sink writes to: found, created where they are missing and creation is allowed, and kept
// as handles.
//
// Existence is read from the cluster's list of topics, not asked per topic: a producer's question about one
// topic makes a broker with auto.create.topics.enable create it, with the broker's settings and not with
// ours.
//
// Thread contract: the sink's thread. Errors: Error.
#pragma once

#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "sink/kafka_sink.h"

namespace walferry {

class Topics {
 public:
    // `sink` must live longer.
    explicit Topics(KafkaSink& sink) : sink_(sink) {}
    ~Topics();
    Topics(const Topics&) = delete;
    Topics& operator=(const Topics&) = delete;

    // The handle of a topic, which exists after the call. The first call for a name may ask the cluster, and
    // waits for it at most twice SinkOptions::request_timeout; keep the handle rather than calling per row.
    TopicHandle get(const std::string& name);
    // The same for many topics, with one request each for listing and creating.
    void ensure(std::span<const std::string> names);

 private:
    std::vector<std::string> missing_of(std::span<const std::string> names) const;
    void list();
    void create(std::span<const std::string> names);

    KafkaSink& sink_;
    std::unordered_map<std::string, rd_kafka_topic_s*> handles_;
    std::unordered_set<std::string> existing_;
    bool listed_ = false;
};

}  // namespace walferry
