// The topics that the sink writes to: found, created where they are missing and creation is allowed, and kept
// as handles.
//
// Existence is read from the cluster's list of topics, not asked per topic: a producer's question about one
// topic makes a broker with auto.create.topics.enable create it, with the broker's settings and not with
// ours.
//
// Thread contract: the sink's thread. Errors: Error.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "sink/kafka_sink.h"

namespace walferry {

class Topics {
 public:
    // One or two producers, which must live longer. The first one asks the cluster.
    // `keep_going` is called now and then while the cluster is asked; false gives up (source_stopped).
    using KeepGoing = std::function<bool()>;
    explicit Topics(
        std::vector<KafkaSink*> sinks, KeepGoing keep_going = [] { return true; })
        : sinks_(std::move(sinks)), sink_(*sinks_.front()), keep_going_(std::move(keep_going)) {}
    ~Topics();
    Topics(const Topics&) = delete;
    Topics& operator=(const Topics&) = delete;

    // The handle of a topic, which exists after the call. The first call for a name may ask the cluster, and
    // waits for it at most twice SinkOptions::request_timeout; keep the handle rather than calling per row.
    TopicHandle get(const std::string& name);
    // The same for many topics, with one request each for listing and creating.
    void ensure(std::span<const std::string> names);
    // As get(), of a topic with one partition, of which only the latest record of each key is kept.
    TopicHandle get_compacted(const std::string& name);

    // What was acknowledged in each topic that get() has been called for.
    const std::map<std::string, AcknowledgedOffsets>& offsets() const { return offsets_; }

 private:
    TopicHandle handle(const std::string& name, bool with_offsets);
    std::vector<std::string> missing_of(std::span<const std::string> names) const;
    void list();
    void create(std::span<const std::string> names, bool compacted = false);

    std::vector<KafkaSink*> sinks_;
    KafkaSink& sink_;
    KeepGoing keep_going_;
    std::unordered_map<std::string, TopicHandle> handles_;
    std::map<std::string, AcknowledgedOffsets> offsets_;
    std::unordered_set<std::string> existing_;
    bool listed_ = false;
};

}  // namespace walferry
