// Copies the tuples of a change into a row of the batch: one walk over the attributes, without deforming the
// tuple first.
#pragma once

#include "batch.h"
#include "relation_cache.h"
#include "server.h"
#include "text_encoding.h"

namespace walferry {

class RowEncoder {
 public:
    void init(MemoryContext parent, const TextEncoding* encoding);

    // Settings that output functions obey are checked again: they may have been reset with the last
    // transaction.
    void begin_transaction() { settings_pinned_ = false; }

    // Appends the images of an insert, update or delete to the batch's values and returns the record's image
    // flags; the caller commits the row. May raise ERROR.
    uint8 encode(const RelationEntry* entry, ::Relation relation, HeapTuple before, HeapTuple after,
                 Batch* batch);

 private:
    template <bool kKeyOnly>
    void image(const RelationEntry* entry, TupleDesc descriptor, HeapTuple tuple, uint8 null_flag,
               uint8 unchanged_flag, Batch* batch, uint8* flags);
    // A value that is not a plain copy. Returns false where it was left out because the row would become too
    // large.
    bool slow_value(const RelationEntry* entry, int attribute, const char* stored, Batch* batch);
    // What is to be written of such a value, in the scratch context; null where it is too large.
    const char* slow_text_or_null(const RelationEntry* entry, int attribute, const char* stored, Size* size);
    const char* slow_text(const RelationEntry* entry, int attribute, const char* stored, Size* size);
    void pin_settings();

    MemoryContext scratch_ = nullptr;
    bool settings_pinned_ = false;
    bool scratch_used_ = false;
    bool convert_ = false;
    const TextEncoding* encoding_ = nullptr;
    TupleDesc descriptor_ = nullptr;  // of the row that is being encoded
};

}  // namespace walferry
