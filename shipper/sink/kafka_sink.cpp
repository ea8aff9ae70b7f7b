#include "sink/kafka_sink.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>
#include <utility>

#include <librdkafka/rdkafka.h>
#include <sys/eventfd.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "sink/errors.h"

namespace walferry {
namespace {

static_assert(sizeof(void*) == 8, "a message's opaque holds its group and its partition hash");

// librdkafka's own memory per message: its bookkeeping, the header list with one header, and what malloc
// adds.
constexpr size_t kMessageOverhead = 400;
constexpr size_t kReportsAtOnce = 1024;

constexpr char kTransactionTimeoutMs[] = "60000";

struct Property {
    const char* name;
    const char* value;
};

constexpr Property kDefaults[] = {
    {"acks", "all"},
    {"enable.idempotence", "true"},
    // A message waits for a broker as long as it takes: the window for connection errors decides, and it
    // decides about the whole producer.
    {"message.timeout.ms", "0"},
    // Measured at 2000 messages/s: 1 ms gives p50 1.1 and p99 2.4 ms, 0 sends one request per message.
    {"linger.ms", "1"},
    {"batch.num.messages", "10000"},
    {"batch.size", "1000000"},
    {"compression.type", "lz4"},
    // The bound is SinkOptions::queue_bytes, which counts the overhead too.
    {"queue.buffering.max.messages", "0"},
    {"queue.buffering.max.kbytes", "2147483647"},
    // What a message may weigh is the topic's decision.
    {"message.max.bytes", "1000000000"},
    {"socket.nagle.disable", "true"},
    {"socket.keepalive.enable", "true"},
    {"reconnect.backoff.max.ms", "2000"},
    {"statistics.interval.ms", "5000"},
};

// What the sink relies on, with the reason that the user is told.
constexpr Property kReserved[] = {
    {"bootstrap.servers", "it is sink.brokers"},
    {"metadata.broker.list", "it is sink.brokers"},
    {"partitioner", "partitions are chosen by sink.partition_by and sink.partition_hash"},
    {"sticky.partitioning.linger.ms", "partitions are chosen by sink.partition_by and sink.partition_hash"},
    {"delivery.report.only.error", "the confirmed position rests on every delivery report"},
    {"transactional.id", "it is made from the task's name, where sink.delivery is exactly-once"},
    {"log.queue", "log lines go to the shipper's own log"},
};

Error property_error(const std::string& name, std::string why, std::string remedy) {
    return Error(ErrorCode::kafka_property,
                 "[sink.kafka] has a property that cannot be used: \"" + name + "\"", std::move(why),
                 std::move(remedy));
}

Error reserved_error(const std::string& name, std::string why) {
    return property_error(name, std::move(why), "Remove it from [sink.kafka]");
}

struct ConfDeleter {
    void operator()(rd_kafka_conf_t* conf) const { rd_kafka_conf_destroy(conf); }
};
using Conf = std::unique_ptr<rd_kafka_conf_t, ConfDeleter>;

void set(const Conf& conf, const std::string& name, const std::string& value) {
    std::array<char, 512> text{};
    if (rd_kafka_conf_set(conf.get(), name.c_str(), value.c_str(), text.data(), text.size()) !=
        RD_KAFKA_CONF_OK)
        throw property_error(name, text.data(),
                             "Names and ranges stand in the CONFIGURATION.md of librdkafka " +
                                 std::string(rd_kafka_version_str()));
}

Conf make_conf(const SinkOptions& options) {
    Conf conf(rd_kafka_conf_new());
    for (const Property& property : kDefaults) set(conf, property.name, property.value);
    set(conf, "bootstrap.servers", options.brokers);
    set(conf, "client.id", options.client_id);
    set(conf, "sticky.partitioning.linger.ms", "0");

    if (!options.transactional_id.empty()) {
        set(conf, "transactional.id", options.transactional_id);
        // No message may outlive its transaction.
        const auto timeout = options.properties.find("transaction.timeout.ms");
        set(conf, "message.timeout.ms",
            timeout == options.properties.end() ? kTransactionTimeoutMs : timeout->second);
        set(conf, "transaction.timeout.ms", kTransactionTimeoutMs);
        for (const char* name : {"acks", "request.required.acks", "enable.idempotence"}) {
            const auto found = options.properties.find(name);
            if (found == options.properties.end() || found->second == "all" || found->second == "-1" ||
                found->second == "true")
                continue;
            throw property_error(name, "sink.delivery = \"exactly-once\" needs acknowledgements of all",
                                 "Remove it, or choose sink.delivery = \"at-least-once\"");
        }
    }

    const auto acks = options.properties.contains("acks") ? options.properties.find("acks")
                                                          : options.properties.find("request.required.acks");
    if (acks != options.properties.end() && acks->second != "all" && acks->second != "-1") {
        // Without any acknowledgement librdkafka reports as delivered what no broker may have.
        if (acks->second == "0")
            throw property_error(acks->first, "without acknowledgements no position can be confirmed",
                                 "Use \"all\" or \"1\"");
        // An idempotent producer needs acks=all. Without it, order under retries needs one request at a time.
        set(conf, "enable.idempotence", "false");
        set(conf, "max.in.flight.requests.per.connection", "1");
    }
    const auto idempotence = options.properties.find("enable.idempotence");
    if (idempotence != options.properties.end() && idempotence->second == "false")
        set(conf, "max.in.flight.requests.per.connection", "1");

    for (const auto& [name, value] : options.properties) {
        for (const Property& reserved : kReserved)
            if (name == reserved.name) throw reserved_error(name, reserved.value);
        set(conf, name, value);
    }
    return conf;
}

uint64_t opaque_bits(const void* opaque) {
    return reinterpret_cast<uintptr_t>(opaque);
}

void* make_opaque(uint32_t group, uint32_t partition_hash) {
    return reinterpret_cast<void*>(uint64_t{group} << 32 | partition_hash);
}

// Never asks whether the partition is available: the partition of a key must not change with the brokers'
// health, or the order per key would.
int32_t choose_partition(const rd_kafka_topic_t*, const void*, size_t, int32_t partitions, void*,
                         void* opaque) {
    const auto hash = static_cast<uint32_t>(opaque_bits(opaque));
    if (hash == kProgressMark) return 0;
    return static_cast<int32_t>(hash % static_cast<uint32_t>(partitions));
}

size_t weight(size_t key, size_t value) {
    return key + value + kMessageOverhead;
}

int64_t* end_of(const rd_kafka_topic_t* topic, int32_t partition) {
    auto* offsets = static_cast<AcknowledgedOffsets*>(rd_kafka_topic_opaque(topic));
    if (offsets == nullptr || partition < 0) return nullptr;
    const auto index = static_cast<size_t>(partition);
    if (offsets->size() <= index) offsets->resize(index + 1, -1);
    return offsets->data() + index;
}

bool given_up(rd_kafka_resp_err_t code) {
    return code == RD_KAFKA_RESP_ERR__PURGE_QUEUE || code == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
}

}  // namespace

KafkaSink::KafkaSink(SinkOptions options) : options_(std::move(options)) {
    Conf conf = make_conf(options_);
    rd_kafka_conf_set_events(conf.get(), RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_STATS);
    rd_kafka_conf_set_opaque(conf.get(), &log_);
    rd_kafka_conf_set_log_cb(
        conf.get(), [](const rd_kafka_t* producer, int level, const char* facility, const char* text) {
            static_cast<LogLimiter*>(rd_kafka_opaque(producer))->log(level, facility, text);
        });
    rd_kafka_topic_conf_t* topic_conf = rd_kafka_conf_get_default_topic_conf(conf.get());
    if (topic_conf == nullptr) {
        topic_conf = rd_kafka_topic_conf_new();
        rd_kafka_conf_set_default_topic_conf(conf.get(), topic_conf);
    }
    rd_kafka_topic_conf_set_partitioner_cb(topic_conf, choose_partition);

    wake_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wake_fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    std::array<char, 512> text{};
    producer_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf.get(), text.data(), text.size());
    if (producer_ == nullptr) {
        close(wake_fd_);
        throw client_error(text.data());
    }
    static_cast<void>(conf.release());  // the producer's now
    queue_ = rd_kafka_queue_get_main(producer_);
    constexpr uint64_t kOne = 1;
    rd_kafka_queue_io_event_enable(queue_, wake_fd_, &kOne, sizeof kOne);
    // librdkafka writes when the queue stops being empty, and it may have done so before this.
    wake();
    acknowledged_.reserve(kReportsAtOnce);
}

KafkaSink::~KafkaSink() {
    // Blocking: librdkafka's threads hand back what they hold, and no message is left to complain about.
    purged_ = true;
    rd_kafka_purge(producer_, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_queue_io_event_enable(queue_, -1, nullptr, 0);
    while (rd_kafka_event_t* event = rd_kafka_queue_poll(queue_, 0)) rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(queue_);
    rd_kafka_destroy(producer_);
    close(wake_fd_);
}

void KafkaSink::connect(const std::atomic<bool>* stop) {
    // Short requests at first, so that a refused login shows at once; longer ones then, for a broker far
    // away.
    std::chrono::milliseconds slice(250);
    constexpr std::chrono::milliseconds kLongestSlice(2000);
    const auto deadline = std::chrono::steady_clock::now() + options_.request_timeout;
    rd_kafka_resp_err_t code;
    do {
        const struct rd_kafka_metadata* metadata = nullptr;
        code = rd_kafka_metadata(producer_, 0, nullptr, &metadata, static_cast<int>(slice.count()));
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            rd_kafka_metadata_destroy(metadata);
            brokers_up_ = true;
            return;
        }
        slice = std::min(slice * 2, kLongestSlice);
        drain(0);
        if (failure_) throw Error(*failure_);
        const auto seen = static_cast<rd_kafka_resp_err_t>(connection_error_);
        const Error error = connection_error(seen, last_error_, options_);
        if (error.retry() == Retry::never) throw error;
        if (stop != nullptr && stop->load())
            throw Error(ErrorCode::source_stopped, "Stopped while waiting for Kafka at " + options_.brokers,
                        last_error_, "");
    } while (std::chrono::steady_clock::now() < deadline);
    throw connection_error(
        connection_error_ == 0 ? code : static_cast<rd_kafka_resp_err_t>(connection_error_), last_error_,
        options_);
}

Produced KafkaSink::produce(rd_kafka_topic_t* topic, std::string_view key, std::string_view value,
                            std::string_view position, uint32_t partition_hash, uint32_t group,
                            std::string_view origin, std::span<const MessageHeader> extra) {
    const size_t bytes = weight(key.size(), value.size());
    // A message larger than the whole bound still passes, alone.
    if (queued_bytes_ + bytes > options_.queue_bytes && queued_messages_ > 0 &&
        partition_hash != kProgressMark)
        return Produced::queue_full;

    // Of the calls that take a header this is the cheapest, by measurement; the value is copied, which costs
    // no more than keeping it alive until its report.
    std::array<rd_kafka_vu_t, 7 + kMaxExtraHeaders> fields;
    fields[0].vtype = RD_KAFKA_VTYPE_RKT;
    fields[0].u.rkt = topic;
    fields[1].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
    fields[1].u.i = RD_KAFKA_MSG_F_COPY;
    fields[2].vtype = RD_KAFKA_VTYPE_VALUE;
    fields[2].u.mem = {const_cast<char*>(value.data()), value.size()};
    fields[3].vtype = RD_KAFKA_VTYPE_KEY;
    fields[3].u.mem = {const_cast<char*>(key.data()), key.size()};
    fields[4].vtype = RD_KAFKA_VTYPE_OPAQUE;
    fields[4].u.ptr = make_opaque(group, partition_hash);
    size_t count = 5;
    const auto header = [&](const char* name, std::string_view text) {
        if (text.data() == nullptr) return;
        fields[count].vtype = RD_KAFKA_VTYPE_HEADER;
        fields[count++].u.header = {name, text.data(), static_cast<ssize_t>(text.size())};
    };
    header(kPositionHeader, position);
    header(kOriginHeader, origin);
    if (extra.size() > kMaxExtraHeaders) throw std::length_error("too many headers");
    for (const MessageHeader& one : extra) header(one.name, one.value);
    rd_kafka_error_t* error = rd_kafka_produceva(producer_, fields.data(), count);
    if (error == nullptr) [[likely]] {
        if (queued_messages_++ == 0) last_progress_ = std::chrono::steady_clock::now();
        queued_bytes_ += bytes;
        return Produced::ok;
    }

    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    std::string text = rd_kafka_error_string(error);
    rd_kafka_error_destroy(error);
    if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL) return Produced::queue_full;
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        std::array<char, 512> detail{};
        code = rd_kafka_fatal_error(producer_, detail.data(), detail.size());
        throw fatal_error(code, detail.data(), options_);
    }
    throw delivery_error(code, text,
                         {.topic = rd_kafka_topic_name(topic), .bytes = key.size() + value.size()}, options_);
}

std::span<const Acknowledged> KafkaSink::poll(std::chrono::milliseconds wait) {
    acknowledged_.clear();
    if (failure_) throw Error(*failure_);
    // First the descriptor, then the queue: what arrives in between is taken now and wakes once for nothing.
    uint64_t wakes;
    static_cast<void>(!read(wake_fd_, &wakes, sizeof wakes));
    drain(static_cast<int>(wait.count()));
    if (failure_) {
        if (acknowledged_.empty()) throw Error(*failure_);
        wake();
    }
    return acknowledged_;
}

void KafkaSink::drain(int wait_ms) {
    while (rd_kafka_event_t* event = rd_kafka_queue_poll(queue_, wait_ms)) {
        wait_ms = 0;
        serve(event);
        rd_kafka_event_destroy(event);
    }
}

void KafkaSink::serve(rd_kafka_op_s* event) {
    switch (rd_kafka_event_type(event)) {
        case RD_KAFKA_EVENT_DR:
            serve_deliveries(event);
            break;
        case RD_KAFKA_EVENT_ERROR:
            serve_error(event);
            break;
        case RD_KAFKA_EVENT_STATS:
            brokers_ = parse_brokers(rd_kafka_event_stats(event));
            if (brokers_.up > 0) brokers_up_ = true;
            break;
        default:
            break;
    }
}

void KafkaSink::serve_deliveries(rd_kafka_op_s* event) {
    std::array<const rd_kafka_message_t*, kReportsAtOnce> reports;
    FailedMessage failed{.topic = {}, .bytes = 0, .messages = 0};
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    bool progress = false;
    const rd_kafka_topic_t* topic = nullptr;
    int32_t partition = -1;
    int64_t* end = nullptr;
    while (const size_t count = rd_kafka_event_message_array(event, reports.data(), reports.size())) {
        for (size_t i = 0; i < count; ++i) {
            const rd_kafka_message_t& report = *reports[i];
            --queued_messages_;
            queued_bytes_ -= weight(report.key_len, report.len);
            if (report.err == RD_KAFKA_RESP_ERR_NO_ERROR) [[likely]] {
                progress = true;
                ++acknowledged_messages_;
                acknowledged_bytes_ += report.key_len + report.len;
                if (static_cast<uint32_t>(opaque_bits(report._private)) == kProgressMark) [[unlikely]] {
                    ++progress_records_;
                    continue;
                }
                if (note_offsets_) {
                    // Reports come by partition.
                    if (report.rkt != topic || report.partition != partition) {
                        topic = report.rkt;
                        partition = report.partition;
                        end = end_of(topic, partition);
                    }
                    if (end != nullptr && *end <= report.offset) *end = report.offset + 1;
                }
                const auto group = static_cast<uint32_t>(opaque_bits(report._private) >> 32);
                if (!acknowledged_.empty() && acknowledged_.back().group == group)
                    ++acknowledged_.back().messages;
                else
                    acknowledged_.push_back({group, 1});
                continue;
            }
            if (purged_ && given_up(report.err)) continue;
            if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
                code = report.err;
                failed.topic = rd_kafka_topic_name(report.rkt);
            }
            if (report.err != code) continue;
            ++failed.messages;
            failed.bytes = std::max(failed.bytes, report.key_len + report.len);
        }
    }
    if (progress) {
        last_progress_ = std::chrono::steady_clock::now();
        brokers_up_ = true;
    }
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        // Not rd_kafka_message_errstr: of a producer's message that is the message's value.
        fail(delivery_error(code, {}, failed, options_));
    }
}

void KafkaSink::serve_error(rd_kafka_op_s* event) {
    const rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    const char* text = rd_kafka_event_error_string(event);
    if (text == nullptr) text = rd_kafka_err2str(code);
    if (rd_kafka_event_error_is_fatal(event)) {
        fail(fatal_error(code, text, options_));
        return;
    }
    if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        if (std::exchange(brokers_up_, false)) spdlog::warn("kafka: all brokers are down: {}", last_error_);
        // Why they are down came before, per broker.
        if (connection_error_ != 0) return;
    }
    connection_error_ = code;
    last_error_ = text;
}

void KafkaSink::fail(Error error) {
    // The first one is the cause of those that follow.
    if (!failure_) failure_.emplace(std::move(error));
}

void KafkaSink::purge() {
    purged_ = true;
    rd_kafka_purge(producer_,
                   RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
}

void KafkaSink::wake() const {
    constexpr uint64_t kOne = 1;
    static_cast<void>(!write(wake_fd_, &kOne, sizeof kOne));
}

SinkStatistics KafkaSink::statistics() const {
    return {.queued_messages = queued_messages_,
            .queued_bytes = queued_bytes_,
            .acknowledged_messages = acknowledged_messages_,
            .acknowledged_bytes = acknowledged_bytes_,
            .brokers = brokers_};
}

std::chrono::milliseconds KafkaSink::stalled_for() const {
    if (queued_messages_ == 0) return std::chrono::milliseconds(0);
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                                 last_progress_);
}

}  // namespace walferry
