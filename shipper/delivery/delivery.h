// How messages reach Kafka, and which position the source may be told: what both promises share.
//
// A transaction of the source is a group (progress/ack_tracker.h). Between Kafka's acknowledgements and the
// source stands the progress record: the source is told no position that a record in Kafka does not hold.
//
// Life: construct, connect(), open(), begin(); then groups, poll() and tick(). After an Error that is not of
// retry class `source` the object is of no more use; the next one finds out in open() how far this one came.
// Thread contract: one thread. Errors: Error.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "config/task.h"
#include "delivery/read_back.h"
#include "progress/ack_tracker.h"
#include "progress/progress_record.h"
#include "sink/kafka_sink.h"
#include "sink/topics.h"

namespace walferry {

// How far the pipeline has come.
struct Frontier {
    Lsn produced;                              // everything that ended before has been produced,
    std::optional<ProgressRecord::Open> open;  // and this much of the transaction that is open
    Lsn held{UINT64_MAX};                      // the slot must not pass this
    int64_t behind_ms = 0;                     // age of the last commit
};

class Delivery {
 public:
    using Clock = std::chrono::steady_clock;
    // Waits a little, serving everybody; throws Error to give up.
    using Wait = std::function<void()>;

    static std::unique_ptr<Delivery> make(const TaskConfig& config);
    virtual ~Delivery() = default;
    Delivery(const Delivery&) = delete;
    Delivery& operator=(const Delivery&) = delete;

    // Called now and then in what takes long; false gives up. Set it before anything else.
    void set_keep_going(std::function<bool()> keep_going) { keep_going_ = std::move(keep_going); }
    bool keep_going() const { return keep_going_(); }
    // Waits for a broker; throws Error (source_stopped soon after `stop` becomes true).
    void connect(const std::atomic<bool>& stop);
    // Fences what came before, and reads the last progress record; nothing if there is none.
    std::optional<ProgressRecord> open();
    const std::string& progress_topic() const { return progress_topic_name_; }
    // Writes a record and waits for it: that the slot is about to be made, or that an instance begins.
    void announce(ProgressRecord record);
    // `record`: where it goes on, announced; later ones are like it but for what changes. `scope`: where to
    // look for messages that a crash has left, by look_back(); nothing: there was none.
    void begin(ProgressRecord record, std::optional<ReadBack::Scope> scope);
    bool begun() const { return begun_; }
    // Whether another instance has written since open(). To be asked while the slot is held: whoever writes
    // after that does not get it.
    bool overtaken();
    // Looks at the topics that the record names for what a crash has left; others follow at their first use.
    // Call it in each session, once nobody else can write any more: while the slot is held. Does it once.
    void look_back();
    // What later records say, too.
    ProgressRecord& base() { return base_; }

    TopicHandle topic(const std::string& name);
    // Copies everything.
    Produced produce(TopicHandle topic, std::string_view key, std::string_view value,
                     std::string_view position, uint32_t partition_hash, std::string_view origin,
                     std::span<const MessageHeader> extra = {}) {
        const Produced produced = active_->produce(topic.of[active_index_], key, value, position,
                                                   partition_hash, group_, origin, extra);
        if (produced == Produced::ok) {
            // Its acknowledgement is taken by poll() only, so this is early enough.
            tracker_.produced();
            ++messages_;
            bytes_ += key.size() + value.size();
        }
        return produced;
    }

    // Whether messages have to be looked up by already_written(): while the transactions come again that a
    // crash may have cut.
    bool recovering() const { return read_back_ != nullptr; }
    bool already_written(TopicHandle topic, const MessagePosition& position);
    void recovered();

    void begin_group(const Wait& wait);
    // The group's last transaction ended at `end`, which `frontier` includes.
    void end_group(Lsn end, const Frontier& frontier);
    bool in_group() const { return tracker_.in_group(); }
    // Within a group, now and then.
    virtual void within_group(const Frontier&, const Wait&) {}
    void keepalive(Lsn wal_end) { tracker_.keepalive(wal_end); }

    // Takes what Kafka has acknowledged; waits up to `wait` for the first.
    virtual void poll(std::chrono::milliseconds wait = std::chrono::milliseconds(0)) = 0;
    // Writes the progress record if one is due, or `now`.
    virtual void tick(const Frontier& frontier, bool now = false) = 0;
    // When tick() has something to do, if nothing comes before.
    virtual std::optional<Clock::time_point> next_tick() const { return std::nullopt; }
    // Readable when poll() has something to do.
    virtual int wake_fd() const { return active_->wake_fd(); }

    // What the slot may be told: held by a record that Kafka has.
    Lsn confirmed() const { return recorded_.confirmed(); }
    // Everything before is in Kafka together with a progress record.
    Lsn recorded() const { return recorded_.position; }
    // Whether waiting brings nothing more: Kafka has what can be acknowledged, and a record of it.
    virtual bool settled() const = 0;
    // Nothing open, nothing that a record in Kafka does not cover.
    bool idle() const { return settled() && !in_group(); }
    // Lets the beginning of the open transaction count.
    virtual void divide(const Frontier&) {}
    uint64_t outstanding() const { return tracker_.outstanding(); }
    // For how long a transaction's commit has been under way; 0: none is.
    virtual std::chrono::milliseconds commit_waits_for() const { return std::chrono::milliseconds(0); }
    // For how long Kafka has not got on with what it was given; 0 if it has everything.
    std::chrono::milliseconds stalled_for() const {
        return std::max(active_->stalled_for(), commit_waits_for());
    }
    const KafkaSink& sink() const { return *active_; }

 protected:
    explicit Delivery(const TaskConfig& config, std::vector<SinkOptions> producers);

    virtual bool exactly_once() const = 0;
    virtual void start_group(const Wait& wait) = 0;
    virtual void finish_group(const Frontier& frontier) = 0;
    // Writes base() and waits until Kafka has it.
    virtual void write_base() = 0;

    // Within a group: what has been produced of it is a group of its own from now on. Number of the next one.
    uint32_t divide_group() { return group_ = tracker_.divide(); }

    std::optional<ProgressRecord> read_last();
    std::string record_key(uint64_t epoch) const;
    // Calls with each record of the task from there on; the end that was read to.
    int64_t read_records(TopicReader& reader, int64_t from, int64_t end,
                         const std::function<void(uint64_t, ProgressRecord)>& visit);
    // Whether everything that was found in the topics stands before what is produced now.
    bool past_what_was_found(const Frontier& frontier) const;
    // Where a start may begin to look, from the next record on.
    void note_offsets(const PartitionOffsets& ends);
    ProgressRecord record_of(const Frontier& frontier);
    // Into the active producer.
    void produce_record(const ProgressRecord& record);
    void take(std::span<const Acknowledged> acknowledged);
    Topics& topics() { return topics_; }

    const TaskConfig& config_;
    std::vector<std::unique_ptr<KafkaSink>> sinks_;
    KafkaSink* active_;
    size_t active_index_ = 0;
    AckTracker tracker_;
    ProgressRecord recorded_;  // the last one that Kafka has
    uint64_t messages_ = 0;    // produced since whoever reads it set it to 0
    uint64_t bytes_ = 0;
    std::function<bool()> keep_going_ = [] { return true; };

 private:
    std::string instance_;
    Topics topics_;
    std::string progress_topic_name_;
    std::optional<TopicHandle> progress_topic_;
    ProgressRecord base_;
    OffsetChanges offset_changes_;
    uint64_t changes_ = 0;
    uint64_t sequence_ = 0;  // of the last record
    int64_t read_to_ = 0;    // offset in the progress topic that open() came to
    std::unique_ptr<ReadBack> read_back_;
    std::unordered_map<const void*, const WrittenPositions*> written_;
    uint64_t skipped_ = 0;
    uint32_t group_ = 0;
    bool begun_ = false;
    bool looked_back_ = false;
};

SinkOptions sink_options(const TaskConfig& config);

}  // namespace walferry
