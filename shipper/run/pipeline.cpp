#include "run/pipeline.h"

#include <algorithm>

#include "config/text.h"
#include "fail_point/fail_point.h"
#include "format/value_text.h"
#include "run/logging.h"
#include "run/pipeline_errors.h"
#include "run/start_check.h"
#include "route/partition_hash.h"
#include "source/timestamps.h"

namespace walferry {
namespace {

// Acknowledgements are taken after so many messages: often enough to keep memory low, seldom enough to cost
// nothing.
constexpr uint32_t kPollInterval = 256;
constexpr std::chrono::milliseconds kBlockedPoll{20};
constexpr Ordinal kFromStart{};
constexpr int64_t kIdleMs = 1000;

// Where logical messages go, and which policies they have.
Destination message_destination(const TaskConfig& config, const TopicNames& names) {
    Destination destination;
    destination.topic = TopicTemplate(config.sink.message_topic).expand(names);
    destination.oversize = config.sink.oversize;
    destination.unrenderable = config.sink.unrenderable;
    destination.max_message_size = config.sink.max_message_size;
    if (destination.oversize == Oversize::dead_letter ||
        destination.unrenderable == Unrenderable::dead_letter)
        destination.dead_letter_topic = TopicTemplate(config.sink.dead_letter_topic).expand(names);
    return destination;
}

std::string quoted_name(std::string_view name) {
    std::string text = "\"";
    for (const char c : name) text.append(c == '"' ? 2 : 1, c);
    return text + "\"";
}

bool is_empty(const wire::Batch& batch) {
    return batch.transaction()->xid() == 0 && (batch.records() == nullptr || batch.records()->size() == 0);
}

std::string_view origin_of(const wire::Batch& batch) {
    return batch.origin_name() ? batch.origin_name()->string_view() : std::string_view();
}

// Whether every change of a row that is sent holds the row's message key.
bool always_has_key(const RelationSchema& relation, const Destination& destination,
                    const std::vector<uint16_t>& key) {
    const bool inserts_only = !destination.operations.update && !destination.operations.remove;
    if (inserts_only || relation.replica_identity == 'f') return true;
    return std::all_of(key.begin(), key.end(),
                       [&](uint16_t column) { return relation.columns[column].identity; });
}

}  // namespace

Pipeline::Pipeline(const TaskConfig& config, Counters& counters)
    : config_(config),
      counters_(counters),
      router_(config),
      delivery_(Delivery::make(config)),
      spool_(config.spool.directory, config.name, config.spool.size.value),
      in_progress_(spool_),
      substitution_(config, delivery_->sink(), counters, [this] { return delivery_->keep_going(); }) {
    if (!router_.distinguishes_tables()) {
        log_warning("the topic template does not keep tables apart: several may share a topic",
                    {{"topic", config.sink.topic}});
    }
}

void Pipeline::begin_session(SystemId system, Timeline timeline, const std::string& database, Lsn confirmed) {
    database_ = database;
    canal_.emplace(config_.sink.canal, database);
    walker_.emplace();
    mid_frames_ = false;
    blocked_.end();
    // All of it comes again: what was in progress, and what was prepared after start_position(), which must
    // not move until then.
    session_start_ = std::max(start_position(), confirmed);
    if (start_position() < resume_) {
        reread_from_ = start_position();
        reread_to_ = resume_;
    }
    in_progress_.clear();
    position_text_.set_history(system, timeline);
    delivery_->base().timeline = timeline;
}

void Pipeline::read_from(const SystemIdentity& server) {
    position_text_.set_history(server.system, server.timeline);
    delivery_->base().timeline = server.timeline;
    note_process(server, delivery_->base());
}

void Pipeline::begin(const ProgressRecord& record, std::optional<ReadBack::Scope> scope, Lsn recover_until) {
    resume_ = record.position;
    if (record.reread < record.position) {
        reread_from_ = record.reread;
        reread_to_ = record.position;
    }
    if (record.open) {
        resume_open_ = true;
        open_commit_ = record.open->commit;
        next_ordinal_ = record.open->next;
        deleted_ = record.open->deleted;
    }
    recover_until_ = recover_until;
    delivery_->begin(record, std::move(scope));
}

std::chrono::milliseconds Pipeline::behind() const {
    return std::chrono::milliseconds(commit_ms_ == 0 ? 0 : std::max<int64_t>(0, unix_ms_now() - commit_ms_));
}

Frontier Pipeline::frontier() const {
    Frontier frontier;
    frontier.produced = resume_;
    if (in_transaction() || resume_open_)
        frontier.open = ProgressRecord::Open{open_commit_, next_ordinal_, deleted_};
    frontier.held = held();
    // An idle stream is behind nothing.
    if (counters_.last_commit_unix_ms != 0 && unix_ms_now() - now_ms_ < kIdleMs)
        frontier.behind_ms = std::max<int64_t>(0, now_ms_ - counters_.last_commit_unix_ms);
    return frontier;
}

void Pipeline::prepare(Walker::Entry& entry) {
    Target& target = entry.prepared;
    target.destination = router_.route(entry.schema, database_);
    target.prepared = canal_->prepare(entry.schema, target.destination.key);
    target.topic = delivery_->topic(target.destination.topic);
    target.ddl_topic = delivery_->topic(target.destination.ddl_topic);
    target.oversize = substitution_.plan(target.destination);
    const HashFamily family =
        config_.sink.partition_hash == PartitionHash::java ? HashFamily::java : HashFamily::murmur2;
    target.table_hash = table_partition_hash(family, entry.schema.schema, entry.schema.table);
    switch (config_.sink.partition_by) {
        case PartitionBy::none:
            target.partitioning = Partitioning::zero;
            break;
        case PartitionBy::table:
            target.partitioning = Partitioning::table;
            break;
        case PartitionBy::key:
            // Rows without a key keep their order only within one partition, and so do rows whose DELETE does
            // not tell it: it would overtake the INSERT.
            target.partitioning = Partitioning::key;
            if (target.prepared.key.empty()) {
                target.partitioning = Partitioning::table;
            } else if (!always_has_key(entry.schema, target.destination, target.prepared.key)) {
                target.partitioning = Partitioning::table;
                warn_of_partial_key(entry.schema);
            }
            break;
    }
}

void Pipeline::warn_of_partial_key(const RelationSchema& relation) {
    if (!warned_.insert(relation.schema + "." + relation.table).second) return;
    log_warning(
        "the key's columns are not in the table's replica identity, so all its rows go to one partition",
        {{"schema", relation.schema},
         {"table", relation.table},
         {"remedy", "ALTER TABLE " + quoted_name(relation.schema) + "." + quoted_name(relation.table) +
                        " REPLICA IDENTITY FULL"}});
}

void Pipeline::relations(std::span<const uint8_t> bytes) {
    const WhileBlocked none;
    Producer producer{*this, none};
    walker_->open(bytes, producer);
    walker_->retire(in_progress_.next_number());
}

void Pipeline::frame(std::span<const uint8_t> bytes, const WhileBlocked& while_blocked, bool known) {
    Producer producer{*this, while_blocked};
    Walker& walker = *walker_;
    WALFERRY_FAIL_POINT("frame_received");
    if (known)
        walker.reopen(bytes);
    else
        walker.open(bytes, producer);
    const Lsn end{walker.transaction().end_lsn()};
    if (mid_frames_ && walker.header().kind != wire::FrameKind::transaction) throw order_error();
    switch (walker.header().kind) {
        case wire::FrameKind::transaction:
            transaction_frame(while_blocked);
            break;
        case wire::FrameKind::message:
            message_frame(while_blocked);
            break;
        default:
            in_progress_frame(bytes, while_blocked);
            break;
    }
    read_up_to(end);
    if (walker.has_retired()) walker.release(in_progress_.oldest_number());
    if (unpolled_ >= kPollInterval) poll();
}

void Pipeline::begin_group(Lsn commit, const WhileBlocked& while_blocked) {
    if (!in_transaction()) {
        if (delivery_->recovering() && recover_until_ < commit) delivery_->recovered();
        delivery_->begin_group([&] { wait_for_room(while_blocked); });
        blocked_.end();
        if (resume_open_ && commit == open_commit_) {
            resume_open_ = false;
            return;
        }
        if (resume_open_) throw interrupted_error();
        open_commit_ = commit;
        next_ordinal_ = kFromStart;
        deleted_ = false;
    } else if (commit != open_commit_) {
        throw interrupted_error();
    }
}

void Pipeline::end_group(Lsn end) {
    resume_ = end;
    Frontier at_end = frontier();
    at_end.open.reset();
    delivery_->end_group(end, at_end);
}

void Pipeline::transaction_frame(const WhileBlocked& while_blocked) {
    Walker& walker = *walker_;
    const wire::FrameHeader header = walker.header();
    const wire::Transaction& transaction = walker.transaction();
    if (header.first == mid_frames_) throw order_error();
    mid_frames_ = !header.last;
    const Lsn end{transaction.end_lsn()};
    walker.retire(in_progress_.next_number());
    // Read again because of a transaction that was prepared before it.
    if (end <= resume_) return;
    // The outage log's step over what was not for us, which may lie before the transaction to be resumed.
    if (resume_open_ && end <= open_commit_ && is_empty(walker.batch())) return;
    begin_group(Lsn{transaction.commit_lsn()}, while_blocked);
    if (header.first) origin_ = origin_of(walker.batch());
    now_ms_ = unix_ms_now();
    const int64_t commit_ms = unix_micros(transaction.commit_time()) / 1000;
    if (transaction.commit_time() != 0) commit_ms_ = commit_ms;
    Producer producer{*this, while_blocked};
    walker.visit(next_ordinal_, commit_ms, producer);
    if (transaction.commit_time() != 0) counters_.last_commit_unix_ms = commit_ms;
    if (header.last) {
        ++counters_.transactions;
        end_group(end);
    } else {
        within_group(while_blocked);
    }
}

void Pipeline::within_group(const WhileBlocked& while_blocked) {
    delivery_->within_group(frontier(), [&] { wait_for_room(while_blocked); });
    blocked_.end();
}

// A message outside of any transaction is one of its own. It may come again while an interrupted transaction
// that committed after it is being resumed.
void Pipeline::message_frame(const WhileBlocked& while_blocked) {
    walker_->retire(in_progress_.next_number());
    const Lsn end{walker_->transaction().end_lsn()};
    if (end <= resume_) return;
    // Either it was produced before the transaction that is being resumed, or its own sending was
    // interrupted.
    if ((in_transaction() || resume_open_) && open_commit_ != end) return;
    begin_group(end, while_blocked);
    origin_.clear();
    Producer producer{*this, while_blocked};
    walker_->visit(next_ordinal_, 0, producer);
    end_group(end);
}

void Pipeline::in_progress_frame(std::span<const uint8_t> bytes, const WhileBlocked& while_blocked) {
    Walker& walker = *walker_;
    const wire::Transaction transaction = walker.transaction();
    const wire::FrameKind kind = walker.header().kind;
    const Xid xid{transaction.xid()};
    // The relations that the frame brings or retires count from here on, whatever becomes of the transaction.
    // Records without a run are told when the frame is read back.
    const bool holds_rows =
        wire::in_progress(kind) && (walker.batch().runs() != nullptr || walker.record_count() > 0);
    if (holds_rows) {
        try {
            WALFERRY_FAIL_POINT("spool_append");
            in_progress_.append(xid, bytes);
            const std::string_view origin = origin_of(walker.batch());
            if (!origin.empty()) in_progress_.set_origin(xid, origin);
        } catch (const Error& error) {
            takes_streams_ = false;
            throw;
        }
    }
    walker.retire(in_progress_.next_number());
    switch (kind) {
        case wire::FrameKind::stream:
            break;
        case wire::FrameKind::stream_abort:
            in_progress_.abort(xid, Xid{walker.batch().aborted_xid()});
            break;
        case wire::FrameKind::prepare:
            // What was prepared before comes again with its COMMIT PREPARED, not from here.
            if (session_start_ <= Lsn{transaction.commit_lsn()})
                in_progress_.prepare(xid, Lsn{transaction.commit_lsn()});
            break;
        case wire::FrameKind::rollback_prepared:
            in_progress_.erase(xid);
            break;
        default:
            deliver(transaction, while_blocked);
            in_progress_.erase(xid);
            break;
    }
}

// Produces what the spool holds of a transaction that is committed now.
void Pipeline::deliver(const wire::Transaction& committed, const WhileBlocked& while_blocked) {
    const Lsn end{committed.end_lsn()};
    if (end <= resume_) return;
    begin_group(Lsn{committed.commit_lsn()}, while_blocked);
    const int64_t commit_ms = commit_ms_ = unix_micros(committed.commit_time()) / 1000;
    Producer producer{*this, while_blocked};
    Walker& walker = *walker_;
    if (InProgress::Transaction* transaction = in_progress_.end(Xid{committed.xid()})) {
        origin_ = transaction->origin;
        Ordinal next;
        SpoolChain::Reader reader(transaction->frames);
        try {
            while (const auto frame = reader.next()) {
                now_ms_ = unix_ms_now();
                WALFERRY_FAIL_POINT("spool_drain");
                walker.reopen(*frame);
                walker.visit_in_progress(committed, commit_ms, transaction->aborted, next_ordinal_, next,
                                         producer);
                if (unpolled_ >= kPollInterval) poll();
                within_group(while_blocked);
                if (!while_blocked()) throw stopped_error("Stopped in the middle of a large transaction", "");
            }
        } catch (const Error& error) {
            // What the disk has spoilt comes again from the server; not by way of the disk.
            if (error.code() == ErrorCode::frame_damaged || error.code() == ErrorCode::spool_failed ||
                error.code() == ErrorCode::spool_damaged) {
                takes_streams_ = false;
            }
            throw;
        }
    }
    counters_.last_commit_unix_ms = commit_ms;
    ++counters_.transactions;
    end_group(end);
}

// The server has sent everything that ended before `position`.
void Pipeline::read_up_to(Lsn position) {
    if (reread_to_ <= position) reread_from_ = Lsn{UINT64_MAX};
}

Lsn Pipeline::held() const {
    if (in_progress_.size() == 0) return reread_from_;
    return std::min(reread_from_, in_progress_.oldest_prepared().value_or(Lsn{UINT64_MAX}));
}

void Pipeline::produce(const LogicalMessage& message, const WhileBlocked& while_blocked) {
    if (!message_topic_) {
        const TopicNames names{database_, "", "", config_.name};
        const Destination destination = message_destination(config_, names);
        message_topic_ = delivery_->topic(destination.topic);
        message_plan_ = substitution_.plan(destination);
    }
    const wire::MessageView& view = message.view;
    const std::string_view prefix{reinterpret_cast<const char*>(view.prefix), view.prefix_size};
    const std::string_view content{reinterpret_cast<const char*>(view.content), view.content_size};
    const uint32_t hash = kafka_partition_hash(prefix);
    const MessagePosition position{message.lsn, message.ordinal.value};
    if (message.oversize || prefix.size() + content.size() + origin_.size() > message_plan_.room)
        [[unlikely]] {
        std::optional<Error> error;
        if (message.oversize) {
            error = oversize_error(
                "A logical message with prefix " + excerpt(prefix) + " does not fit into a frame",
                "Set sink.unrenderable to send something in its place, or leave its prefix out of "
                "source.messages.");
        }
        const Cause cause = error ? Cause::left_out : Cause::too_large;
        const TopicHandle topic = instead_topic(message_plan_, cause, *message_topic_);
        if (already_written(topic, position)) return;
        const std::string text(position_text_.of(position));
        send_all(substitution_.of_message(message_plan_, cause, error ? &*error : nullptr, prefix,
                                          error ? std::string_view() : content, text, origin_),
                 topic, hash, while_blocked);
        return;
    }
    send(*message_topic_, prefix, content, position, hash, while_blocked);
}

void Pipeline::produce(Walker::Entry& entry, const Row& row, const WhileBlocked& while_blocked) {
    const Target& target = entry.prepared;
    const Operations& operations = target.destination.operations;
    switch (row.operation) {
        case wire::Operation::Insert:
            if (!operations.insert) return;
            break;
        case wire::Operation::Update:
            if (!operations.update) return;
            break;
        case wire::Operation::Delete:
            if (!operations.remove) return;
            break;
        case wire::Operation::Truncate:
            if (!operations.truncate) return;
            break;
        default:
            break;
    }
    if (target.destination.key_change != KeyChanges::delete_insert ||
        !changes_key(row, target.prepared.key)) {
        produce_part(entry, row, Part::whole, while_blocked);
        return;
    }
    if (operations.remove && !deleted_) {
        produce_part(entry, key_change_.deleted(row), Part::deleted, while_blocked);
        deleted_ = true;
    }
    if (operations.insert) produce_part(entry, key_change_.inserted(row), Part::inserted, while_blocked);
    deleted_ = false;
}

void Pipeline::produce_part(Walker::Entry& entry, const Row& row, Part part,
                            const WhileBlocked& while_blocked) {
    const Target& target = entry.prepared;
    const bool truncate = row.operation == wire::Operation::Truncate;
    // The flags of a truncate share the field.
    if (!truncate && (row.images & wire::kOversize) != 0) [[unlikely]] {
        const Error error = oversize_error(
            "A row of table " + entry.schema.schema + "." + entry.schema.table + " does not fit into a frame",
            "Set sink.unrenderable, or `unrenderable` for the table, to send something in its place, or "
            "leave the table out of "
            "source.tables, or the operation out of `operations` in a [[table]] entry, until the row is "
            "passed.");
        produce_instead(entry, row, part, Cause::left_out, &error, while_blocked);
        return;
    }
    value_.clear();
    RenderStatus status = canal_->render(target.prepared, row, now_ms_, value_);
    if (status.outcome == Rendered::nothing) return;
    if (status.outcome == Rendered::bad_value) [[unlikely]] {
        const Error error = bad_value_error(entry.schema, status);
        produce_instead(entry, row, part, Cause::bad_value, &error, while_blocked);
        return;
    }
    key_.clear();
    status = canal_->render_key(target.prepared, row, key_);
    if (status.outcome == Rendered::bad_value) [[unlikely]] {
        const Error error = bad_value_error(entry.schema, status);
        produce_instead(entry, row, part, Cause::bad_value, &error, while_blocked);
        return;
    }
    const std::string_view key = status.outcome == Rendered::message ? key_.view() : std::string_view();
    if (key.size() + value_.size() + origin_.size() > target.oversize.room) [[unlikely]] {
        produce_instead(entry, row, part, Cause::too_large, nullptr, while_blocked);
        return;
    }

    const TopicHandle topic = truncate ? target.ddl_topic : target.topic;
    const uint32_t hash = partition_hash(target, row, key);
    WALFERRY_FAIL_POINT("row_rendered");
    send(topic, key, value_.view(), position_of(row, part), hash, while_blocked);
}

void Pipeline::produce_instead(Walker::Entry& entry, const Row& row, Part part, Cause cause,
                               const Error* error, const WhileBlocked& while_blocked) {
    const Target& target = entry.prepared;
    key_.clear();
    const RenderStatus status = canal_->render_key(target.prepared, row, key_);
    const std::string_view key = status.outcome == Rendered::message ? key_.view() : std::string_view();
    const MessagePosition position = position_of(row, part);
    const TopicHandle topic = instead_topic(target.oversize, cause, target.topic);
    if (already_written(topic, position)) return;
    const std::string text(position_text_.of(position));
    send_all(substitution_.of_row(target.oversize, *canal_, target.prepared, row, cause, error, key, text,
                                  origin_, value_),
             topic, partition_hash(target, row, key), while_blocked);
}

TopicHandle Pipeline::instead_topic(const OversizePlan& plan, Cause cause, TopicHandle topic) {
    // Made when it is needed, so that a task without trouble has no such topic.
    return sets_aside(plan, cause) ? delivery_->topic(plan.dead_letter_topic) : topic;
}

void Pipeline::send_all(std::span<const SubstituteMessage> messages, TopicHandle topic,
                        uint32_t partition_hash, const WhileBlocked& while_blocked) {
    std::vector<MessageHeader> headers;
    for (const SubstituteMessage& message : messages) {
        headers.clear();
        for (const NamedHeader& header : message.headers) headers.push_back({header.name, header.value});
        hand_over(topic, message.key, message.content(), message.position, partition_hash, headers,
                  while_blocked);
    }
    ++counters_.rows;
}

void Pipeline::send(TopicHandle topic, std::string_view key, std::string_view value,
                    const MessagePosition& position, uint32_t partition_hash,
                    const WhileBlocked& while_blocked) {
    if (already_written(topic, position)) [[unlikely]]
        return;
    const bool headers = config_.sink.headers == Headers::position;
    hand_over(topic, key, value, headers ? position_text_.of(position) : std::string_view(), partition_hash,
              {}, while_blocked);
    ++counters_.rows;
}

void Pipeline::hand_over(TopicHandle topic, std::string_view key, std::string_view value,
                         std::string_view position, uint32_t partition_hash,
                         std::span<const MessageHeader> extra, const WhileBlocked& while_blocked) {
    const std::string_view origin =
        origin_.empty() || position.data() == nullptr ? std::string_view() : std::string_view(origin_);
    while (delivery_->produce(topic, key, value, position, partition_hash, origin, extra) ==
           Produced::queue_full) {
        wait_for_room(while_blocked);
    }
    blocked_.end();
    ++unpolled_;
    counters_.message_bytes += key.size() + value.size();
}

uint32_t Pipeline::partition_hash(const Target& target, const Row& row, std::string_view key) {
    switch (target.partitioning) {
        case Partitioning::zero:
            return kPartitionZero;
        case Partitioning::table:
            return target.table_hash;
        case Partitioning::key:
            break;
    }
    // A truncate has no key; by DTS's policy it goes to partition 0.
    if (key.data() == nullptr) return kPartitionZero;
    if (config_.sink.partition_hash == PartitionHash::murmur2) return kafka_partition_hash(key);
    JavaKeyHash hash;
    const wire::ValueView* image = row.operation == wire::Operation::Delete ? row.before : row.after;
    for (const uint16_t column : target.prepared.key) {
        // A value that was not logged is what it was before. The key was rendered from the same values, so
        // none is bad.
        const wire::ValueView& value =
            image[column].state == wire::ValueState::unchanged ? row.before[column] : image[column];
        if (value.state != wire::ValueState::value) {
            hash.add_null();
            continue;
        }
        scratch_.clear();
        (void)append_text(row.relation.columns[column].value_class, value, TextOptions{}, scratch_);
        hash.add(scratch_.view());
    }
    return hash.partition_hash();
}

void Pipeline::wait_for_room(const WhileBlocked& while_blocked) {
    blocked_.begin();
    poll(kBlockedPoll);
    if (!while_blocked()) {
        throw stopped_error("Stopped while Kafka took no more messages", sink().last_error());
    }
}

void Pipeline::keepalive(Lsn wal_end) {
    read_up_to(wal_end);
    if (mid_frames_ || in_transaction() || resume_open_) return;
    if (delivery_->recovering() && recover_until_ < wal_end) delivery_->recovered();
    delivery_->keepalive(wal_end);
    if (resume_ < wal_end) resume_ = wal_end;
}

void Pipeline::poll(std::chrono::milliseconds wait) {
    unpolled_ = 0;
    delivery_->poll(wait);
}

bool Pipeline::flush(std::chrono::milliseconds timeout, bool divide) {
    if (divide) delivery_->divide(frontier());
    const auto deadline = Delivery::Clock::now() + timeout;
    while (true) {
        poll();
        tick(true);
        if (delivery_->settled()) return true;
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Delivery::Clock::now());
        if (left.count() <= 0) return false;
        poll(std::min(left, kBlockedPoll));
    }
}

}  // namespace walferry
