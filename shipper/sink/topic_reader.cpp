#include "sink/topic_reader.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <utility>

#include <librdkafka/rdkafka.h>

#include "error/error.h"
#include "sink/errors.h"
#include "sink/kafka_sink.h"

namespace walferry {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kSlice{100};
constexpr size_t kRecordsAtOnce = 2000;
// Of waiting for the answer to a request.
constexpr milliseconds kFirstSlice{250};
constexpr milliseconds kLongestSlice{1000};

// What a consumer needs of the producer's properties: how to reach the brokers.
bool concerns_connections(const std::string& name) {
    for (const char* prefix : {"security.", "sasl.", "ssl.", "enable.ssl.", "enable.sasl.", "socket.",
                               "broker.address.", "broker.version.", "api.version.", "metadata.max.age",
                               "reconnect.", "client.dns", "client.rack", "resolve."}) {
        if (name.starts_with(prefix)) return true;
    }
    return false;
}

Error stopped() {
    return {ErrorCode::source_stopped, "Stopped while reading from Kafka", "",
            "Nothing is lost: the next start reads again."};
}

struct DestroyQueue {
    void operator()(rd_kafka_queue_t* queue) const { rd_kafka_queue_destroy(queue); }
};
using Queue = std::unique_ptr<rd_kafka_queue_t, DestroyQueue>;

struct DestroyPartitions {
    void operator()(rd_kafka_topic_partition_list_t* list) const {
        rd_kafka_topic_partition_list_destroy(list);
    }
};
using Partitions = std::unique_ptr<rd_kafka_topic_partition_list_t, DestroyPartitions>;

// What has come, at most kSlice later; given back also when somebody throws, or the consumer could never end.
class Messages {
 public:
    explicit Messages(rd_kafka_queue_t* queue) : messages_(kRecordsAtOnce) {
        const ssize_t count = rd_kafka_consume_batch_queue(queue, static_cast<int>(kSlice.count()),
                                                           messages_.data(), messages_.size());
        messages_.resize(count > 0 ? static_cast<size_t>(count) : 0);
    }
    ~Messages() {
        for (rd_kafka_message_t* message : messages_) rd_kafka_message_destroy(message);
    }
    Messages(const Messages&) = delete;
    Messages& operator=(const Messages&) = delete;

    const std::vector<rd_kafka_message_t*>& all() const { return messages_; }

 private:
    std::vector<rd_kafka_message_t*> messages_;
};

std::string_view position_header(const rd_kafka_message_t& message) {
    rd_kafka_headers_t* headers = nullptr;
    if (rd_kafka_message_headers(&message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR) return {};
    const void* value = nullptr;
    size_t size = 0;
    if (rd_kafka_header_get_last(headers, kPositionHeader, &value, &size) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return {};
    return {static_cast<const char*>(value), size};
}

}  // namespace

TopicReader::TopicReader(const SinkOptions& options, KeepGoing keep_going)
    : options_(options), keep_going_(std::move(keep_going)), consumer_(make_consumer("read_committed")) {
    try {
        ends_ = make_consumer("read_uncommitted");
    } catch (...) {
        rd_kafka_destroy_flags(consumer_, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
        throw;
    }
}

rd_kafka_t* TopicReader::make_consumer(const char* isolation) const {
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    std::array<char, 512> text{};
    const auto set = [&](const std::string& name, const std::string& value) {
        if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), text.data(), text.size()) !=
            RD_KAFKA_CONF_OK) {
            rd_kafka_conf_destroy(conf);
            throw Error(ErrorCode::kafka_property, "Kafka refused the property \"" + name + "\"", text.data(),
                        "Change it under [sink.kafka].");
        }
    };
    set("bootstrap.servers", options_.brokers);
    set("client.id", options_.client_id);
    set("isolation.level", isolation);
    set("enable.partition.eof", "true");
    set("fetch.wait.max.ms", "20");
    set("fetch.error.backoff.ms", "50");
    set("queued.max.messages.kbytes", "16384");
    set("reconnect.backoff.max.ms", "1000");
    // What goes wrong is told by the events below.
    set("log_level", "0");
    for (const auto& [name, value] : options_.properties) {
        if (concerns_connections(name)) set(name, value);
    }
    rd_kafka_t* consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, text.data(), text.size());
    if (consumer == nullptr) {
        rd_kafka_conf_destroy(conf);
        throw client_error(text.data());
    }
    return consumer;
}

TopicReader::~TopicReader() {
    for (const auto& [name, topic] : topics_) rd_kafka_topic_destroy(topic);
    for (rd_kafka_t* consumer : {consumer_, ends_})
        rd_kafka_destroy_flags(consumer, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

rd_kafka_topic_t* TopicReader::topic(const std::string& name) {
    rd_kafka_topic_t*& topic = topics_[name];
    if (topic == nullptr) topic = rd_kafka_topic_new(consumer_, name.c_str(), nullptr);
    return topic;
}

std::optional<int32_t> TopicReader::partitions(const std::string& name) {
    const auto deadline = Clock::now() + options_.request_timeout;
    while (true) {
        const struct rd_kafka_metadata* metadata = nullptr;
        // All topics: a question about one could create it.
        const rd_kafka_resp_err_t code =
            rd_kafka_metadata(consumer_, 1, nullptr, &metadata, static_cast<int>(kSlice.count()) * 5);
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            std::optional<int32_t> count;
            bool settled = true;
            for (int i = 0; i < metadata->topic_cnt; ++i) {
                const auto& found = metadata->topics[i];
                if (name != found.topic) continue;
                if (found.err == RD_KAFKA_RESP_ERR_NO_ERROR)
                    count = found.partition_cnt;
                else if (found.err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
                    settled = false;
                for (int j = 0; j < found.partition_cnt; ++j)
                    settled &= found.partitions[j].err == RD_KAFKA_RESP_ERR_NO_ERROR;
            }
            rd_kafka_metadata_destroy(metadata);
            if (settled) return count;
        }
        if (!keep_going_()) throw stopped();
        if (Clock::now() >= deadline)
            throw connection_error(code, "while looking for topic " + name, options_);
    }
}

TopicReader::Bounds TopicReader::bounds(const PartitionRef& partition) {
    return bounds(std::span(&partition, 1)).front();
}

std::vector<TopicReader::Bounds> TopicReader::bounds(std::span<const PartitionRef> partitions) {
    const std::vector<int64_t> begins = offsets_at(partitions, RD_KAFKA_OFFSET_BEGINNING);
    const std::vector<int64_t> ends = offsets_at(partitions, RD_KAFKA_OFFSET_END);
    std::vector<Bounds> bounds(partitions.size());
    for (size_t i = 0; i < bounds.size(); ++i) bounds[i] = {begins[i], ends[i]};
    return bounds;
}

// `place`: the beginning or the end, which Kafka's requests tell by the same numbers. The call that
// librdkafka has for both waits for an answer until the request's own time is over, a minute, whatever its
// argument says.
std::vector<int64_t> TopicReader::offsets_at(std::span<const PartitionRef> partitions, int64_t place) {
    if (partitions.empty()) return {};
    const Partitions asked(rd_kafka_topic_partition_list_new(static_cast<int>(partitions.size())));
    for (const PartitionRef& ref : partitions)
        rd_kafka_topic_partition_list_add(asked.get(), ref.topic.c_str(), ref.partition);
    const auto deadline = Clock::now() + options_.request_timeout;
    // An answer that comes after its slice is lost: a slow broker must get a longer one.
    for (milliseconds slice = kFirstSlice;; slice = std::min(slice * 2, kLongestSlice)) {
        if (!keep_going_()) throw stopped();
        for (int i = 0; i < asked->cnt; ++i) {
            asked->elems[i].offset = place;
            asked->elems[i].err = RD_KAFKA_RESP_ERR_NO_ERROR;
        }
        rd_kafka_resp_err_t code =
            rd_kafka_offsets_for_times(ends_, asked.get(), static_cast<int>(slice.count()));
        const auto* const failed = std::find_if(asked->elems, asked->elems + asked->cnt, [](const auto& one) {
            return one.err != RD_KAFKA_RESP_ERR_NO_ERROR || one.offset < 0;
        });
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR && failed == asked->elems + asked->cnt) break;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) code = failed->err;
        if (Clock::now() >= deadline) {
            const std::string topic =
                failed == asked->elems + asked->cnt ? partitions.front().topic : failed->topic;
            throw connection_error(code, "while asking for the end of topic " + topic, options_);
        }
    }
    std::vector<int64_t> offsets;
    offsets.reserve(partitions.size());
    for (int i = 0; i < asked->cnt; ++i) offsets.push_back(asked->elems[i].offset);
    return offsets;
}

// The partitions that are being read, and how far.
class TopicReader::Tails {
 public:
    Tails(TopicReader& reader, std::span<const From> partitions)
        : reader_(reader), queue_(rd_kafka_queue_new(reader.consumer_)) {
        std::vector<PartitionRef> refs;
        refs.reserve(partitions.size());
        for (const From& from : partitions) refs.push_back(from.partition);
        const std::vector<Bounds> bounds = reader.bounds(refs);
        for (size_t i = 0; i < partitions.size(); ++i) {
            const PartitionRef& ref = refs[i];
            const int64_t end = bounds[i].end;
            if (partitions[i].offset >= end) continue;
            rd_kafka_topic_t* topic = reader.topic(ref.topic);
            open_.push_back({i, topic, ref.partition, end});
            by_topic_[topic].resize(
                std::max<size_t>(by_topic_[topic].size(), static_cast<size_t>(ref.partition) + 1), kNone);
            by_topic_[topic][static_cast<size_t>(ref.partition)] = open_.size() - 1;
            if (rd_kafka_consume_start_queue(topic, ref.partition, partitions[i].offset, queue_.get()) != 0)
                throw connection_error(rd_kafka_last_error(), "while reading topic " + ref.topic,
                                       reader.options_);
        }
        left_ = open_.size();
    }
    ~Tails() {
        for (const Tail& tail : open_) rd_kafka_consume_stop(tail.topic, tail.partition);
    }
    Tails(const Tails&) = delete;
    Tails& operator=(const Tails&) = delete;

    // False if something stayed hidden.
    bool run(const Visit& visit) {
        auto heard = Clock::now();
        while (left_ > 0) {
            Messages messages(queue_.get());
            const auto now = Clock::now();
            for (const rd_kafka_message_t* message : messages.all()) {
                if (take(*message, visit)) heard = now;
            }
            if (!reader_.keep_going_()) throw stopped();
            if (now - heard < reader_.options_.request_timeout) continue;
            // Nothing but the ends of what is visible has come: an open transaction hides the rest.
            if (std::all_of(open_.begin(), open_.end(),
                            [](const Tail& tail) { return tail.done || tail.end_seen; }))
                return false;
            throw connection_error(last_error_, "while reading the ends of topics", reader_.options_);
        }
        return true;
    }

 private:
    static constexpr size_t kNone = SIZE_MAX;
    struct Tail {
        size_t index;
        rd_kafka_topic_t* topic;
        int32_t partition;
        int64_t end;
        bool end_seen = false;
        bool done = false;
    };

    // Whether it was a step forward.
    bool take(const rd_kafka_message_t& message, const Visit& visit) {
        if (message.rkt == nullptr) {
            last_error_ = message.err;
            return false;
        }
        Tail& tail = open_[by_topic_.at(message.rkt)[static_cast<size_t>(message.partition)]];
        switch (message.err) {
            case RD_KAFKA_RESP_ERR_NO_ERROR:
                if (!tail.done && message.offset < tail.end) {
                    visit({tail.index,
                           message.offset,
                           {static_cast<const char*>(message.key), message.key_len},
                           {static_cast<const char*>(message.payload), message.len},
                           position_header(message)});
                }
                if (message.offset + 1 >= tail.end) finish(tail);
                return true;
            case RD_KAFKA_RESP_ERR__PARTITION_EOF:
                tail.end_seen = true;
                if (message.offset >= tail.end) {
                    finish(tail);
                    return true;
                }
                return false;
            case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
            case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
                finish(tail);  // deleted meanwhile
                return true;
            case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
                throw read_authorization(rd_kafka_topic_name(message.rkt), reader_.options_);
            default:
                last_error_ = message.err;
                return false;
        }
    }

    void finish(Tail& tail) {
        if (!std::exchange(tail.done, true)) --left_;
    }

    TopicReader& reader_;
    Queue queue_;
    std::vector<Tail> open_;
    std::unordered_map<const rd_kafka_topic_t*, std::vector<size_t>> by_topic_;
    size_t left_ = 0;
    rd_kafka_resp_err_t last_error_ = RD_KAFKA_RESP_ERR__TIMED_OUT;
};

bool TopicReader::read(std::span<const From> partitions, const Visit& visit) {
    Tails tails(*this, partitions);
    return tails.run(visit);
}

}  // namespace walferry
