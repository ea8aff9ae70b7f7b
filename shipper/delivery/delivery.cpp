#include "delivery/delivery.h"

#include <algorithm>
#include <cstdio>
#include <random>
#include <utility>

#include <spdlog/spdlog.h>

#include "fail_point/fail_point.h"
#include "delivery/at_least_once.h"
#include "delivery/exactly_once.h"
#include "position/lsn_text.h"
#include "route/topic_template.h"
#include "sink/errors.h"
#include "sink/topic_limits.h"
#include "sink/transaction.h"

namespace walferry {
namespace {

// Of a progress record what says where to read on, so that it stays below what a broker takes by default (1
// MB), also without compression. Of partitions that it does not name the end is looked for.
constexpr size_t kMostOffsetBytes = 600'000;
constexpr int64_t kFirstLook = 64;
constexpr int64_t kLookFurther = 8;
// Fencing waits until the transaction of the one before has been aborted.
constexpr std::chrono::milliseconds kShortestRequestTimeout{5000};

std::vector<std::unique_ptr<KafkaSink>> make_sinks(std::vector<SinkOptions> options) {
    std::vector<std::unique_ptr<KafkaSink>> sinks;
    sinks.reserve(options.size());
    for (SinkOptions& one : options) sinks.push_back(std::make_unique<KafkaSink>(std::move(one)));
    return sinks;
}

std::vector<KafkaSink*> pointers(const std::vector<std::unique_ptr<KafkaSink>>& sinks) {
    std::vector<KafkaSink*> pointers;
    pointers.reserve(sinks.size());
    for (const auto& sink : sinks) pointers.push_back(sink.get());
    return pointers;
}

size_t most_offset_bytes(const KafkaSink& sink) {
    return std::min(kMostOffsetBytes, largest_message(sink) / 2);
}

std::string random_name() {
    std::random_device random;
    char text[17];
    std::snprintf(text, sizeof text, "%08x%08x", random(), random());
    return text;
}

// Keeps batches of several messages below the smallest `max_message_size` that the task file sets, for whose
// topic they might be too large; `batch.size` in [sink.kafka] wins.
void bound_batches(const TaskConfig& config, SinkOptions& options) {
    uint64_t smallest = UINT64_MAX;
    const auto count = [&](Oversize policy, Bytes size) {
        if (policy != Oversize::stop && size.value > 0) smallest = std::min(smallest, size.value);
    };
    count(config.sink.oversize, config.sink.max_message_size);
    for (const TableConfig& table : config.tables) {
        const bool own = table.max_message_size.value > 0;
        count(table.oversize.value_or(config.sink.oversize),
              own ? table.max_message_size : config.sink.max_message_size);
    }
    // The sink's own default is not to be raised.
    constexpr uint64_t kDefaultBatch = 1'000'000;
    if (smallest < kDefaultBatch) options.properties.emplace("batch.size", std::to_string(smallest));
}

}  // namespace

SinkOptions sink_options(const TaskConfig& config) {
    SinkOptions options;
    options.brokers = config.sink.brokers;
    options.client_id = "walferry-" + config.name;
    options.properties = config.sink.kafka;
    options.queue_bytes = config.sink.queue_bytes.value;
    options.create_topics = config.sink.create_topics;
    options.topic_partitions = config.sink.topic_partitions;
    options.topic_replication = config.sink.topic_replication;
    // While somebody waits for an answer in vain, nothing goes to the outage log.
    if (config.spool.outage)
        options.request_timeout = std::clamp<std::chrono::milliseconds>(
            config.spool.outage_after, kShortestRequestTimeout, options.request_timeout);
    bound_batches(config, options);
    return options;
}

std::unique_ptr<Delivery> Delivery::make(const TaskConfig& config) {
    if (config.sink.delivery == DeliveryMode::exactly_once) return std::make_unique<ExactlyOnce>(config);
    return std::make_unique<AtLeastOnce>(config);
}

Delivery::Delivery(const TaskConfig& config, std::vector<SinkOptions> producers)
    : config_(config),
      sinks_(make_sinks(std::move(producers))),
      active_(sinks_.front().get()),
      instance_(random_name()),
      topics_(pointers(sinks_), [this] { return keep_going_(); }),
      progress_topic_name_(
          TopicTemplate(config.sink.progress_topic).expand(TopicNames{"", "", "", config.name})) {}

void Delivery::connect(const std::atomic<bool>& stop) {
    for (const auto& sink : sinks_) sink->connect(&stop);
}

std::optional<ProgressRecord> Delivery::open() {
    if (exactly_once()) {
        WALFERRY_FAIL_POINT("fence_before");
        for (const auto& sink : sinks_) fence(*sink, keep_going_);
        WALFERRY_FAIL_POINT("fence_after");
    }
    progress_topic_ = topics_.get_compacted(progress_topic_name_);
    std::optional<ProgressRecord> last = read_last();
    // Transactions that the last instance has left open would hide the ends of topics; one whose commit was
    // under way may have moved the progress.
    if (last && last->exactly_once && !exactly_once()) {
        for (const SinkOptions& options : ExactlyOnce::producers(config_)) {
            KafkaSink producer(options);
            fence(producer, keep_going_);
        }
        last = read_last();
    }
    return last;
}

std::optional<ProgressRecord> Delivery::read_last() {
    TopicReader reader(active_->options(), [this] { return keep_going_(); });
    const TopicReader::Bounds bounds = reader.bounds({progress_topic_name_, 0});
    std::optional<ProgressRecord> last;
    for (int64_t look = kFirstLook; !last && bounds.begin < bounds.end; look *= kLookFurther) {
        const int64_t from = std::max(bounds.begin, bounds.end - look);
        read_records(reader, from, bounds.end, [&](uint64_t, ProgressRecord found) {
            last = last ? combined(*last, found) : std::move(found);
        });
        if (from == bounds.begin) break;
    }
    read_to_ = bounds.end;
    return last;
}

// A key for each instance: the cleaner would put a late record in the place of a newer one.
std::string Delivery::record_key(uint64_t epoch) const {
    return config_.name + "/" + std::to_string(epoch);
}

int64_t Delivery::read_records(TopicReader& reader, int64_t from, int64_t end,
                               const std::function<void(uint64_t, ProgressRecord)>& visit) {
    const TopicReader::Range range{{progress_topic_name_, 0}, from, end};
    const std::string prefix = config_.name + "/";
    if (from >= end) return end;
    reader.read(std::span(&range, 1), [&](const ReadRecord& record) {
        // Without a value: put there so that the cleaner takes the older ones away.
        if (!record.key.starts_with(prefix) || record.value.data() == nullptr) return;
        const std::string where =
            "topic " + progress_topic_name_ + ", offset " + std::to_string(record.offset);
        ProgressRecord found = parse_progress_record(record.value, where);
        const uint64_t epoch = found.epoch;
        visit(epoch, std::move(found));
    });
    return end;
}

bool Delivery::overtaken() {
    TopicReader reader(active_->options(), [this] { return keep_going_(); });
    const TopicReader::Bounds bounds = reader.bounds({progress_topic_name_, 0});
    bool others = false;
    read_to_ = read_records(reader, read_to_, bounds.end, [&](uint64_t epoch, const ProgressRecord& found) {
        others |= epoch != base_.epoch || found.instance != base_.instance;
    });
    return others;
}

void Delivery::announce(ProgressRecord record) {
    base_ = std::move(record);
    base_.time = utc_now();
    base_.exactly_once = exactly_once();
    base_.tail |= !exactly_once();
    base_.instance = instance_;
    base_.sequence = ++sequence_;
    bound_offsets(base_.offsets, most_offset_bytes(*active_), {});
    write_base();
}

void Delivery::begin(ProgressRecord record, std::optional<ReadBack::Scope> scope) {
    base_ = std::move(record);
    base_.exactly_once = exactly_once();
    base_.instance = instance_;
    recorded_ = base_;
    tracker_ = AckTracker(base_.position);
    begun_ = true;
    if (scope) {
        read_back_ = std::make_unique<ReadBack>(active_->options(), std::move(*scope), base_.offsets,
                                                [this] { return keep_going_(); });
    }
}

void Delivery::look_back() {
    if (!read_back_ || looked_back_) return;
    WALFERRY_FAIL_POINT("read_back_before");
    read_back_->load_known();
    WALFERRY_FAIL_POINT("read_back_after");
    looked_back_ = true;
    spdlog::info("kafka: looked at {} records after the progress record; {} messages are there already",
                 read_back_->records(), read_back_->messages());
}

TopicHandle Delivery::topic(const std::string& name) {
    const TopicHandle handle = topics_.get(name);
    if (read_back_) written_[handle.of[0]] = read_back_->find(name);
    return handle;
}

bool Delivery::already_written(TopicHandle topic, const MessagePosition& position) {
    const auto written = written_.find(topic.of[0]);
    if (written == written_.end() || written->second == nullptr || !written->second->contains(position))
        return false;
    ++skipped_;
    return true;
}

void Delivery::recovered() {
    if (skipped_ > 0)
        spdlog::info("kafka: {} messages that a crash had left in Kafka were not sent again", skipped_);
    written_.clear();
    read_back_.reset();
}

void Delivery::begin_group(const Wait& wait) {
    start_group(wait);
    group_ = tracker_.open();
}

void Delivery::end_group(Lsn end, const Frontier& frontier) {
    tracker_.close(end);
    finish_group(frontier);
}

bool Delivery::past_what_was_found(const Frontier& frontier) const {
    return !read_back_ || read_back_->highest() < (frontier.open ? frontier.open->commit : frontier.produced);
}

void Delivery::note_offsets(const PartitionOffsets& ends) {
    for (const auto& [topic, partitions] : ends) {
        PartitionOffsets::mapped_type& known = base_.offsets[topic];
        bool changed = false;
        for (const auto& [partition, end] : partitions)
            changed |= std::exchange(known[partition], end) != end;
        if (changed) offset_changes_[topic] = ++changes_;
    }
}

ProgressRecord Delivery::record_of(const Frontier& frontier) {
    ProgressRecord record = base_;
    record.state = ProgressRecord::State::streaming;
    record.position = frontier.produced;
    record.open = frontier.open;
    record.reread = std::min(frontier.held, frontier.produced);
    record.tail = !exactly_once() || recovering();
    record.time = utc_now();
    record.sequence = ++sequence_;
    record.version = WALFERRY_VERSION;
    bound_offsets(record.offsets, most_offset_bytes(*active_), offset_changes_);
    return record;
}

void Delivery::produce_record(const ProgressRecord& record) {
    const std::string text = to_json(record);
    // The queue's bound is not for this one message.
    while (active_->produce(progress_topic_->of[active_index_], record_key(record.epoch), text, {},
                            kProgressMark, 0) == Produced::queue_full) {
        poll(std::chrono::milliseconds(20));
        if (!keep_going_()) {
            throw Error(ErrorCode::source_stopped, "Stopped while Kafka took no progress record",
                        active_->last_error(), "What was not acknowledged comes again at the next start.");
        }
    }
}

void Delivery::take(std::span<const Acknowledged> acknowledged) {
    for (const Acknowledged& part : acknowledged) tracker_.acknowledged(part.group, part.messages);
    if (!acknowledged.empty()) WALFERRY_FAIL_POINT("acks_taken");
}

}  // namespace walferry
