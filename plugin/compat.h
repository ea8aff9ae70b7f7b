// What differs between the major versions of the server that the plugin builds for (14 to 18).
#pragma once

#include "server.h"

#if PG_VERSION_NUM < 140000
#error "walferry needs PostgreSQL 14 or newer"
#endif

namespace walferry::compat {

inline TimestampTz commit_time(const ReorderBufferTXN* txn) {
#if PG_VERSION_NUM >= 190000
    return txn->commit_time;
#elif PG_VERSION_NUM >= 150000
    return txn->xact_time.commit_time;
#else
    return txn->commit_time;
#endif
}

inline HeapTuple old_tuple(const ReorderBufferChange* change) {
#if PG_VERSION_NUM >= 170000
    return change->data.tp.oldtuple;
#else
    return change->data.tp.oldtuple ? &change->data.tp.oldtuple->tuple : nullptr;
#endif
}

inline HeapTuple new_tuple(const ReorderBufferChange* change) {
#if PG_VERSION_NUM >= 170000
    return change->data.tp.newtuple;
#else
    return change->data.tp.newtuple ? &change->data.tp.newtuple->tuple : nullptr;
#endif
}

// A column of which nothing is stored: it is computed when it is read.
inline bool is_virtual([[maybe_unused]] Form_pg_attribute attribute) {
#if PG_VERSION_NUM >= 180000
    return attribute->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL;
#else
    return false;
#endif
}

// Whether no row has a NULL there. From 18 on a constraint may be there that old rows need not meet (NOT
// VALID).
inline bool is_not_null(TupleDesc descriptor, int column) {
#if PG_VERSION_NUM >= 180000
    return TupleDescAttr(descriptor, column)->attnotnull &&
           TupleDescCompactAttr(descriptor, column)->attnullability != ATTNULLABLE_INVALID;
#else
    return TupleDescAttr(descriptor, column)->attnotnull;
#endif
}

// From 15 on the server wants to know whether the transaction was left out.
inline void update_progress(LogicalDecodingContext* ctx, bool skipped) {
#if PG_VERSION_NUM >= 150000
    OutputPluginUpdateProgress(ctx, skipped);
#else
    (void)skipped;
    OutputPluginUpdateProgress(ctx);
#endif
}

// From 15 on decoding of prepared transactions may begin with any start of the stream; before, only a slot
// that was made for it has them.
inline void ask_for_two_phase(LogicalDecodingContext* ctx, bool wanted) {
#if PG_VERSION_NUM >= 150000
    ctx->twophase_opt_given = wanted;
#else
    (void)ctx;
    (void)wanted;
#endif
}

// A transaction that was prepared before the session's start is not sent at its PREPARE; the server sends its
// rows at COMMIT PREPARED only if the PREPARE also lies before the start of the slot's first two-phase
// session. It takes the others for sent before, also those that a session without two-phase decoding, or with
// other names in it, has passed.
inline void decode_prepared_before_start(LogicalDecodingContext* ctx) {
#if PG_VERSION_NUM >= 150000
    XLogRecPtr low = 0, high = PG_UINT64_MAX;
    while (low < high) {  // the start, which the server does not tell
        XLogRecPtr middle = low + (high - low) / 2;
        if (SnapBuildXactNeedsSkip(ctx->snapshot_builder, middle)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    SnapBuildSetTwoPhaseAt(ctx->snapshot_builder, low);
#else
    (void)ctx;
#endif
}

// The primary key's index, once RelationGetIndexList() has looked for it. From 18 on a deferrable one is
// found too, which identifies no row: it may be violated in between.
inline ::Oid primary_key_index(::Relation relation) {
#if PG_VERSION_NUM >= 170000
    if (relation->rd_ispkdeferrable) return InvalidOid;
#endif
    return relation->rd_pkindex;
}

// From 16 on the server itself reports progress inside of long transactions.
constexpr bool kPluginReportsProgress = PG_VERSION_NUM < 160000;

// The key of a partition root's child, read in the catalog snapshot that is set.
inline List* partition_ancestors(::Oid relation) {
    return get_partition_ancestors(relation);
}

}  // namespace walferry::compat
