// The progress record: how far a task has come, as one JSON document under the task's name in a compacted
// topic. Its format is versioned; docs/delivery.md describes each member.
// Pure functions; any thread. Errors: Error (progress_format, progress_version).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/types.h"

namespace walferry {

// What was left out knowingly, by `--accept-gap`.
struct AcceptedGap {
    std::string reason;  // the error's code that was overruled
    Lsn from;            // 0: not known
    Lsn to;
    std::string time;  // ISO 8601, UTC
};

// Of each partition written to: an offset before which every message of this task has a position that the
// record covers. Where the tails to be read after a crash begin.
using PartitionOffsets = std::map<std::string, std::map<int32_t, int64_t>>;

struct ProgressRecord {
    // `creating`: the slot is about to be made; there is no position yet.
    enum class State { creating, streaming };

    std::string task;
    State state = State::streaming;
    bool exactly_once = false;  // how the messages after it are produced
    // Whether messages after it may be in Kafka: what a start has to look for.
    bool tail = true;
    uint64_t epoch = 0;       // of the instance that wrote it; one more with each start
    uint64_t sequence = 0;    // within the epoch
    std::string instance;     // random: two that begin at the same time have the same epoch
    uint64_t generation = 0;  // one more with each accepted gap: positions rise within one only

    SystemId system;
    Timeline timeline;
    std::string server_started;  // SystemIdentity::started of a server first read as a standby; else empty
    std::string database;
    std::string slot;

    // Everything that ended before is in Kafka, and of the transaction with this commit LSN the changes
    // before the ordinal, if one is open (exactly-once, a transaction larger than Kafka's may be).
    Lsn position;
    struct Open {
        Lsn commit;
        Ordinal next;
        bool deleted = false;  // of the next change the DELETE of its old key is there, too
    };
    std::optional<Open> open;
    // Where reading has to begin: before `position` if a transaction prepared before has not ended.
    Lsn reread;

    PartitionOffsets offsets;                    // at-least-once only
    std::map<std::string, std::string> schemas;  // fingerprint of each table's schema, by name
    std::string config;                          // fingerprint of the settings that shape what is written
    std::string spool;                           // id of the log that takes what comes while Kafka is away
    std::vector<AcceptedGap> gaps;               // the latest ones
    std::string version;                         // of walferry
    std::string time;                            // when it was written, ISO 8601, UTC

    // What the slot may be told.
    Lsn confirmed() const { return reread < position ? reread : position; }
};

std::string to_json(const ProgressRecord& record);

// When the offsets of a topic have changed last, as a rising number; a topic that is missing: before all
// others.
using OffsetChanges = std::unordered_map<std::string, uint64_t>;
// Leaves out whole topics until what is left takes at most so many bytes in JSON: those first that have not
// changed for longest. Of a topic that is left out a start looks for the end when it first writes to it,
// which costs little where nothing is written.
void bound_offsets(PartitionOffsets& offsets, size_t most_bytes, const OffsetChanges& changes);
// `from`: where the text stands, for errors: "topic walferry.progress.shop, offset 17".
ProgressRecord parse_progress_record(std::string_view text, const std::string& from);

// Whether `a` was written after `b`, as far as their numbers tell.
inline bool later(const ProgressRecord& a, const ProgressRecord& b) {
    return a.epoch != b.epoch ? a.epoch > b.epoch : a.sequence > b.sequence;
}

// What the records of all instances say together. Each of them is true, also that of an instance which was
// late: so the farthest position counts. Where to look for what comes after it, says the newest instance: it
// alone knows what it has written.
ProgressRecord combined(const ProgressRecord& a, const ProgressRecord& b);

// "2026-01-31T12:00:00Z" of now.
std::string utc_now();

}  // namespace walferry
