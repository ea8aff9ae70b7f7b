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

// From 15 on the server wants to know whether the transaction was left out.
inline void update_progress(LogicalDecodingContext* ctx, bool skipped) {
#if PG_VERSION_NUM >= 150000
    OutputPluginUpdateProgress(ctx, skipped);
#else
    (void)skipped;
    OutputPluginUpdateProgress(ctx);
#endif
}

// From 15 on decoding of prepared transactions may begin with any start of the stream; before, only a slot that was made
// for it has them.
inline void ask_for_two_phase(LogicalDecodingContext* ctx, bool wanted) {
#if PG_VERSION_NUM >= 150000
    ctx->twophase_opt_given = wanted;
#else
    (void)ctx;
    (void)wanted;
#endif
}

// From 16 on the server itself reports progress inside of long transactions.
constexpr bool kPluginReportsProgress = PG_VERSION_NUM < 160000;

// The key of a partition root's child, read in the catalog snapshot that is set.
inline List* partition_ancestors(::Oid relation) {
    return get_partition_ancestors(relation);
}

}  // namespace walferry::compat
