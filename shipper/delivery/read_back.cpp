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

std::vector<PartitionRef> ReadBack::partitions_of(const std::vector<std::string>& topics) {
    std::vector<PartitionRef> all;
    for (const std::string& topic : topics) {
        const int32_t count = reader_.partitions(topic).value_or(0);
        for (int32_t partition = 0; partition < count; ++partition) all.push_back({topic, partition});
    }
    return all;
}

// Where the progress record says that nothing of interest stands before.
std::optional<int64_t> ReadBack::hint(const PartitionRef& ref, int64_t end) const {
    const auto topic = from_.find(ref.topic);
    if (topic == from_.end()) return std::nullopt;
    const auto offset = topic->second.find(ref.partition);
    // A topic that was made anew ends before what was written to the old one.
    if (offset == topic->second.end() || offset->second > end) return std::nullopt;
    return offset->second;
}

void ReadBack::load(const std::vector<std::string>& topics) {
    const std::vector<PartitionRef> all = partitions_of(topics);
    const std::vector<int64_t> ends = reader_.ends(all);
    // What may hold something: first those with a hint, of the others all.
    std::vector<TopicReader::Range> known;
    std::vector<TopicReader::Range> unknown;
    for (size_t i = 0; i < all.size(); ++i) {
        const std::optional<int64_t> from = hint(all[i], ends[i]);
        if (from.value_or(0) < ends[i])
            (from ? known : unknown).push_back({all[i], from.value_or(0), ends[i]});
    }
    skip_deleted(known);
    skip_deleted(unknown);

    // Counts once all of it is read: what is half known would be taken for all.
    std::map<std::string, WrittenPositions> loaded;
    for (const std::string& topic : topics) loaded[topic];
    bool complete = read_known(known, loaded);
    complete &= read_backwards(unknown, loaded);
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

// What retention has taken is not there to be read.
void ReadBack::skip_deleted(std::vector<TopicReader::Range>& ranges) {
    std::vector<PartitionRef> partitions;
    partitions.reserve(ranges.size());
    for (const TopicReader::Range& range : ranges) partitions.push_back(range.partition);
    const std::vector<int64_t> begins = reader_.begins(partitions);
    for (size_t i = 0; i < ranges.size(); ++i) ranges[i].begin = std::max(ranges[i].begin, begins[i]);
}

bool ReadBack::read_known(const std::vector<TopicReader::Range>& ranges,
                          std::map<std::string, WrittenPositions>& loaded) {
    std::vector<WrittenPositions*> written;
    written.reserve(ranges.size());
    for (const TopicReader::Range& range : ranges) written.push_back(&loaded[range.partition.topic]);
    return reader_.read(ranges, [&](const ReadRecord& record) {
        take(record, ranges[record.from].partition.topic, *written[record.from]);
    });
}

// From the end, until a record is found that the progress covers: positions rise within a partition.
bool ReadBack::read_backwards(std::vector<TopicReader::Range> wholes,
                              std::map<std::string, WrittenPositions>& loaded) {
    bool complete = true;
    for (int64_t look = kFirstLook; !wholes.empty(); look *= kLookFurther) {
        std::vector<TopicReader::Range> parts = wholes;
        for (TopicReader::Range& part : parts) part.begin = std::max(part.begin, part.end - look);
        std::vector<WrittenPositions> found(parts.size());
        std::vector<bool> covered(parts.size());
        complete &= reader_.read(parts, [&](const ReadRecord& record) {
            if (take(record, parts[record.from].partition.topic, found[record.from]))
                covered[record.from] = true;
        });
        std::vector<TopicReader::Range> further;
        for (size_t i = 0; i < parts.size(); ++i) {
            if (covered[i] || parts[i].begin == wholes[i].begin)
                loaded[parts[i].partition.topic].add(found[i]);
            else
                further.push_back(std::move(wholes[i]));
        }
        wholes = std::move(further);
    }
    return complete;
}

}  // namespace walferry
