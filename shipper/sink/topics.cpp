#include "sink/topics.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>

#include <librdkafka/rdkafka.h>
#include <spdlog/spdlog.h>

#include "sink/deleter.h"
#include "sink/errors.h"

namespace walferry {
namespace {

using Metadata = std::unique_ptr<const struct rd_kafka_metadata, Deleter<rd_kafka_metadata_destroy>>;
using NewTopic = std::unique_ptr<rd_kafka_NewTopic_t, Deleter<rd_kafka_NewTopic_destroy>>;
using AdminOptions = std::unique_ptr<rd_kafka_AdminOptions_t, Deleter<rd_kafka_AdminOptions_destroy>>;
using Queue = std::unique_ptr<rd_kafka_queue_t, Deleter<rd_kafka_queue_destroy>>;
using Event = std::unique_ptr<rd_kafka_event_t, Deleter<rd_kafka_event_destroy>>;

// Of the progress topic: small segments, so that the cleaner gets at old records soon.
constexpr std::pair<const char*, const char*> kCompacted[] = {
    {"cleanup.policy", "compact"}, {"segment.bytes", "16777216"}, {"min.cleanable.dirty.ratio", "0.1"}};

Error stopped_error() {
    return {ErrorCode::source_stopped, "Stopped while waiting for Kafka's topics", "",
            "Nothing is lost: the next start goes on."};
}

}  // namespace

Topics::~Topics() {
    for (const auto& [name, handle] : handles_)
        for (rd_kafka_topic_t* topic : handle.of)
            if (topic != nullptr) rd_kafka_topic_destroy(topic);
}

TopicHandle Topics::get(const std::string& name) {
    if (const auto found = handles_.find(name); found != handles_.end()) return found->second;
    ensure(std::span(&name, 1));
    return handle(name, true);
}

TopicHandle Topics::get_compacted(const std::string& name) {
    if (const auto found = handles_.find(name); found != handles_.end()) return found->second;
    if (!listed_) list();
    if (!existing_.contains(name)) {
        if (!sink_.options().create_topics) throw compacted_topic_missing(name, sink_.options());
        create(std::span(&name, 1), true);
    }
    return handle(name, false);
}

TopicHandle Topics::handle(const std::string& name, bool with_offsets) {
    TopicHandle handle;
    for (size_t i = 0; i < sinks_.size(); ++i) {
        // The default topic configuration holds the partitioner.
        rd_kafka_topic_conf_t* conf = rd_kafka_default_topic_conf_dup(sinks_[i]->handle());
        if (with_offsets) rd_kafka_topic_conf_set_opaque(conf, &offsets_[name]);
        handle.of[i] = rd_kafka_topic_new(sinks_[i]->handle(), name.c_str(), conf);
        if (handle.of[i] == nullptr) {
            const rd_kafka_resp_err_t code = rd_kafka_last_error();
            rd_kafka_topic_conf_destroy(conf);
            for (rd_kafka_topic_t* topic : handle.of)
                if (topic != nullptr) rd_kafka_topic_destroy(topic);
            throw create_error(code, rd_kafka_err2str(code), name, sink_.options());
        }
    }
    handles_.emplace(name, handle);
    return handle;
}

void Topics::ensure(std::span<const std::string> names) {
    const bool listed_before = listed_;
    if (!listed_) list();
    std::vector<std::string> missing = missing_of(names);
    if (missing.empty()) return;
    if (sink_.options().create_topics) {
        create(missing);
        return;
    }
    if (listed_before) {
        // Somebody may have created it since.
        list();
        missing = missing_of(missing);
        if (missing.empty()) return;
    }
    throw delivery_error(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, {}, {.topic = missing.front()},
                         sink_.options());
}

std::vector<std::string> Topics::missing_of(std::span<const std::string> names) const {
    std::vector<std::string> missing;
    for (const std::string& name : names)
        if (!existing_.contains(name)) missing.push_back(name);
    std::sort(missing.begin(), missing.end());
    missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
    return missing;
}

void Topics::list() {
    constexpr int kSliceMs = 500;
    const struct rd_kafka_metadata* answer = nullptr;
    const auto deadline = std::chrono::steady_clock::now() + sink_.options().request_timeout;
    rd_kafka_resp_err_t code;
    while ((code = rd_kafka_metadata(sink_.handle(), 1, nullptr, &answer, kSliceMs)) !=
           RD_KAFKA_RESP_ERR_NO_ERROR) {
        if (!keep_going_()) throw stopped_error();
        if (std::chrono::steady_clock::now() < deadline) continue;
        throw connection_error(
            code, std::string(rd_kafka_err2str(code)) + " while listing topics; " + sink_.last_error(),
            sink_.options());
    }
    const Metadata metadata(answer);
    existing_.clear();
    for (int i = 0; i < metadata->topic_cnt; ++i)
        if (metadata->topics[i].err != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
            existing_.insert(metadata->topics[i].topic);
    listed_ = true;
}

void Topics::create(std::span<const std::string> names, bool compacted) {
    const SinkOptions& options = sink_.options();
    const auto timeout = static_cast<int>(options.request_timeout.count());
    std::array<char, 512> text{};

    std::vector<NewTopic> topics;
    std::vector<rd_kafka_NewTopic_t*> pointers;
    for (const std::string& name : names) {
        NewTopic topic(rd_kafka_NewTopic_new(name.c_str(), compacted ? 1 : options.topic_partitions,
                                             options.topic_replication, text.data(), text.size()));
        if (!topic) throw create_error(RD_KAFKA_RESP_ERR__INVALID_ARG, text.data(), name, options);
        if (compacted) {
            for (const auto& [key, value] : kCompacted) rd_kafka_NewTopic_set_config(topic.get(), key, value);
        }
        pointers.push_back(topic.get());
        topics.push_back(std::move(topic));
    }
    const AdminOptions request(rd_kafka_AdminOptions_new(sink_.handle(), RD_KAFKA_ADMIN_OP_CREATETOPICS));
    // The first bounds the whole call, the second the broker's wait until the topics are known everywhere.
    for (auto* set : {rd_kafka_AdminOptions_set_request_timeout, rd_kafka_AdminOptions_set_operation_timeout})
        if (set(request.get(), timeout, text.data(), text.size()) != RD_KAFKA_RESP_ERR_NO_ERROR)
            throw create_error(RD_KAFKA_RESP_ERR__INVALID_ARG, text.data(), names.front(), options);

    const Queue queue(rd_kafka_queue_new(sink_.handle()));
    rd_kafka_CreateTopics(sink_.handle(), pointers.data(), pointers.size(), request.get(), queue.get());
    // The request times out by itself; the margin is for its report.
    constexpr std::chrono::milliseconds kMargin{1000};
    constexpr int kSliceMs = 200;
    const auto deadline = std::chrono::steady_clock::now() + options.request_timeout + kMargin;
    Event event;
    do {
        event.reset(rd_kafka_queue_poll(queue.get(), kSliceMs));
        if (!event && !keep_going_()) throw stopped_error();
    } while (!event && std::chrono::steady_clock::now() < deadline);
    const auto code = event ? rd_kafka_event_error(event.get()) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
        const char* detail = event ? rd_kafka_event_error_string(event.get()) : nullptr;
        throw create_error(code, detail != nullptr ? detail : "", names.front(), options);
    }
    size_t count = 0;
    const rd_kafka_topic_result_t** results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event.get()), &count);
    for (size_t i = 0; i < count; ++i) {
        const std::string name = rd_kafka_topic_result_name(results[i]);
        const rd_kafka_resp_err_t error = rd_kafka_topic_result_error(results[i]);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR && error != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
            const char* detail = rd_kafka_topic_result_error_string(results[i]);
            throw create_error(error, detail != nullptr ? detail : "", name, options);
        }
        if (error == RD_KAFKA_RESP_ERR_NO_ERROR) spdlog::info("kafka: created topic {}", name);
        existing_.insert(name);
    }
}

}  // namespace walferry
