#include "sink/topic_reader.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>

#include <librdkafka/rdkafka.h>

#include "error/error.h"
#include "sink/deleter.h"
#include "sink/errors.h"
#include "sink/kafka_sink.h"

namespace walferry {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kSlice{100};
// Of waiting for the answer to a request.
constexpr milliseconds kFirstSlice{250};
constexpr milliseconds kLongestSlice{1000};
// Between questions that are answered at once, but not well.
constexpr milliseconds kPause{20};
constexpr size_t kRecordsAtOnce = 2000;
// librdkafka looks for each of them among the others.
constexpr size_t kPartitionsAtOnce = 250;
// From so many on one list of all topics costs less than a question for each.
constexpr size_t kManyTopics = 10;
// librdkafka stops fetching while more than this waits for us, which is rare: it is slower than we are.
constexpr char kQueuedKilobytes[] = "65536";
constexpr char kQueuedMessages[] = "500000";
// When nothing comes for so long, its threads may be asleep.
constexpr milliseconds kPatience{10};
constexpr size_t kWokenAtOnce = 100;

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

using Queue = std::unique_ptr<rd_kafka_queue_t, Deleter<rd_kafka_queue_destroy>>;
using Metadata = std::unique_ptr<const struct rd_kafka_metadata, Deleter<rd_kafka_metadata_destroy>>;
using PartitionList =
    std::unique_ptr<rd_kafka_topic_partition_list_t, Deleter<rd_kafka_topic_partition_list_destroy>>;

int milliseconds_of(milliseconds time) {
    return static_cast<int>(time.count());
}

PartitionList make_list(size_t size) {
    return PartitionList(rd_kafka_topic_partition_list_new(static_cast<int>(size)));
}

// What has come, at most `wait` later; given back also when somebody throws, or the consumer could never end.
class Messages {
 public:
    Messages(rd_kafka_queue_t* queue, milliseconds wait) : messages_(kRecordsAtOnce) {
        size_t count = take(queue, 0);
        if (count == 0) {
            // Asked for many, librdkafka waits for all of them.
            messages_[0] = rd_kafka_consume_queue(queue, milliseconds_of(wait));
            if (messages_[0] != nullptr) count = 1 + take(queue, 1);
        }
        messages_.resize(count);
    }
    ~Messages() {
        for (rd_kafka_message_t* message : messages_) rd_kafka_message_destroy(message);
    }
    Messages(const Messages&) = delete;
    Messages& operator=(const Messages&) = delete;

    const std::vector<rd_kafka_message_t*>& all() const { return messages_; }

 private:
    size_t take(rd_kafka_queue_t* queue, size_t first) {
        const ssize_t count =
            rd_kafka_consume_batch_queue(queue, 0, messages_.data() + first, messages_.size() - first);
        return count > 0 ? static_cast<size_t>(count) : 0;
    }

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
    // While a broker waits with an answer it takes no question about what is read next.
    set("fetch.wait.max.ms", "2");
    // Of a partition. Larger ones cost more: what was unpacked has left the cache when it is looked at.
    set("fetch.message.max.bytes", "262144");
    set("fetch.error.backoff.ms", "50");
    set("queued.max.messages.kbytes", kQueuedKilobytes);
    set("queued.min.messages", kQueuedMessages);
    // Later versions of librdkafka have this, and then wait for a second without it.
    rd_kafka_conf_set(conf, "fetch.queue.backoff.ms", "10", nullptr, 0);
    set("allow.auto.create.topics", "false");
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
    const auto wait = [&] {
        if (!keep_going_()) throw stopped();
        if (Clock::now() >= deadline)
            throw connection_error(RD_KAFKA_RESP_ERR__TIMED_OUT, "while looking for topic " + name, options_);
        std::this_thread::sleep_for(kPause);
    };
    while (!listed_) {
        listed_ = ask_partitions(nullptr);
        if (!listed_) wait();
    }
    const auto known = partitions_.find(name);
    if (known != partitions_.end()) return known->second;
    while (!ask_partitions(&name)) wait();
    const auto found = partitions_.find(name);
    return found == partitions_.end() ? std::nullopt : std::optional(found->second);
}

bool TopicReader::ask_partitions(const std::string* name) {
    const struct rd_kafka_metadata* answer = nullptr;
    const rd_kafka_resp_err_t code =
        name == nullptr ? rd_kafka_metadata(ends_, 1, nullptr, &answer, milliseconds_of(kSlice * 5))
                        : rd_kafka_metadata(consumer_, 0, topic(*name), &answer, milliseconds_of(kSlice * 5));
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return false;
    const Metadata metadata(answer);
    for (int i = 0; i < metadata->topic_cnt; ++i) {
        const auto& found = metadata->topics[i];
        if (name != nullptr && *name != found.topic) continue;
        switch (found.err) {
            case RD_KAFKA_RESP_ERR_NO_ERROR:
                break;
            case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
            case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
                continue;
            default:
                if (name != nullptr) return false;
                continue;
        }
        // Of a list of all, those that have no leader may be none of ours.
        const bool settled =
            std::all_of(found.partitions, found.partitions + found.partition_cnt,
                        [](const auto& partition) { return partition.err == RD_KAFKA_RESP_ERR_NO_ERROR; });
        if (settled)
            partitions_[found.topic] = found.partition_cnt;
        else if (name != nullptr)
            return false;
    }
    return true;
}

std::vector<int64_t> TopicReader::begins(std::span<const PartitionRef> partitions) {
    return offsets(partitions, RD_KAFKA_OFFSET_BEGINNING);
}

std::vector<int64_t> TopicReader::ends(std::span<const PartitionRef> partitions) {
    return offsets(partitions, RD_KAFKA_OFFSET_END);
}

TopicReader::Bounds TopicReader::bounds(const PartitionRef& partition) {
    const std::span<const PartitionRef> alone(&partition, 1);
    return {begins(alone).front(), ends(alone).front()};
}

std::vector<int64_t> TopicReader::offsets(std::span<const PartitionRef> partitions, int64_t which) {
    std::vector<int64_t> found;
    found.reserve(partitions.size());
    while (!partitions.empty()) {
        const auto some = partitions.first(std::min(partitions.size(), kPartitionsAtOnce));
        partitions = partitions.subspan(some.size());
        ask_offsets(some, which, found);
    }
    return found;
}

// In Kafka's protocol beginning and end are the offsets "for the times" -2 and -1. The call that librdkafka
// has for both of a partition waits for an answer until the request's own time is over, a minute, whatever
// its argument says.
void TopicReader::ask_offsets(std::span<const PartitionRef> partitions, int64_t which,
                              std::vector<int64_t>& found) {
    const PartitionList list = make_list(partitions.size());
    for (const PartitionRef& ref : partitions)
        rd_kafka_topic_partition_list_add(list.get(), ref.topic.c_str(), ref.partition);
    const std::span<rd_kafka_topic_partition_t> asked(list->elems, partitions.size());
    const auto deadline = Clock::now() + options_.request_timeout;
    // An answer that comes after its slice is lost: a slow broker must get a longer one.
    for (milliseconds slice = kFirstSlice;; slice = std::min(slice * 2, kLongestSlice)) {
        if (!keep_going_()) throw stopped();
        for (rd_kafka_topic_partition_t& one : asked) {
            one.offset = which;
            one.err = RD_KAFKA_RESP_ERR_NO_ERROR;
        }
        rd_kafka_resp_err_t code = rd_kafka_offsets_for_times(ends_, list.get(), milliseconds_of(slice));
        const auto failed = std::find_if(asked.begin(), asked.end(), [](const auto& one) {
            return one.err != RD_KAFKA_RESP_ERR_NO_ERROR || one.offset < 0;
        });
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR && failed == asked.end()) break;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) code = failed->err;
        if (Clock::now() >= deadline) {
            const std::string topic = failed == asked.end() ? partitions.front().topic : failed->topic;
            throw connection_error(code, "while asking for the end of topic " + topic, options_);
        }
        if (code != RD_KAFKA_RESP_ERR__TIMED_OUT) std::this_thread::sleep_for(kPause);
    }
    for (const rd_kafka_topic_partition_t& one : asked) found.push_back(one.offset);
}

// The partitions that are being read, and how far.
class TopicReader::Tails {
 public:
    Tails(TopicReader& reader, std::span<const Range> ranges)
        : reader_(reader), queue_(rd_kafka_queue_new(reader.consumer_)) {
        reader.learn(ranges);
        open_.reserve(ranges.size());
        for (size_t i = 0; i < ranges.size(); ++i) {
            const Range& range = ranges[i];
            const auto& [name, partition] = range.partition;
            if (range.begin >= range.end) continue;
            rd_kafka_topic_t* topic = reader.topic(name);
            const auto place = static_cast<size_t>(partition);
            std::vector<size_t>& of_topic = by_topic_[topic];
            of_topic.resize(std::max(of_topic.size(), place + 1), kNone);
            of_topic[place] = open_.size();
            open_.push_back({i, topic, partition, range.end});
            if (rd_kafka_consume_start_queue(topic, partition, range.begin, queue_.get()) != 0)
                throw connection_error(rd_kafka_last_error(), "while reading topic " + name, reader.options_);
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
        auto woken = heard;
        while (left_ > 0) {
            const Messages messages(queue_.get(), kPatience);
            const auto now = Clock::now();
            for (const rd_kafka_message_t* message : messages.all()) {
                if (take(*message, visit)) heard = now;
            }
            if (!reader_.keep_going_()) throw stopped();
            if (messages.all().empty() && (woken < heard || now - woken >= kSlice)) {
                wake();
                woken = Clock::now();
            }
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

    // The thread of a broker that found our queue full sleeps, for up to a second, whether or not it has been
    // emptied meanwhile. Any question to its broker wakes it.
    void wake() {
        const PartitionList some = make_list(kWokenAtOnce);
        // Spread, so that each broker is among them.
        const size_t step = left_ / kWokenAtOnce + 1;
        size_t count = 0;
        for (const Tail& tail : open_) {
            if (tail.done || count++ % step != 0) continue;
            rd_kafka_topic_partition_list_add(some.get(), rd_kafka_topic_name(tail.topic), tail.partition)
                ->offset = RD_KAFKA_OFFSET_END;
        }
        // The answer does not matter, nor whether there is one.
        static_cast<void>(rd_kafka_offsets_for_times(reader_.consumer_, some.get(), milliseconds_of(kSlice)));
    }

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

// What librdkafka does not know yet it would ask for topic by topic.
void TopicReader::learn(std::span<const Range> ranges) {
    if (learned_ || ranges.size() < kManyTopics) return;
    const struct rd_kafka_metadata* answer = nullptr;
    if (rd_kafka_metadata(consumer_, 1, nullptr, &answer, milliseconds_of(kSlice * 5)) !=
        RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    const Metadata metadata(answer);
    learned_ = true;
}

bool TopicReader::read(std::span<const Range> ranges, const Visit& visit) {
    Tails tails(*this, ranges);
    return tails.run(visit);
}

}  // namespace walferry
