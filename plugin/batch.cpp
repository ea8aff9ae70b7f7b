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
    init_buffer(&values_, context_, kTarget * 2);
    init_buffer(&relations_, context_, 8 * 1024);
    init_buffer(&relation_tables_, context_, 256);
    init_buffer(&relation_oids_, context_, 256);
    init_buffer(&retired_, context_, 256);
}

void Batch::begin(const wire::Transaction& transaction) {
    // Anything still here belongs to a transaction that an ERROR ended: its schemas have not reached the
    // reader.
    for (Size i = 0; i < relation_oids_.size; i += sizeof(::Oid)) {
        ::Oid oid;
        memcpy(&oid, relation_oids_.data + i, sizeof(oid));
        cache_->forget_announcement(oid);
    }
    clear();
    transaction_ = transaction;
    next_ordinal_ = 0;
    frame_ordinal_ = 0;
    frames_ = 0;
}

void Batch::clear() {
    empty_buffer(&records_);
    empty_buffer(&values_);
    empty_buffer(&relations_);
    relation_tables_.size = 0;
    relation_oids_.size = 0;
    row_start_ = 0;
}

void Batch::commit_row(uint32 relation, wire::Operation operation, uint8 images) {
    Size length = values_.size - row_start_;
    uint64 distance = records_.size ? next_ordinal_ - frame_ordinal_ : 0;
    bool full = records_.size && (distance > UINT16_MAX || row_start_ + length > kMaxRow);
    if (full) {
        // The row opens the next frame: the frame before it is written without its bytes.
        Size row = row_start_;
        values_.size = row;
        uint8_t* tail = static_cast<uint8_t*>(MemoryContextAllocHuge(context_, length + 1));
        memcpy(tail, values_.data + row, length);
        flush(false);
        values_.append(tail, length);
        pfree(tail);
        distance = 0;
    }
    if (records_.size == 0) frame_ordinal_ = next_ordinal_;
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
    if (!last && records_.size == 0) return;
    write(wire::FrameKind::transaction, frames_ == 0, last);
    frames_++;
}

void Batch::write_message(uint8 flags) {
    wire::Record record(0, wire::kNoRelation, 0, wire::Operation::Message, flags);
    records_.append(&record, sizeof(record));
    row_start_ = values_.size;
    write(wire::FrameKind::message, true, true);
}

void Batch::write(wire::FrameKind kind, bool first, bool last) {
    wire::FrameParts parts;
    parts.kind = kind;
    parts.first = first;
    parts.last = last;
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
    wire::SessionParts session{WALFERRY_VERSION, PG_VERSION_NUM, database_, GetDatabaseEncodingName()};
    if (!session_written_) parts.session = &session;

    OutputPluginPrepareWrite(ctx_, last);
    StringInfo out = ctx_->out;
    enlargeStringInfo(out, int(wire::frame_bound(parts)));
    auto* frame = reinterpret_cast<uint8_t*>(out->data) + out->len;
    Size size = wire::write_frame(parts, frame);
    wire::seal(frame, size);
    out->len += int(size);
    out->data[out->len] = '\0';
    OutputPluginWrite(ctx_, last);

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
