// One change as the pipeline sees it: views into the frame it came in, valid as long as the frame and the
// schema are.
#pragma once

#include <cstdint>

#include "common/types.h"
#include "common/wire/frame_reader.h"
#include "record/relation_schema.h"

namespace walferry {

struct Row {
    const RelationSchema& relation;
    wire::Operation operation;      // Insert, Update, Delete, Read or Truncate
    const wire::ValueView* before;  // one view a column, as read_row() fills them; null for a truncate
    const wire::ValueView* after;
    uint8_t images;          // wire::ImageFlag bits; for a truncate wire::TruncateFlag bits
    Lsn commit_lsn;          // start of the commit record
    Lsn end_lsn;             // end of the commit record
    Xid xid;                 // top-level transaction
    Ordinal ordinal;         // place in the transaction
    int64_t commit_unix_ms;  // milliseconds since 1970-01-01 00:00 UTC
};

}  // namespace walferry
