#include "sink/topic_limits.h"

#include <array>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>
#include <thread>

#include <librdkafka/rdkafka.h>
#include <spdlog/spdlog.h>

#include "sink/deleter.h"
#include "sink/errors.h"

namespace walferry {
namespace {

using Resource = std::unique_ptr<rd_kafka_ConfigResource_t, Deleter<rd_kafka_ConfigResource_destroy>>;
using AdminOptions = std::unique_ptr<rd_kafka_AdminOptions_t, Deleter<rd_kafka_AdminOptions_destroy>>;
using Queue = std::unique_ptr<rd_kafka_queue_t, Deleter<rd_kafka_queue_destroy>>;
using Event = std::unique_ptr<rd_kafka_event_t, Deleter<rd_kafka_event_destroy>>;

// A broker may hear of a new topic later than the one that made it.
constexpr std::chrono::milliseconds kNewTopicPause{50};

struct Answer {
    rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
    std::string detail;
    TopicLimits limits;
};

std::string_view text_of(const char* text) {
    return text != nullptr ? std::string_view(text) : std::string_view();
}

void read_entries(const rd_kafka_ConfigResource_t* resource, TopicLimits& limits) {
    size_t count = 0;
    const rd_kafka_ConfigEntry_t** entries = rd_kafka_ConfigResource_configs(resource, &count);
    for (size_t i = 0; i < count; ++i) {
        const std::string_view name = text_of(rd_kafka_ConfigEntry_name(entries[i]));
        const std::string_view value = text_of(rd_kafka_ConfigEntry_value(entries[i]));
        if (name == "max.message.bytes") {
            size_t bytes = 0;
            const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), bytes);
            limits.known = error == std::errc() && end == value.data() + value.size();
            if (limits.known) limits.message_bytes = bytes;
        } else if (name == "cleanup.policy") {
            limits.compacted = value.find("compact") != value.npos;
        }
    }
}

void require(const std::function<bool()>& keep_going) {
    if (keep_going()) return;
    throw Error(ErrorCode::source_stopped, "Stopped while Kafka was asked for the limits of a topic", "",
                "Nothing is lost: the next start goes on.");
}

Answer ask(const KafkaSink& sink, const std::string& topic, const std::function<bool()>& keep_going) {
    const auto timeout = static_cast<int>(sink.options().request_timeout.count());
    std::array<char, 512> text{};
    const Resource resource(rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str()));
    const AdminOptions request(rd_kafka_AdminOptions_new(sink.handle(), RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS));
    if (rd_kafka_AdminOptions_set_request_timeout(request.get(), timeout, text.data(), text.size()) !=
        RD_KAFKA_RESP_ERR_NO_ERROR)
        return {RD_KAFKA_RESP_ERR__INVALID_ARG, text.data(), {}};
    const Queue queue(rd_kafka_queue_new(sink.handle()));
    std::array<rd_kafka_ConfigResource_t*, 1> resources{resource.get()};
    rd_kafka_DescribeConfigs(sink.handle(), resources.data(), resources.size(), request.get(), queue.get());
    // The request times out by itself; the margin is for its report.
    constexpr std::chrono::milliseconds kMargin{1000};
    constexpr int kSliceMs = 200;
    const auto deadline = std::chrono::steady_clock::now() + sink.options().request_timeout + kMargin;
    Event event;
    do {
        event.reset(rd_kafka_queue_poll(queue.get(), kSliceMs));
        if (!event) require(keep_going);
    } while (!event && std::chrono::steady_clock::now() < deadline);
    if (!event) return {RD_KAFKA_RESP_ERR__TIMED_OUT, {}, {}};
    if (const auto code = rd_kafka_event_error(event.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return {code, std::string(text_of(rd_kafka_event_error_string(event.get()))), {}};

    Answer answer;
    size_t count = 0;
    const rd_kafka_ConfigResource_t** results =
        rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event.get()), &count);
    for (size_t i = 0; i < count; ++i) {
        answer.code = rd_kafka_ConfigResource_error(results[i]);
        answer.detail = text_of(rd_kafka_ConfigResource_error_string(results[i]));
        if (answer.code == RD_KAFKA_RESP_ERR_NO_ERROR) read_entries(results[i], answer.limits);
    }
    return answer;
}

bool unanswered(rd_kafka_resp_err_t code) {
    switch (code) {
        case RD_KAFKA_RESP_ERR__TIMED_OUT:
        case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
        case RD_KAFKA_RESP_ERR__TRANSPORT:
        case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
            return true;
        default:
            return false;
    }
}

size_t property(const KafkaSink& sink, const char* name) {
    std::array<char, 32> text{};
    size_t size = text.size();
    size_t value = SIZE_MAX;
    if (rd_kafka_conf_get(rd_kafka_conf(sink.handle()), name, text.data(), &size) == RD_KAFKA_CONF_OK)
        std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

}  // namespace

TopicLimits describe_limits(const KafkaSink& sink, const std::string& topic,
                            const std::function<bool()>& keep_going) {
    const auto deadline = std::chrono::steady_clock::now() + sink.options().request_timeout;
    Answer answer = ask(sink, topic, keep_going);
    while (answer.code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART &&
           std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(kNewTopicPause);
        require(keep_going);
        answer = ask(sink, topic, keep_going);
    }
    if (unanswered(answer.code)) {
        throw connection_error(answer.code, answer.detail + " while asking for the limits of topic " + topic,
                               sink.options());
    }
    if (!answer.limits.known) {
        spdlog::warn(
            "kafka: the limits of topic {} are not known, {} bytes is taken for its largest message: {}",
            topic, answer.limits.message_bytes,
            answer.detail.empty() ? rd_kafka_err2str(answer.code) : answer.detail);
    }
    return answer.limits;
}

size_t largest_message(const KafkaSink& sink) {
    return property(sink, "message.max.bytes");
}

size_t largest_batch(const KafkaSink& sink) {
    return property(sink, "batch.size");
}

}  // namespace walferry
