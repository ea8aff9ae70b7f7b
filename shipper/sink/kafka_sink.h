// The Kafka producer: idempotent, acknowledged by all in-sync replicas, bounded in bytes.
//
// A message carries its group (progress/ack_tracker.h) and the hash of its partition in librdkafka's
// per-message opaque: nothing is allocated or looked up per message on our side. Delivery reports come in
// batches through librdkafka's event queue, whose file descriptor stands next to the PostgreSQL socket in one
// poll(2).
//
// A broker that is away loses nothing: messages wait without a time limit, produce() says queue_full, and
// brokers_up() and last_error() tell why. An Error means that this producer is done: the caller drops it, and
// where the error's retry class says so makes a new one and starts again from the last confirmed position.
//
// Thread contract: one thread. Errors: Error.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "error/error.h"
#include "sink/log_limiter.h"
#include "sink/options.h"
#include "sink/statistics.h"

struct rd_kafka_s;
struct rd_kafka_topic_s;
struct rd_kafka_queue_s;
struct rd_kafka_op_s;

namespace walferry {

enum class Produced { ok, queue_full };

// Of sink/topics.h, and valid as long as that object. One for each of the producers that it serves.
struct TopicHandle {
    std::array<rd_kafka_topic_s*, 2> of{};
};

// Of a topic: the offset after the last message of each partition that was acknowledged; -1: none was.
using AcknowledgedOffsets = std::vector<int64_t>;

// So many messages of a group have been acknowledged.
struct Acknowledged {
    uint32_t group;
    uint32_t messages;
};

// Instead of a partition hash: a progress record. It goes to partition 0 and belongs to no group.
inline constexpr uint32_t kProgressMark = UINT32_MAX;

// A record header beyond position and origin. The name ends in a zero byte.
struct MessageHeader {
    const char* name;
    std::string_view value;
};
inline constexpr size_t kMaxExtraHeaders = 16;

// The record headers that hold a message's position in the source, and where the source has it from.
inline constexpr char kPositionHeader[] = "walferry.position";
inline constexpr char kOriginHeader[] = "walferry.origin";

class KafkaSink {
 public:
    // Checks every property; needs no broker. Throws Error (kafka_property).
    explicit KafkaSink(SinkOptions options);
    // Drops what is still under way, without waiting for the brokers.
    ~KafkaSink();
    KafkaSink(const KafkaSink&) = delete;
    KafkaSink& operator=(const KafkaSink&) = delete;

    // Waits for a broker to answer, at most SinkOptions::request_timeout; a refused login throws at once,
    // and so does, within two seconds, `stop` (source_stopped).
    void connect(const std::atomic<bool>* stop = nullptr);

    // Copies key, value and headers. A key or header whose data() is null is absent; an empty one is there
    // and empty. partition = partition_hash % number of partitions. queue_full: call poll() and try again.
    // At most kMaxExtraHeaders in `extra`.
    Produced produce(rd_kafka_topic_s* topic, std::string_view key, std::string_view value,
                     std::string_view position, uint32_t partition_hash, uint32_t group,
                     std::string_view origin = {}, std::span<const MessageHeader> extra = {});

    // Readable when poll() has something to do. Owned by the sink.
    int wake_fd() const { return wake_fd_; }
    // Takes all reports that are there; waits up to `wait` for the first one. Neighbouring reports of one
    // group are merged. The result is valid until the next call. A failed message or producer throws, at the
    // latest in the next call, after the acknowledgements that came with it were returned.
    std::span<const Acknowledged> poll(std::chrono::milliseconds wait = std::chrono::milliseconds(0));

    // Waits until everything is acknowledged; false when the time is over before. `acknowledged` is called
    // with each span of poll().
    template <typename Function>
    bool flush(std::chrono::milliseconds timeout, Function&& acknowledged) {
        const auto deadline = std::chrono::steady_clock::now() + timeout;
        while (queued_messages_ > 0) {
            const auto left =
                std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
            if (left.count() <= 0) return false;
            acknowledged(poll(left));
        }
        return true;
    }
    // Gives up what is still under way; its reports are neither acknowledgements nor errors.
    void purge();

    // How many messages with kProgressMark have been acknowledged.
    uint64_t progress_records() const { return progress_records_; }
    // Takes the offsets down of what is acknowledged in topics that were made with an AcknowledgedOffsets as
    // their opaque.
    void note_offsets(bool on) { note_offsets_ = on; }

    // Messages produced and not acknowledged, and the bytes that they count for.
    size_t queued_messages() const { return queued_messages_; }
    size_t queued_bytes() const { return queued_bytes_; }
    SinkStatistics statistics() const;
    // False from the moment when librdkafka has lost all brokers until one has answered again.
    bool brokers_up() const { return brokers_up_; }
    // The last connection error, for logs; empty when there was none.
    const std::string& last_error() const { return last_error_; }
    // How long messages have been waiting without any acknowledgement; 0 when none waits. Long with brokers
    // up: most likely a topic with fewer in-sync replicas than min.insync.replicas, which librdkafka retries
    // in silence.
    std::chrono::milliseconds stalled_for() const;

    const SinkOptions& options() const { return options_; }
    rd_kafka_s* handle() const { return producer_; }

 private:
    void serve(rd_kafka_op_s* event);
    void serve_deliveries(rd_kafka_op_s* event);
    void serve_error(rd_kafka_op_s* event);
    void drain(int wait_ms);
    void fail(Error error);
    void wake() const;

    SinkOptions options_;
    LogLimiter log_;  // outlives the producer, whose threads log
    rd_kafka_s* producer_ = nullptr;
    rd_kafka_queue_s* queue_ = nullptr;
    int wake_fd_ = -1;

    size_t queued_messages_ = 0;
    size_t queued_bytes_ = 0;
    uint64_t acknowledged_messages_ = 0;
    uint64_t acknowledged_bytes_ = 0;
    std::chrono::steady_clock::time_point last_progress_{};

    std::vector<Acknowledged> acknowledged_;
    uint64_t progress_records_ = 0;
    bool note_offsets_ = false;
    std::optional<Error> failure_;
    bool purged_ = false;
    bool brokers_up_ = false;
    BrokerCount brokers_;
    int connection_error_ = 0;  // rd_kafka_resp_err_t of last_error_
    std::string last_error_;
};

}  // namespace walferry
