#include "common/wire/frame_reader.h"

#include "common/wire/crc32c.h"

namespace walferry::wire {
namespace {

constexpr uint8_t kFixedSize[] = {
    0,                       // Output
    1, 2, 4,  8, 4, 8,  4,   // Bool Int2 Int4 Int8 Float4 Float8 Oid
    4, 8, 12, 8, 8, 16, 16,  // Date Time TimeTz Timestamp TimestampTz Interval Uuid
    1, 8,                    // Char PgLsn
    0, 0, 0,                 // Numeric String Bytea
};
constexpr size_t kValueClassCount = sizeof(kFixedSize);
static_assert(kValueClassCount == size_t(ValueClass::MAX) + 1, "a value class has no size");

constexpr uint8_t kRowImages = kBefore | kAfter;

bool images_fit(Operation operation, uint8_t images) {
    switch (operation) {
        case Operation::Insert:
        case Operation::Read:
            return (images & kRowImages) == kAfter;
        case Operation::Update:
            return (images & kAfter) != 0;
        case Operation::Delete:
            return (images & kAfter) == 0;
        default:
            return false;
    }
}

// Reads one image. Returns the byte after it, or null with `*error` set.
const uint8_t* read_image(const uint8_t* p, const uint8_t* end, bool key_only, bool has_nulls,
                          bool has_unchanged, const ColumnLayout* columns, size_t count, ValueView* out,
                          FrameError* error) {
    const uint8_t* nulls = nullptr;
    const uint8_t* unchanged = nullptr;
    size_t bitmap = (count + 7) / 8;
    size_t bitmaps = bitmap * (size_t(has_nulls) + size_t(has_unchanged));
    *error = FrameError::value_truncated;
    if (size_t(end - p) < bitmaps) return nullptr;
    if (has_nulls) {
        nulls = p;
        p += bitmap;
    }
    if (has_unchanged) {
        unchanged = p;
        p += bitmap;
    }
    for (size_t i = 0; i < count; i++) {
        ValueView& view = out[i];
        if (key_only && !columns[i].identity) {
            view = {};
            continue;
        }
        if (nulls && (nulls[i >> 3] >> (i & 7) & 1)) {
            view = {nullptr, 0, ValueState::null};
            continue;
        }
        if (unchanged && (unchanged[i >> 3] >> (i & 7) & 1)) {
            view = {nullptr, 0, ValueState::unchanged};
            continue;
        }
        uint32_t size = kFixedSize[size_t(columns[i].value_class)];
        if (size == 0) {
            p = load_varint(p, end, &size);
            if (!p) return nullptr;
        }
        if (size_t(end - p) < size) return nullptr;
        view = {p, size, ValueState::value};
        p += size;
    }
    *error = FrameError::none;
    return p;
}

void clear(ValueView* views, size_t count) {
    for (size_t i = 0; i < count; i++) views[i] = {};
}

FrameStatus range_of(const FrameReader& frame, RecordView record, const uint8_t** begin,
                     const uint8_t** end) {
    if (record.offset() > record.end() || record.end() > frame.value_bytes()) {
        return {FrameError::row_out_of_range, record.offset()};
    }
    *begin = frame.values() + record.offset();
    *end = frame.values() + record.end();
    return {};
}

}  // namespace

const char* describe(FrameError error) {
    switch (error) {
        case FrameError::none:
            return "no error";
        case FrameError::too_short:
            return "the frame is shorter than its header";
        case FrameError::bad_magic:
            return "the bytes are not a walferry frame";
        case FrameError::bad_version:
            return "the frame has a version that this reader does not know";
        case FrameError::bad_kind:
            return "the frame is of a kind that this reader does not know";
        case FrameError::bad_checksum:
            return "the frame's checksum does not match its bytes";
        case FrameError::misaligned:
            return "the frame does not lie on an aligned address";
        case FrameError::bad_envelope:
            return "the frame's flatbuffer does not verify";
        case FrameError::bad_relation:
            return "a relation has an impossible column";
        case FrameError::bad_record:
            return "a record has an impossible operation or image flags";
        case FrameError::bad_runs:
            return "the runs of a transaction in progress do not cover its records";
        case FrameError::row_out_of_range:
            return "a row lies outside the frame's values or begins after the next one";
        case FrameError::value_truncated:
            return "a value ends after its row";
        case FrameError::row_too_long:
            return "a row has bytes after its last value";
    }
    return "unknown error";
}

uint32_t fixed_size(ValueClass value_class) {
    return size_t(value_class) < kValueClassCount ? kFixedSize[size_t(value_class)] : 0;
}

FrameStatus FrameReader::open(const uint8_t* frame, size_t size) {
    batch_ = nullptr;
    if (size < kHeaderSize + 8) return {FrameError::too_short, size};
    if (frame[0] != kMagic) return {FrameError::bad_magic, 0};
    if (frame[1] < kOldestVersion || frame[1] > kVersion) return {FrameError::bad_version, 1};
    uint8_t kind = frame[2] & 0x0f;
    if (kind < uint8_t(FrameKind::transaction) || kind > uint8_t(FrameKind::rollback_prepared)) {
        return {FrameError::bad_kind, 2};
    }
    if (load_u32(frame + 3) != frame_checksum(frame, size)) return {FrameError::bad_checksum, 3};
    const uint8_t* buffer = frame + kHeaderSize;
    if (reinterpret_cast<uintptr_t>(buffer) % 8 != 0) return {FrameError::misaligned, kHeaderSize};
    if (size - kHeaderSize >= FLATBUFFERS_MAX_BUFFER_SIZE) return {FrameError::bad_envelope, kHeaderSize};
    // Each table takes more than 8 bytes: a frame with more of them shares tables, to slow the verifier.
    flatbuffers::Verifier verifier(buffer, size - kHeaderSize, 8, uint32_t(size / 8));
    if (!verifier.VerifyBuffer<Batch>(nullptr)) return {FrameError::bad_envelope, kHeaderSize};
    header_ = {frame[1], FrameKind(kind), (frame[2] & kFirst) != 0, (frame[2] & kLast) != 0};
    batch_ = flatbuffers::GetRoot<Batch>(buffer);
    return {};
}

FrameStatus check_relation(const Relation& relation) {
    if (relation.columns()->size() > kMaxColumns) return {FrameError::bad_relation, 0};
    switch (relation.replica_identity()) {
        case 'd':
        case 'f':
        case 'i':
        case 'n':
            break;
        default:
            return {FrameError::bad_relation, 0};
    }
    uint64_t places[kMaxColumns / 64 + 1] = {};
    for (const Column* column : *relation.columns()) {
        if (size_t(column->value_class()) >= kValueClassCount) return {FrameError::bad_relation, 0};
        uint16_t place = column->key_position();
        if (place == 0) continue;
        if (place > relation.columns()->size()) return {FrameError::bad_relation, 0};
        uint64_t bit = uint64_t(1) << (place % 64);
        if (places[place / 64] & bit) return {FrameError::bad_relation, 0};
        places[place / 64] |= bit;
    }
    return {};
}

FrameStatus read_row(const FrameReader& frame, RecordView record, const ColumnLayout* columns, size_t count,
                     ValueView* before, ValueView* after) {
    const uint8_t* begin;
    const uint8_t* end;
    if (FrameStatus status = range_of(frame, record, &begin, &end); !status.ok()) return status;
    uint8_t images = record.images();
    if (!images_fit(record.operation(), images)) return {FrameError::bad_record, record.offset()};

    const uint8_t* p = begin;
    FrameError error = FrameError::none;
    if (images & kBefore) {
        p = read_image(p, end, images & kBeforeKeyOnly, images & kBeforeNulls, images & kBeforeUnchanged,
                       columns, count, before, &error);
        if (!p) return {error, record.offset()};
    } else {
        clear(before, count);
    }
    if (images & kAfter) {
        p = read_image(p, end, false, images & kAfterNulls, images & kAfterUnchanged, columns, count, after,
                       &error);
        if (!p) return {error, record.offset()};
    } else {
        clear(after, count);
    }
    if (p != end) return {FrameError::row_too_long, size_t(p - frame.values())};
    return {};
}

FrameStatus check_runs(const FrameReader& frame) {
    const auto* runs = frame.batch().runs();
    const size_t count = frame.record_count();
    size_t at = 0;
    uint64_t ordinal = 0;
    // The library's verifier looks at where a vector begins, not at where its elements do.
    if (runs && reinterpret_cast<uintptr_t>(runs->data()) % alignof(Run) != 0)
        return {FrameError::bad_runs, 0};
    for (size_t i = 0; runs && i < runs->size(); i++) {
        const Run& run = *runs->Get(uint32_t(i));
        if (run.records() > count - at || run.changes() > UINT64_MAX / 2 - ordinal) {
            return {FrameError::bad_runs, i};
        }
        const uint64_t end = ordinal + run.changes();
        for (const size_t last = at + run.records(); at < last; at++) {
            // In the order of their ordinals, each of them once.
            const uint64_t place = frame.record(at).ordinal();
            if (place < ordinal || place >= end) return {FrameError::bad_runs, i};
            ordinal = place + 1;
        }
        ordinal = end;
    }
    if (at != count) return {FrameError::bad_runs, at};
    return {};
}

FrameStatus read_message(const FrameReader& frame, RecordView record, MessageView* message) {
    if (record.operation() != Operation::Message) return {FrameError::bad_record, record.offset()};
    const uint8_t* begin;
    const uint8_t* end;
    if (FrameStatus status = range_of(frame, record, &begin, &end); !status.ok()) return status;
    uint32_t size = 0;
    const uint8_t* p = load_varint(begin, end, &size);
    if (!p || size_t(end - p) < size) return {FrameError::value_truncated, record.offset()};
    *message = {p, size, p + size, size_t(end - p) - size};
    return {};
}

FrameStatus check_truncate(const FrameReader& frame, RecordView record) {
    if (record.operation() != Operation::Truncate) return {FrameError::bad_record, record.offset()};
    const uint8_t* begin;
    const uint8_t* end;
    if (FrameStatus status = range_of(frame, record, &begin, &end); !status.ok()) return status;
    if (begin != end) return {FrameError::row_too_long, record.offset()};
    return {};
}

}  // namespace walferry::wire
