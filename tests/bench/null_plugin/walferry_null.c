/*
 * An output plugin that does nothing with what it is handed and writes one byte per commit: the cost of
 * decoding itself, against which `make bench` holds the other plugins. The byte is there so that a receiver
 * sees commits, as it does with any plugin.
 */
#include "postgres.h"

#include "fmgr.h"
#include "replication/logical.h"
#include "replication/output_plugin.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks* callbacks);

static void null_startup(LogicalDecodingContext* ctx, OutputPluginOptions* options, bool is_init) {
    options->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
    options->receive_rewrites = false;
}

static void null_begin(LogicalDecodingContext* ctx, ReorderBufferTXN* txn) {}

static void null_change(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, Relation relation,
                        ReorderBufferChange* change) {}

static void null_commit(LogicalDecodingContext* ctx, ReorderBufferTXN* txn, XLogRecPtr commit_lsn) {
    OutputPluginPrepareWrite(ctx, true);
    appendStringInfoChar(ctx->out, 'C');
    OutputPluginWrite(ctx, true);
}

void _PG_output_plugin_init(OutputPluginCallbacks* callbacks) {
    callbacks->startup_cb = null_startup;
    callbacks->begin_cb = null_begin;
    callbacks->change_cb = null_change;
    callbacks->commit_cb = null_commit;
}
