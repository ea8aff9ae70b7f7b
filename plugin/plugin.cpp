// The output plugin: the server's callbacks, and what they keep for a decoding session. Contract of the
// callbacks: PostgreSQL manual, "Logical Decoding Output Plugins". No exception is thrown and no object with
// a destructor lives across a call into the server, which may longjmp; memory belongs to contexts below the
// session's.
#include "batch.h"
#include "compat.h"
#include "options.h"
#include "relation_cache.h"
#include "row_encoder.h"
#include "server.h"

// All other symbols are hidden, so that none can meet another library's of the same name. Before 16 the
// server's macros do not say so themselves.
#pragma GCC visibility push(default)
extern "C" {
PG_MODULE_MAGIC;
extern PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks* callbacks);
}
#pragma GCC visibility pop

namespace walferry {
namespace {

// Before 16 the receiver may time out in a transaction whose changes are all left out, unless the plugin
// reports progress.
constexpr uint64 kProgressInterval = 100;
// The server looks for a cancel or a shutdown at each write only; batched rows are many changes away from
// one.
constexpr uint64 kInterruptInterval = 256;

struct Session {
    Options options;
    TextEncoding encoding;
    RelationCache relations;
    Batch batch;
    RowEncoder encoder;
    MemoryContext transaction_context;  // of what lives as long as the transaction that is decoded
    InProgress prepared;                // of the transaction that is decoded at its PREPARE
    uint64 changes_since_progress;
};

Session* session_of(LogicalDecodingContext* ctx) {
    return static_cast<Session*>(ctx->output_plugin_private);
}

// The catalog can only be read inside a transaction, and a walsender that starts to stream is in none.
// Returns the name of the database.
const char* read_catalog(Session* session, MemoryContext context) {
    bool own = !IsTransactionState();
    if (own) StartTransactionCommand();
    session->encoding.init(context);
    const char* name = get_database_name(MyDatabaseId);
    name = MemoryContextStrdup(context, session->encoding.shared_name_to_utf8(name ? name : ""));
    if (own) CommitTransactionCommand();
    return name;
}

void startup(LogicalDecodingContext* ctx, OutputPluginOptions* output, bool is_init) {
    output->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
    output->receive_rewrites = false;
    // A slot that is only being created passes no options and sends no changes.
    auto* session = static_cast<Session*>(MemoryContextAllocZero(ctx->context, sizeof(Session)));
    session->options = Options();
    const char* database = "";
    if (!is_init) {
        MemoryContext old = MemoryContextSwitchTo(ctx->context);
        parse_options(ctx->output_plugin_options, &session->options);
        database = read_catalog(session, ctx->context);
        MemoryContextSwitchTo(old);
    }
    // The server has set both, because there are callbacks for them. A slot that was made for two-phase
    // decoding may be read without: prepared transactions then come when they are committed.
    ctx->streaming = ctx->streaming && session->options.streaming;
    ctx->twophase = ctx->twophase && session->options.two_phase;
    compat::ask_for_two_phase(ctx, session->options.two_phase);
    if (!is_init && ctx->twophase) compat::decode_prepared_before_start(ctx);
    session->transaction_context =
        AllocSetContextCreate(ctx->context, "walferry transaction", ALLOCSET_SMALL_SIZES);
    session->relations.init(ctx->context, &session->options, &session->encoding);
    session->batch.init(ctx, &session->relations, database);
    session->encoder.init(ctx->context, &session->encoding);
    ctx->output_plugin_private = session;
}

void shutdown(LogicalDecodingContext* ctx) {
    if (Session* session = session_of(ctx)) session->relations.shut_down();
}

bool filter_by_origin(LogicalDecodingContext* ctx, RepOriginId origin) {
    return session_of(ctx)->options.only_local_origin && origin != InvalidRepOriginId;
}

// The name of the transaction's replication origin, for the reader; null where there is none. In a
// transaction.
const char* origin_name(Session* session, ReorderBufferTXN* txn) {
    if (txn->origin_id == InvalidRepOriginId) return nullptr;
    MemoryContext old = MemoryContextSwitchTo(session->transaction_context);
    char* name = nullptr;
    const char* text = nullptr;
    if (replorigin_by_oid(txn->origin_id, true, &name)) text = session->encoding.shared_name_to_utf8(name);
    MemoryContextSwitchTo(old);
    return text;
}

// `end`: the commit or prepare record; 0 while the transaction is in progress.
void begin_any(Session* session, const ReorderBufferTXN* txn, XLogRecPtr end) {
    MemoryContextReset(session->transaction_context);
    session->relations.begin_transaction(txn->first_lsn, end);
    session->encoder.begin_transaction();
    session->changes_since_progress = 0;
}

wire::Transaction committed(const ReorderBufferTXN* txn, XLogRecPtr commit_lsn) {
    return wire::Transaction(commit_lsn, txn->end_lsn, compat::commit_time(txn), 0, txn->xid, txn->origin_id,
                             0);
}

wire::Transaction uncommitted(const ReorderBufferTXN* txn) {
    return wire::Transaction(0, 0, 0, 0, txn->xid, txn->origin_id, 0);
}

void begin(LogicalDecodingContext* ctx, ReorderBufferTXN* txn) {
    Session* session = session_of(ctx);
    begin_any(session, txn, txn->final_lsn);
    session->batch.begin(committed(txn, txn->final_lsn), origin_name(session, txn));
    session->relations.trim(&session->batch);
}

// After a change that was left out.
void skip(LogicalDecodingContext* ctx, Session* session) {
    session->batch.skip();
    if (++session->changes_since_progress < kProgressInterval) return;
    session->changes_since_progress = 0;
    CHECK_FOR_INTERRUPTS();
    if (compat::kPluginReportsProgress) compat::update_progress(ctx, false);
}

bool wanted(const Options& options, ReorderBufferChangeType action) {
    switch (action) {
        case REORDER_BUFFER_CHANGE_INSERT:
            return options.insert;
        case REORDER_BUFFER_CHANGE_UPDATE:
            return options.update;
        case REORDER_BUFFER_CHANGE_DELETE:
            return options.del;
        default:
            return false;
    }
}

void change(LogicalDecodingContext* ctx, ReorderBufferTXN*, ::Relation relation,
            ReorderBufferChange* change) {
    Session* session = session_of(ctx);
    if (!wanted(session->options, change->action)) {
        skip(ctx, session);
        return;
    }
    RelationEntry* entry = session->relations.lookup(relation, &session->batch);
    // Rows of a materialized view's refresh come as changes of relation kind 'm': never selected.
    if (!entry->selected) {
        skip(ctx, session);
        return;
    }
    wire::Operation operation = wire::Operation::Insert;
    HeapTuple before = nullptr;
    HeapTuple after = nullptr;
    if (change->action == REORDER_BUFFER_CHANGE_INSERT) {
        after = compat::new_tuple(change);
    } else if (change->action == REORDER_BUFFER_CHANGE_UPDATE) {
        operation = wire::Operation::Update;
        before = compat::old_tuple(change);
        after = compat::new_tuple(change);
    } else {
        operation = wire::Operation::Delete;
        before = compat::old_tuple(change);
    }
    if (operation != wire::Operation::Delete && after == nullptr) {
        // The server logs a new tuple for every insert and update of a logged table.
        elog(DEBUG1, "walferry: a change without a new tuple was left out");
        skip(ctx, session);
        return;
    }
    uint8 images = session->encoder.encode(entry, relation, before, after, &session->batch);
    session->batch.commit_row(entry->id, operation, images);
    if (session->batch.next_ordinal() % kInterruptInterval == 0) CHECK_FOR_INTERRUPTS();
}

void truncate(LogicalDecodingContext* ctx, ReorderBufferTXN*, int count, ::Relation relations[],
              ReorderBufferChange* change) {
    Session* session = session_of(ctx);
    uint8 flags = uint8((change->data.truncate.cascade ? wire::kCascade : 0) |
                        (change->data.truncate.restart_seqs ? wire::kRestartIdentity : 0));
    for (int i = 0; i < count; i++) {
        ::Relation relation = relations[i];
        // The server names a partitioned table and each of its partitions. One of the two levels is sent.
        bool other_level = session->options.publish_via_root
                               ? relation->rd_rel->relispartition
                               : relation->rd_rel->relkind == RELKIND_PARTITIONED_TABLE;
        RelationEntry* entry = nullptr;
        if (session->options.truncate && !other_level)
            entry = session->relations.lookup(relation, &session->batch);
        if (entry == nullptr || !entry->selected) {
            skip(ctx, session);
            continue;
        }
        session->batch.values()->size = session->batch.row_start();
        session->batch.commit_row(entry->id, wire::Operation::Truncate, flags);
    }
}

bool prefix_selected(const Options& options, const char* prefix) {
    if (!options.messages) return false;
    if (options.prefix_count == 0) return true;
    Size size = strlen(prefix);
    for (int i = 0; i < options.prefix_count; i++) {
        const Prefix& wanted_prefix = options.prefixes[i];
        if (wanted_prefix.size == size && memcmp(wanted_prefix.text, prefix, size) == 0) return true;
    }
    return false;
}

void message(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr lsn, bool transactional,
             const char* prefix, Size size, const char* content) {
    Session* session = session_of(ctx);
    Batch* batch = &session->batch;
    if (!transactional) {
        if (!prefix_selected(session->options, prefix)) return;
        batch->begin(wire::Transaction(0, lsn, 0, 0, 0, 0, 0), nullptr);
    } else if (!prefix_selected(session->options, prefix) || txn == nullptr) {
        skip(ctx, session);
        return;
    }
    wire::Buffer* values = batch->values();
    values->size = batch->row_start();
    prefix = session->encoding.to_utf8(prefix);
    Size prefix_size = strlen(prefix);
    // The server takes messages up to 1 GB; what does not fit into a frame is cut and marked.
    bool oversize = size + prefix_size + wire::kMaxVarint32 > Batch::kMaxRow;
    if (oversize) size = 0;
    uint8_t* p = values->reserve(wire::kMaxVarint32);
    values->size += Size(wire::store_varint(p, uint32(prefix_size)) - p);
    values->append(prefix, prefix_size);
    values->append(content, size);
    uint8 flags = oversize ? wire::kOversize : 0;
    if (transactional) {
        batch->commit_row(wire::kNoRelation, wire::Operation::Message, flags);
    } else {
        batch->write_message(flags);
    }
}

void commit(LogicalDecodingContext* ctx, ReorderBufferTXN*, XLogRecPtr) {
    Session* session = session_of(ctx);
    bool skipped = session->batch.empty() && !session->batch.frame_written();
    if (!skipped) session->batch.flush(true);
    compat::update_progress(ctx, skipped);
}

// --- Transactions in progress: larger than logical_decoding_work_mem, sent in blocks before their end is
// known.

void stream_start(LogicalDecodingContext* ctx, ReorderBufferTXN* txn) {
    Session* session = session_of(ctx);
    begin_any(session, txn, 0);
    if (txn->output_plugin_private == nullptr) {
        txn->output_plugin_private = MemoryContextAllocZero(ctx->context, sizeof(InProgress));
    }
    session->batch.begin_block(uncommitted(txn), origin_name(session, txn),
                               static_cast<InProgress*>(txn->output_plugin_private));
    session->relations.trim(&session->batch);
    // Its catalog changes hold again. The server has taken them out of the caches after the block before, but
    // what other transactions have filled in since is of their view.
    for (uint32 i = 0; i < txn->ninvalidations; i++) LocalExecuteInvalidationMessage(&txn->invalidations[i]);
}

void stream_stop(LogicalDecodingContext* ctx, ReorderBufferTXN*) {
    session_of(ctx)->batch.end_block();
}

void stream_change(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, ::Relation relation,
                   ReorderBufferChange* what) {
    session_of(ctx)->batch.change_of(what->txn->xid);
    change(ctx, txn, relation, what);
}

void stream_truncate(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, int count, ::Relation relations[],
                     ReorderBufferChange* what) {
    session_of(ctx)->batch.change_of(what->txn->xid);
    truncate(ctx, txn, count, relations, what);
}

void stream_message(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr lsn, bool transactional,
                    const char* prefix, Size size, const char* content) {
    // The server does not say which subtransaction wrote the message, but it has just noted it, to find out
    // whether it is rolled back meanwhile; it notes none once the whole transaction is committed.
    session_of(ctx)->batch.change_of(TransactionIdIsValid(CheckXidAlive) ? CheckXidAlive : txn->xid);
    message(ctx, txn, lsn, transactional, prefix, size, content);
}

// No catalog may be read in the callbacks that end a transaction in progress.
void end_stream(Session* session, ReorderBufferTXN* txn, const Ending& ending) {
    session->batch.write_ending(ending);
    if (txn->output_plugin_private == nullptr) return;
    pfree(txn->output_plugin_private);
    txn->output_plugin_private = nullptr;
}

void stream_commit(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr commit_lsn) {
    end_stream(session_of(ctx), txn,
               {wire::FrameKind::stream_commit, committed(txn, commit_lsn), 0, nullptr});
    compat::update_progress(ctx, false);
}

void stream_abort(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr) {
    Session* session = session_of(ctx);
    ReorderBufferTXN* top = txn->toptxn ? txn->toptxn : txn;
    // No block of it was sent. From 18 on the server tells the end of what it has dropped for being rolled
    // back, even where nothing is streamed.
    if (top->output_plugin_private == nullptr) return;
    Ending ending = {wire::FrameKind::stream_abort, uncommitted(top), txn->xid, nullptr};
    if (txn == top) {
        end_stream(session, txn, ending);
    } else {
        session->batch.write_ending(ending);
    }
}

// --- Two-phase transactions, where asked for: decoded when they are prepared.

bool filter_prepare(LogicalDecodingContext* ctx, TransactionId, const char* gid) {
    const Options& options = session_of(ctx)->options;
    if (!options.two_phase) return true;
    if (options.gid_prefix_count == 0) return false;
    Size size = strlen(gid);
    for (int i = 0; i < options.gid_prefix_count; i++) {
        const Prefix& prefix = options.gid_prefixes[i];
        if (prefix.size <= size && memcmp(prefix.text, gid, prefix.size) == 0) return false;
    }
    return true;
}

void begin_prepare(LogicalDecodingContext* ctx, ReorderBufferTXN* txn) {
    Session* session = session_of(ctx);
    begin_any(session, txn, txn->final_lsn);
    session->prepared = {};
    session->batch.begin_block(uncommitted(txn), origin_name(session, txn), &session->prepared);
    session->batch.change_of(txn->xid);
    session->relations.trim(&session->batch);
}

Ending ending_of(Session* session, wire::FrameKind kind, const ReorderBufferTXN* txn, XLogRecPtr lsn) {
    return {kind, committed(txn, lsn), 0, session->encoding.to_utf8(txn->gid)};
}

void prepare(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr lsn) {
    Session* session = session_of(ctx);
    session->batch.write_ending(ending_of(session, wire::FrameKind::prepare, txn, lsn));
    compat::update_progress(ctx, false);
}

void stream_prepare(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr lsn) {
    Session* session = session_of(ctx);
    end_stream(session, txn, ending_of(session, wire::FrameKind::prepare, txn, lsn));
    compat::update_progress(ctx, false);
}

void commit_prepared(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr lsn) {
    Session* session = session_of(ctx);
    session->batch.write_ending(ending_of(session, wire::FrameKind::commit_prepared, txn, lsn));
    compat::update_progress(ctx, false);
}

void rollback_prepared(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr, TimestampTz) {
    Session* session = session_of(ctx);
    session->batch.write_ending(ending_of(session, wire::FrameKind::rollback_prepared, txn, txn->final_lsn));
    compat::update_progress(ctx, false);
}

}  // namespace
}  // namespace walferry

void _PG_output_plugin_init(OutputPluginCallbacks* callbacks) {
    callbacks->startup_cb = walferry::startup;
    callbacks->begin_cb = walferry::begin;
    callbacks->change_cb = walferry::change;
    callbacks->truncate_cb = walferry::truncate;
    callbacks->commit_cb = walferry::commit;
    callbacks->message_cb = walferry::message;
    callbacks->filter_by_origin_cb = walferry::filter_by_origin;
    callbacks->shutdown_cb = walferry::shutdown;
    callbacks->stream_start_cb = walferry::stream_start;
    callbacks->stream_stop_cb = walferry::stream_stop;
    callbacks->stream_abort_cb = walferry::stream_abort;
    callbacks->stream_prepare_cb = walferry::stream_prepare;
    callbacks->stream_commit_cb = walferry::stream_commit;
    callbacks->stream_change_cb = walferry::stream_change;
    callbacks->stream_message_cb = walferry::stream_message;
    callbacks->stream_truncate_cb = walferry::stream_truncate;
    callbacks->filter_prepare_cb = walferry::filter_prepare;
    callbacks->begin_prepare_cb = walferry::begin_prepare;
    callbacks->prepare_cb = walferry::prepare;
    callbacks->commit_prepared_cb = walferry::commit_prepared;
    callbacks->rollback_prepared_cb = walferry::rollback_prepared;
}
