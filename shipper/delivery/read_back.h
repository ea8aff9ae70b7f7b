// After a crash: which messages after the progress record's position are in the topics already, so that they
// are not sent again. A topic is looked at when it is first used, those that the record names all at once.
//
// Thread contract: one thread. Errors: Error, of TopicReader; source_timeline_changed where Kafka has changes
// that the server's history has lost.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/types.h"
#include "position/message_position.h"
#include "progress/progress_record.h"
#include "progress/written_positions.h"
#include "sink/topic_reader.h"

namespace walferry {

class ReadBack {
 public:
    struct Scope {
        SystemId system;
        Lsn after;  // what ended before is covered by the progress record
        // Where each timeline of the server's history ends; of the present one the largest LSN.
        std::map<Timeline, Lsn> ends;
        bool lost_history_accepted = false;
    };

    ReadBack(const SinkOptions& options, Scope scope, PartitionOffsets from,
             TopicReader::KeepGoing keep_going);

    // Looks at every topic that the progress record names.
    void load_known();
    // Null if the topic holds nothing of interest. The result stays valid.
    const WrittenPositions* find(const std::string& topic);

    // Largest commit LSN of what was found so far.
    Lsn highest() const { return highest_; }
    uint64_t messages() const { return messages_; }  // found so far
    uint64_t records() const { return records_; }    // looked at so far

 private:
    void load(const std::vector<std::string>& topics);
    std::vector<PartitionRef> partitions_of(const std::vector<std::string>& topics);
    std::optional<int64_t> hint(const PartitionRef& partition, int64_t end) const;
    void skip_deleted(std::vector<TopicReader::Range>& ranges);
    // False if something stayed hidden.
    bool read_known(const std::vector<TopicReader::Range>& ranges,
                    std::map<std::string, WrittenPositions>& loaded);
    bool read_backwards(std::vector<TopicReader::Range> wholes,
                        std::map<std::string, WrittenPositions>& loaded);
    // Whether the record is ours and covered by the progress record.
    bool take(const ReadRecord& record, const std::string& topic, WrittenPositions& written);

    TopicReader reader_;
    Scope scope_;
    PartitionOffsets from_;
    std::map<std::string, WrittenPositions> topics_;
    Lsn highest_;
    uint64_t messages_ = 0;
    uint64_t records_ = 0;
};

}  // namespace walferry
