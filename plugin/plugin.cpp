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
    name = MemoryContextStrdup(context, session->encoding.to_utf8(name ? name : ""));
    if (own) CommitTransactionCommand();
    return name;
}

void startup(LogicalDecodingContext* ctx, OutputPluginOptions* output, bool is_init) {
    output->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
    output->receive_rewrites = false;
    ctx->streaming = false;
    ctx->twophase = false;
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

void begin(LogicalDecodingContext* ctx, ReorderBufferTXN* txn) {
    Session* session = session_of(ctx);
    session->batch.begin(wire::Transaction(txn->final_lsn, txn->end_lsn, compat::commit_time(txn), 0,
                                           txn->xid, txn->origin_id, 0));
    session->relations.trim(&session->batch);
    session->encoder.begin_transaction();
    session->changes_since_progress = 0;
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
        const MessagePrefix& wanted_prefix = options.prefixes[i];
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
        batch->begin(wire::Transaction(0, lsn, 0, 0, 0, 0, 0));
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
}
