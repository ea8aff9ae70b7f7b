#include "batch.h"

#include "relation_cache.h"

namespace walferry {
namespace {

// A buffer that a huge row has blown up is given back after its frame.
constexpr Size kKeep = 1024 * 1024;

uint8_t* grow(void* context, uint8_t* old, size_t size, size_t capacity) {
    auto* block =
        static_cast<uint8_t*>(MemoryContextAllocHuge(static_cast<MemoryContext>(context), capacity));
    if (size) memcpy(block, old, size);
    if (old) pfree(old);
    return block;
}

void init_buffer(wire::Buffer* buffer, MemoryContext context, Size capacity) {
    *buffer = {};
    buffer->grow = grow;
    buffer->context = context;
    buffer->data = static_cast<uint8_t*>(MemoryContextAlloc(context, capacity));
    buffer->capacity = capacity;
}

void empty_buffer(wire::Buffer* buffer) {
    buffer->size = 0;
    if (buffer->capacity > kKeep) {
        auto* context = static_cast<MemoryContext>(buffer->context);
        pfree(buffer->data);
        buffer->data = nullptr;
        buffer->capacity = 0;
        init_buffer(buffer, context, Batch::kTarget * 2);
    }
}

}  // namespace

void Batch::init(LogicalDecodingContext* ctx, RelationCache* cache, const char* database) {
    ctx_ = ctx;
    cache_ = cache;
    database_ = database;
    context_ = AllocSetContextCreate(ctx->context, "walferry frame", ALLOCSET_DEFAULT_SIZES);
    init_buffer(&records_, context_, 16 * 1024);
    init_buffer(&runs_, context_, 1024);
    init_buffer(&values_, context_, kTarget * 2);
    init_buffer(&relations_, context_, 8 * 1024);
    init_buffer(&relation_tables_, context_, 256);
    init_buffer(&relation_oids_, context_, 256);
    init_buffer(&retired_, context_, 256);
}

void Batch::start(const wire::Transaction& transaction, const char* origin_name) {
    // Anything still here belongs to a transaction that an ERROR ended: its schemas have not reached the
    // reader.
    for (Size i = 0; i < relation_oids_.size; i += sizeof(::Oid)) {
        ::Oid oid;
        memcpy(&oid, relation_oids_.data + i, sizeof(oid));
        cache_->forget_announcement(oid);
    }
    clear();
    transaction_ = transaction;
    origin_name_ = origin_name;
    progress_ = nullptr;
    run_ = wire::Run();
}

void Batch::begin(const wire::Transaction& transaction, const char* origin_name) {
    start(transaction, origin_name);
    next_ordinal_ = 0;
    frame_ordinal_ = 0;
    frames_ = 0;
}

void Batch::begin_block(const wire::Transaction& transaction, const char* origin_name, InProgress* progress) {
    start(transaction, origin_name);
    progress_ = progress;
    next_ordinal_ = progress->next_ordinal;
    frame_ordinal_ = next_ordinal_;
    frames_ = progress->frames;
}

void Batch::start_run(uint32 xid) {
    finish_run();
    // A transaction may go from one subtransaction to another all the time with nothing selected.
    if (runs_.size >= kTarget) flush(false);
    run_ = wire::Run(0, xid, 0);
    run_ordinal_ = next_ordinal_;
    run_records_ = records_.size / sizeof(wire::Record);
}

void Batch::finish_run() {
    uint64 changes = next_ordinal_ - run_ordinal_;
    if (run_.xid() != 0 && changes != 0) {
        wire::Run run(changes, run_.xid(), uint32(records_.size / sizeof(wire::Record) - run_records_));
        runs_.append(&run, sizeof(run));
    }
    run_ = wire::Run();
}

void Batch::end_block() {
    if (progress_ == nullptr) return;
    flush(false);
    progress_->next_ordinal = next_ordinal_;
    progress_->frames = frames_;
    progress_ = nullptr;
}

void Batch::write_ending(const Ending& ending) {
    if (progress_ != nullptr) {
        finish_run();
        progress_ = nullptr;
        transaction_ = ending.transaction;
    } else {
        start(ending.transaction, nullptr);
    }
    wire::FrameParts parts;
    parts.kind = ending.kind;
    parts.first = false;
    parts.last = true;
    parts.aborted_xid = ending.aborted_xid;
    parts.gid = ending.gid;
    write(parts);
}

void Batch::clear() {
    empty_buffer(&records_);
    empty_buffer(&runs_);
    empty_buffer(&values_);
    empty_buffer(&relations_);
    relation_tables_.size = 0;
    relation_oids_.size = 0;
    row_start_ = 0;
}

void Batch::commit_row(uint32 relation, wire::Operation operation, uint8 images) {
    Size length = values_.size - row_start_;
    // The runs of a block cover every ordinal, also those before the frame's first record.
    bool first_record = records_.size == 0 && progress_ == nullptr;
    uint64 distance = first_record ? 0 : next_ordinal_ - frame_ordinal_;
    bool full = distance > UINT16_MAX || (records_.size && row_start_ + length > kMaxRow);
    if (full) {
        // The row opens the next frame: the frame before it is written without its bytes.
        Size row = row_start_;
        values_.size = row;
        uint8_t* tail = static_cast<uint8_t*>(MemoryContextAllocHuge(context_, length + 1));
        memcpy(tail, values_.data + row, length);
        flush(false);
        values_.append(tail, length);
        pfree(tail);
        first_record = true;
        distance = 0;
    }
    if (first_record) frame_ordinal_ = next_ordinal_;
    wire::Record record(uint32_t(row_start_), relation, uint16_t(distance), operation, images);
    records_.append(&record, sizeof(record));
    row_start_ = values_.size;
    next_ordinal_++;
    if (values_.size + records_.size + relations_.size >= kTarget) flush(false);
}

void Batch::announce(::Oid oid, Size table_at) {
    uint32 at = uint32(table_at);
    relation_tables_.append(&at, sizeof(at));
    relation_oids_.append(&oid, sizeof(oid));
}

void Batch::retire(uint32 id) {
    retired_.append(&id, sizeof(id));
}

void Batch::flush(bool last) {
    wire::FrameParts parts;
    parts.first = frames_ == 0;
    parts.last = last;
    if (progress_ != nullptr) {
        uint32 xid = run_.xid();
        finish_run();
        if (runs_.size != 0) {
            parts.kind = wire::FrameKind::stream;
            write(parts);
            frames_++;
            frame_ordinal_ = next_ordinal_;
        }
        if (xid != 0) start_run(xid);
        return;
    }
    if (!last && records_.size == 0) return;
    parts.kind = wire::FrameKind::transaction;
    write(parts);
    frames_++;
}

void Batch::write_message(uint8 flags) {
    wire::Record record(0, wire::kNoRelation, 0, wire::Operation::Message, flags);
    records_.append(&record, sizeof(record));
    row_start_ = values_.size;
    wire::FrameParts parts;
    parts.kind = wire::FrameKind::message;
    parts.first = parts.last = true;
    write(parts);
}

void Batch::write(wire::FrameParts& parts) {
    const wire::Transaction& t = transaction_;
    parts.transaction = wire::Transaction(t.commit_lsn(), t.end_lsn(), t.commit_time(), frame_ordinal_,
                                          t.xid(), t.origin(), 0);
    parts.records = reinterpret_cast<const wire::Record*>(records_.data);
    parts.record_count = records_.size / sizeof(wire::Record);
    parts.values = values_.data;
    parts.value_bytes = row_start_;
    parts.relations = relations_.data;
    parts.relation_bytes = relations_.size;
    parts.relation_tables = reinterpret_cast<const uint32_t*>(relation_tables_.data);
    parts.relation_count = relation_tables_.size / sizeof(uint32_t);
    parts.retired = reinterpret_cast<const uint32_t*>(retired_.data);
    parts.retired_count = retired_.size / sizeof(uint32_t);
    parts.runs = reinterpret_cast<const wire::Run*>(runs_.data);
    parts.run_count = runs_.size / sizeof(wire::Run);
    if (frames_ == 0) parts.origin_name = origin_name_;
    wire::SessionParts session{WALFERRY_VERSION, PG_VERSION_NUM, database_, GetDatabaseEncodingName()};
    if (!session_written_) parts.session = &session;

    OutputPluginPrepareWrite(ctx_, parts.last);
    StringInfo out = ctx_->out;
    enlargeStringInfo(out, int(wire::frame_bound(parts)));
    auto* frame = reinterpret_cast<uint8_t*>(out->data) + out->len;
    Size size = wire::write_frame(parts, frame);
    wire::seal(frame, size);
    out->len += int(size);
    out->data[out->len] = '\0';
    OutputPluginWrite(ctx_, parts.last);
    parts.session = nullptr;

    if (Size(out->maxlen) > 4 * kKeep) {
        pfree(out->data);
        MemoryContext old = MemoryContextSwitchTo(ctx_->context);
        initStringInfo(out);
        MemoryContextSwitchTo(old);
    }
    session_written_ = true;
    retired_.size = 0;
    clear();
}

}  // namespace walferry
