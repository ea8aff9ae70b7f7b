#include "delivery/read_back.h"

#include <algorithm>
#include <utility>

#include <spdlog/spdlog.h>

#include "error/error.h"
#include "position/lsn_text.h"

namespace walferry {
namespace {

// How far back to look at first in a partition of which the progress record says nothing.
constexpr int64_t kFirstLook = 1000;
constexpr int64_t kLookFurther = 8;

}  // namespace

ReadBack::ReadBack(const SinkOptions& options, Scope scope, PartitionOffsets from,
                   TopicReader::KeepGoing keep_going)
    : reader_(options, std::move(keep_going)), scope_(std::move(scope)), from_(std::move(from)) {}

void ReadBack::load_known() {
    std::vector<std::string> topics;
    for (const auto& [topic, partitions] : from_) topics.push_back(topic);
    load(topics);
}

const WrittenPositions* ReadBack::find(const std::string& topic) {
    auto found = topics_.find(topic);
    if (found == topics_.end()) {
        load({topic});
        found = topics_.find(topic);
    }
    return found->second.size() > 0 ? &found->second : nullptr;
}

bool ReadBack::take(const ReadRecord& record, const std::string& topic, WrittenPositions& written) {
    ++records_;
    const auto position = parse_position(record.position);
    if (!position || position->system != scope_.system) return false;
    const Lsn commit = position->message.commit;
    if (commit < scope_.after) return true;
    const auto end = scope_.ends.find(position->timeline);
    if (end == scope_.ends.end() || end->second <= commit) {
        if (scope_.lost_history_accepted) return false;
        throw Error(ErrorCode::source_timeline_changed,
                    "Topic " + topic + " holds a change of timeline " +
                        std::to_string(position->timeline.value) + " at " + lsn_text(commit) +
                        ", which is not part of the server's history",
                    "It was committed on the old primary and lost by the failover: another change may stand "
                    "at its place now.",
                    "Decide what becomes of the lost changes in Kafka; then start once with --accept-gap, "
                    "which goes on with the server's present history.");
    }
    highest_ = std::max(highest_, commit);
    written.add(position->message);
    return false;
}

void ReadBack::load(const std::vector<std::string>& topics) {
    // Counts once all of it is read: what is half known would be taken for all.
    std::map<std::string, WrittenPositions> loaded;
    std::vector<TopicReader::From> known;
    std::vector<TopicReader::From> unknown;
    for (const std::string& topic : topics) {
        loaded[topic];
        const std::optional<int32_t> partitions = reader_.partitions(topic);
        const auto hints = from_.find(topic);
        std::vector<PartitionRef> refs;
        for (int32_t partition = 0; partition < partitions.value_or(0); ++partition)
            refs.push_back({topic, partition});
        const std::vector<TopicReader::Bounds> all = reader_.bounds(refs);
        for (int32_t partition = 0; partition < partitions.value_or(0); ++partition) {
            const PartitionRef& ref = refs[static_cast<size_t>(partition)];
            const TopicReader::Bounds& bounds = all[static_cast<size_t>(partition)];
            if (bounds.begin == bounds.end) continue;
            const bool hinted = hints != from_.end() && hints->second.contains(partition);
            // A topic that was made anew ends before what was written to the old one.
            if (hinted && hints->second.at(partition) <= bounds.end) {
                known.push_back({ref, std::max(bounds.begin, hints->second.at(partition))});
            } else {
                unknown.push_back({ref, bounds.begin});
            }
        }
    }
    bool complete = reader_.read(known, [&](const ReadRecord& record) {
        const std::string& topic = known[record.from].partition.topic;
        take(record, topic, loaded[topic]);
    });
    // From the end backwards, until a record is found that the progress covers: positions rise within a
    // partition.
    for (const TopicReader::From& whole : unknown) {
        const int64_t end = reader_.bounds(whole.partition).end;
        WrittenPositions& written = loaded[whole.partition.topic];
        for (int64_t look = kFirstLook;; look *= kLookFurther) {
            TopicReader::From part{whole.partition, std::max(whole.offset, end - look)};
            WrittenPositions found = written;
            bool covered = false;
            complete &= reader_.read(std::span(&part, 1), [&](const ReadRecord& record) {
                covered |= take(record, whole.partition.topic, found);
            });
            if (!covered && part.offset > whole.offset) continue;
            written = std::move(found);
            break;
        }
    }
    for (auto& [topic, written] : loaded) {
        written.seal();
        messages_ += written.size();
        topics_[topic] = std::move(written);
    }
    if (!complete) {
        spdlog::warn(
            "kafka: a transaction of another producer stays open and hides the ends of topics; messages that "
            "stand behind it may come twice");
    }
}

}  // namespace walferry
