// Reads a frame of any origin: whatever the bytes are, the result is either views into them or a typed error
// with the place of the fault. No copy and no allocation; nothing here owns memory. Not synchronised: one
// reader, one thread.
#pragma once

#include "change_generated.h"
#include "common/wire/frame.h"

namespace walferry::wire {

enum class FrameError : uint8_t {
    none = 0,
    too_short,         // not even a header
    bad_magic,         // not a frame of walferry
    bad_version,       // a version that this reader does not know
    bad_kind,          // a kind that this reader does not know
    bad_checksum,      // bytes were changed or lost on their way
    misaligned,        // the caller's memory: the flatbuffer does not lie on a multiple of 8
    bad_envelope,      // the flatbuffer does not verify
    bad_relation,      // a relation with an impossible column
    bad_record,        // an operation or image flags that make no sense
    bad_runs,          // runs that do not cover the records of a transaction in progress
    row_out_of_range,  // a row lies outside the values, or begins after the next one
    value_truncated,   // a value ends after its row
    row_too_long,      // bytes are left over after the last value of a row
};

const char* describe(FrameError error);

struct FrameStatus {
    FrameError error = FrameError::none;
    size_t offset = 0;  // bytes from the start of the frame; for a row fault from the start of the values
    bool ok() const { return error == FrameError::none; }
};

// A record together with the end of its row, which the frame says in the next record only. A pair of views,
// to be passed by value. Both ends are as the frame has them: read_row() and its like refuse impossible ones.
class RecordView {
 public:
    RecordView(const Record* record, uint32_t end) : record_(record), end_(end) {}

    uint32_t offset() const { return record_->offset(); }
    uint32_t end() const { return end_; }
    // 0 where the frame lets the row end before it begins.
    uint32_t length() const { return end_ > offset() ? end_ - offset() : 0; }
    uint32_t relation() const { return record_->relation(); }
    uint16_t ordinal() const { return record_->ordinal(); }
    Operation operation() const { return record_->operation(); }
    uint8_t images() const { return record_->images(); }

 private:
    const Record* record_;
    uint32_t end_;
};

class FrameReader {
 public:
    // Verifies header, checksum and envelope. `frame` is borrowed as long as the views are used; `frame` + 7
    // must be a multiple of 8 (a replication message's payload in libpq's buffer is).
    FrameStatus open(const uint8_t* frame, size_t size);

    const FrameHeader& header() const { return header_; }
    const Batch& batch() const { return *batch_; }
    const Transaction& transaction() const { return *batch_->transaction(); }

    size_t record_count() const { return batch_->records() ? batch_->records()->size() : 0; }
    RecordView record(size_t i) const {
        const auto& records = *batch_->records();
        const auto next = uint32_t(i + 1);
        return {records[uint32_t(i)],
                next < records.size() ? records[next]->offset() : uint32_t(value_bytes())};
    }
    const uint8_t* values() const { return batch_->values() ? batch_->values()->data() : nullptr; }
    size_t value_bytes() const { return batch_->values() ? batch_->values()->size() : 0; }

 private:
    FrameHeader header_{};
    const Batch* batch_ = nullptr;
};

// What the row decoder needs of a column; an array of these is made once for a relation.
struct ColumnLayout {
    ValueClass value_class;
    bool identity;
};

// Most columns that a relation may have: PostgreSQL's MaxHeapAttributeNumber is 1600.
constexpr size_t kMaxColumns = 1664;

// Whether a relation can be used with read_row(): known value classes, a bounded number of columns, unique
// key places.
FrameStatus check_relation(const Relation& relation);

enum class ValueState : uint8_t {
    absent,  // not part of this image
    null,
    unchanged,  // not logged by the server (TOAST), or left out of an oversize row
    value,
};

struct ValueView {
    const uint8_t* data = nullptr;
    uint32_t size = 0;
    ValueState state = ValueState::absent;
};

// Splits a row into its values. `before` and `after` have `count` elements; those of an image that the record
// does not have become absent. A fixed-width value's size is that of its class.
FrameStatus read_row(const FrameReader& frame, RecordView record, const ColumnLayout* columns, size_t count,
                     ValueView* before, ValueView* after);

struct MessageView {
    const uint8_t* prefix = nullptr;
    size_t prefix_size = 0;
    const uint8_t* content = nullptr;
    size_t content_size = 0;
};

// Whether the runs of a frame of a transaction in progress cover its records, each with an ordinal of its own
// run.
FrameStatus check_runs(const FrameReader& frame);

// The parts of a record of operation Message.
FrameStatus read_message(const FrameReader& frame, RecordView record, MessageView* message);

// Whether a record of operation Truncate is what it has to be: an empty row within the values.
FrameStatus check_truncate(const FrameReader& frame, RecordView record);

// Bytes of a value of this class; 0 for those that carry their length.
uint32_t fixed_size(ValueClass value_class);

}  // namespace walferry::wire
