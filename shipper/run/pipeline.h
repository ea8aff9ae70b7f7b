// From frames to Kafka: everything between the replication stream and the position that may be confirmed. It
// outlives a lost connection to the source, so that reading again from there repeats nothing that this
// process has produced; when the producer has to be replaced, so has this.
//
// Thread contract: one thread. Errors: Error; after one whose retry class is not `source` the object is of no
// more use.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "config/task.h"
#include "fail_point/fail_point.h"
#include "delivery/delivery.h"
#include "format/canal_json.h"
#include "position/position_text.h"
#include "record/frame_walker.h"
#include "record/output.h"
#include "route/key_change.h"
#include "route/router.h"
#include "run/blocked_time.h"
#include "run/counters.h"
#include "run/substitution.h"
#include "sink/kafka_sink.h"
#include "source/replication_stream.h"
#include "spool/in_progress.h"
#include "spool/spool.h"

namespace walferry {

class Pipeline {
 public:
    // Called again and again while the source is not read, because Kafka takes nothing more or a transaction
    // comes from the spool, so that the source hears from us. Returns false to give up; frame() then throws
    // Error (source_stopped).
    using WhileBlocked = std::function<bool()>;

    Pipeline(const TaskConfig& config, Counters& counters);

    // Waits for a broker; throws Error (source_stopped soon after `stop` becomes true).
    void connect(const std::atomic<bool>& stop) { delivery_->connect(stop); }
    // Fences what came before, and reads the last progress record; nothing if there is none.
    std::optional<ProgressRecord> open() { return delivery_->open(); }
    // Writes a progress record: the slot is about to be made, or this instance begins.
    void announce(ProgressRecord record) { delivery_->announce(std::move(record)); }
    // Goes on from where the record says. `scope`: where to look for what a crash has left in Kafka, for
    // transactions up to `recover_until`.
    void begin(const ProgressRecord& record, std::optional<ReadBack::Scope> scope, Lsn recover_until);
    const std::string& progress_topic() const { return delivery_->progress_topic(); }
    bool begun() const { return delivery_->begun(); }
    // Whether another instance of the task has begun since.
    bool overtaken() { return delivery_->overtaken(); }
    // Looks for what a crash has left in Kafka, once. In each session, while the slot is held.
    void look_back() { delivery_->look_back(); }
    // Called now and then in what takes long; false gives up.
    void set_keep_going(std::function<bool()> keep_going) {
        delivery_->set_keep_going(std::move(keep_going));
    }

    // A new replication session starts: ids of relations begin anew. `confirmed` is the slot's position.
    void begin_session(SystemId system, Timeline timeline, const std::string& database, Lsn confirmed);
    // Which history the positions of what follows belong to. Not while a frame is taken.
    void read_from(const SystemIdentity& server);

    const BlockedTime& blocked() const { return blocked_; }
    // Age of the commit that is being delivered, or was last.
    std::chrono::milliseconds behind() const;

    // Where the source must start so that nothing is missing: everything before has been produced. 0 before
    // begin().
    Lsn resume_position() const { return resume_; }
    // Where reading has to begin for that: earlier, if a transaction prepared before it has not ended.
    Lsn start_position() const { return std::min(resume_, held()); }
    // The end of what has been produced: later than resume_position() if a transaction was cut off in the
    // middle.
    Lsn reached() const {
        return in_transaction() ? std::max(resume_, Lsn{open_commit_.value + 1}) : resume_;
    }
    // Whether transactions in progress may come: not after the spool could not take one.
    bool takes_streams() const { return takes_streams_; }

    // Produces a frame's changes. Blocks while the producer's queue is full. `known`: its relations have been
    // told already, by relations().
    void frame(std::span<const uint8_t> bytes, const WhileBlocked& while_blocked, bool known = false);
    // Takes in a frame's relations, and nothing else of it.
    void relations(std::span<const uint8_t> bytes);
    // The server has nothing for us before `wal_end`.
    void keepalive(Lsn wal_end);

    // Takes Kafka's acknowledgements; waits up to `wait` for the first.
    void poll(std::chrono::milliseconds wait = std::chrono::milliseconds(0));
    // Writes what is due of the progress, or all that can be written `now`. Call it as often as
    // next_tick() says and now and then.
    void tick(bool now = false) { delivery_->tick(frontier(), now); }
    std::optional<Delivery::Clock::time_point> next_tick() const { return delivery_->next_tick(); }
    int wake_fd() const { return delivery_->wake_fd(); }
    // Waits until Kafka has everything, and the progress record of it; the beginning of a transaction that is
    // open comes to count only with `divide`. False when the time is over before.
    bool flush(std::chrono::milliseconds timeout, bool divide = false);

    // Everything that ended before is in Kafka, and so is a progress record that says it.
    Lsn recorded() const { return delivery_->recorded(); }
    // What may be told to the slot.
    Lsn confirmed() const { return delivery_->confirmed(); }
    bool idle() const { return delivery_->idle(); }
    bool in_transaction() const { return delivery_->in_group(); }
    uint64_t outstanding() const { return delivery_->outstanding(); }
    const KafkaSink& sink() const { return delivery_->sink(); }
    // For how long Kafka has not got on with what it was given; 0 if it has everything.
    std::chrono::milliseconds stalled_for() const { return delivery_->stalled_for(); }
    std::chrono::milliseconds commit_waits_for() const { return delivery_->commit_waits_for(); }

 private:
    enum class Partitioning { zero, table, key };
    // Of a change: its position says which one a message is.
    enum class Part : uint8_t { whole, deleted, inserted };
    struct Target {
        PreparedRelation prepared;
        Destination destination;
        TopicHandle topic;
        TopicHandle ddl_topic;
        OversizePlan oversize;
        uint32_t table_hash = 0;
        Partitioning partitioning = Partitioning::zero;
    };
    using Walker = FrameWalker<Target>;

    // The visitor of FrameWalker.
    struct Producer {
        Pipeline& pipeline;
        const WhileBlocked& while_blocked;
        void on_relation(Walker::Entry& entry) { pipeline.prepare(entry); }
        // A change counts as produced when it is: the source may be lost while the producer has no room for
        // it.
        void on_row(Walker::Entry& entry, const Row& row) {
            pipeline.produce(entry, row, while_blocked);
            pipeline.next_ordinal_ = Ordinal{row.ordinal.value + 1};
            WALFERRY_FAIL_POINT("message_produced");
        }
        void on_message(const LogicalMessage& message) {
            pipeline.produce(message, while_blocked);
            pipeline.next_ordinal_ = Ordinal{message.ordinal.value + 1};
        }
    };

    void prepare(Walker::Entry& entry);
    void warn_of_partial_key(const RelationSchema& relation);
    void produce(Walker::Entry& entry, const Row& row, const WhileBlocked& while_blocked);
    void produce_part(Walker::Entry& entry, const Row& row, Part part, const WhileBlocked& while_blocked);
    // In place of a record that cannot be sent as it is. `error`: what it would be with the policy `stop`.
    void produce_instead(Walker::Entry& entry, const Row& row, Part part, Cause cause, const Error* error,
                         const WhileBlocked& while_blocked);
    void produce(const LogicalMessage& message, const WhileBlocked& while_blocked);
    void send(TopicHandle topic, std::string_view key, std::string_view value,
              const MessagePosition& position, uint32_t partition_hash, const WhileBlocked& while_blocked);
    bool already_written(TopicHandle topic, const MessagePosition& position) {
        return delivery_->recovering() && delivery_->already_written(topic, position);
    }
    // Where what stands in place of a record of `topic` goes.
    TopicHandle instead_topic(const OversizePlan& plan, Cause cause, TopicHandle topic);
    void send_all(std::span<const SubstituteMessage> messages, TopicHandle topic, uint32_t partition_hash,
                  const WhileBlocked& while_blocked);
    void hand_over(TopicHandle topic, std::string_view key, std::string_view value, std::string_view position,
                   uint32_t partition_hash, std::span<const MessageHeader> extra,
                   const WhileBlocked& while_blocked);
    void transaction_frame(const WhileBlocked& while_blocked);
    void message_frame(const WhileBlocked& while_blocked);
    void in_progress_frame(std::span<const uint8_t> bytes, const WhileBlocked& while_blocked);
    void deliver(const wire::Transaction& committed, const WhileBlocked& while_blocked);
    void begin_group(Lsn commit, const WhileBlocked& while_blocked);
    void within_group(const WhileBlocked& while_blocked);
    void end_group(Lsn end);
    void read_up_to(Lsn position);
    // Not to be passed: prepared transactions from there on must come again.
    Lsn held() const;
    uint32_t partition_hash(const Target& target, const Row& row, std::string_view key);
    static MessagePosition position_of(const Row& row, Part part) {
        return {row.commit_lsn, row.ordinal.value, static_cast<uint32_t>(part)};
    }
    void wait_for_room(const WhileBlocked& while_blocked);
    Frontier frontier() const;

    const TaskConfig& config_;
    Counters& counters_;
    Router router_;
    std::unique_ptr<Delivery> delivery_;
    Spool spool_;
    InProgress in_progress_;
    std::optional<CanalJson> canal_;
    std::optional<TopicHandle> message_topic_;  // once a message has come
    OversizePlan message_plan_;                 // of logical messages
    Substitution substitution_;
    std::optional<Walker> walker_;
    std::string database_;
    std::set<std::string> warned_;  // tables whose key is not in their replica identity

    KeyChange key_change_;
    Output key_;
    Output value_;
    Output scratch_;
    PositionText position_text_;
    int64_t now_ms_ = 0;
    int64_t commit_ms_ = 0;  // of the transaction that is being delivered, or was last; Unix time
    BlockedTime blocked_;

    Lsn resume_;
    Lsn session_start_;  // what was prepared before comes at its COMMIT PREPARED
    // The session reads again from `reread_from_`, because of prepared transactions, until it has come to
    // where the one before was.
    Lsn reread_from_{UINT64_MAX};
    Lsn reread_to_;
    bool takes_streams_ = true;
    // The open transaction: what of it has been produced, to skip when it comes again after a lost
    // connection.
    Lsn open_commit_;
    std::string origin_;  // name of its replication origin; empty: none
    Ordinal next_ordinal_;
    bool deleted_ = false;      // of the next change the DELETE of its old key has been produced
    bool resume_open_ = false;  // open_commit_ and what follows are the progress record's
    bool mid_frames_ = false;   // the session has sent the transaction's first frame, and not yet its last
    Lsn recover_until_;         // while delivery_->recovering()
    uint32_t unpolled_ = 0;
};

}  // namespace walferry
