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

    // What to read of a partition: the records with these offsets.
    struct Range {
        PartitionRef partition;
        int64_t begin;
        int64_t end;
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

    // Number of partitions; nothing if there is no such topic. What the cluster has is asked for once; only a
    // topic that was not there then is asked for by itself.
    std::optional<int32_t> partitions(const std::string& name);
    // Of each partition the offset of the first record, or after the last one, committed or not. Hundreds of
    // them are asked for by one request.
    std::vector<int64_t> begins(std::span<const PartitionRef> partitions);
    std::vector<int64_t> ends(std::span<const PartitionRef> partitions);
    Bounds bounds(const PartitionRef& partition);
    // All records of the ranges, partition by partition in order; ends are not to be beyond those of ends().
    // A transaction that is still open hides what comes after its beginning: waits for it, at most
    // SinkOptions::request_timeout; false if something stayed hidden.
    bool read(std::span<const Range> ranges, const Visit& visit);

 private:
    class Tails;

    rd_kafka_s* make_consumer(const char* isolation) const;
    rd_kafka_topic_s* topic(const std::string& name);
    // Asks for one topic, or for all. False: the brokers do not know all of it yet.
    bool ask_partitions(const std::string* name);
    void learn(std::span<const Range> ranges);
    std::vector<int64_t> offsets(std::span<const PartitionRef> partitions, int64_t which);
    // Of as many as one request may ask for.
    void ask_offsets(std::span<const PartitionRef> partitions, int64_t which, std::vector<int64_t>& found);

    SinkOptions options_;
    KeepGoing keep_going_;
    rd_kafka_s* consumer_ = nullptr;
    rd_kafka_s* ends_ = nullptr;  // sees also what is not committed, and so where a topic really ends
    std::unordered_map<std::string, int32_t> partitions_;  // of each topic that is known
    bool listed_ = false;
    bool learned_ = false;
    std::unordered_map<std::string, rd_kafka_topic_s*> topics_;
};

}  // namespace walferry
