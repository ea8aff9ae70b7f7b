// Reads the ends of topics: the progress record, and after a crash what has been written after it. Sees what
// is committed only.
//
// Thread contract: one thread. Errors: Error; kafka_unreachable when nothing comes within
// SinkOptions::request_timeout.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sink/options.h"

struct rd_kafka_s;
struct rd_kafka_topic_s;

namespace walferry {

struct PartitionRef {
    std::string topic;
    int32_t partition = 0;

    friend bool operator==(const PartitionRef&, const PartitionRef&) = default;
};

// Valid during the visit only. data() is null where there is nothing.
struct ReadRecord {
    size_t from;  // index in the list that was asked for
    int64_t offset;
    std::string_view key;
    std::string_view value;
    std::string_view position;  // of the header walferry.position
};

class TopicReader {
 public:
    // Called now and then while waiting; false gives up (source_stopped).
    using KeepGoing = std::function<bool()>;
    using Visit = std::function<void(const ReadRecord&)>;

    struct From {
        PartitionRef partition;
        int64_t offset;
    };
    // Offsets of the first record and after the last one.
    struct Bounds {
        int64_t begin = 0;
        int64_t end = 0;
    };

    TopicReader(const SinkOptions& options, KeepGoing keep_going);
    ~TopicReader();
    TopicReader(const TopicReader&) = delete;
    TopicReader& operator=(const TopicReader&) = delete;

    // Number of partitions; nothing if there is no such topic.
    std::optional<int32_t> partitions(const std::string& topic);
    Bounds bounds(const PartitionRef& partition);
    // Of many at once, in their order.
    std::vector<Bounds> bounds(std::span<const PartitionRef> partitions);
    // All records from there to the end as it is now, partition by partition in order. A transaction that is
    // still open hides what comes after its beginning: waits for it, at most SinkOptions::request_timeout;
    // false if something stayed hidden.
    bool read(std::span<const From> partitions, const Visit& visit);

 private:
    class Tails;

    rd_kafka_s* make_consumer(const char* isolation) const;
    rd_kafka_topic_s* topic(const std::string& name);
    std::vector<int64_t> offsets_at(std::span<const PartitionRef> partitions, int64_t place);

    SinkOptions options_;
    KeepGoing keep_going_;
    rd_kafka_s* consumer_ = nullptr;
    rd_kafka_s* ends_ = nullptr;  // sees also what is not committed, and so where a topic really ends
    std::unordered_map<std::string, rd_kafka_topic_s*> topics_;
};

}  // namespace walferry
