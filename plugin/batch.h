// Collects the rows of a frame and writes it. Rows of one transaction only: nothing stays here across a
// commit or the end of a block of a transaction in progress, because no callback fires when the server has
// nothing more to decode.
#pragma once

#include "common/wire/frame_writer.h"
#include "server.h"

namespace walferry {

class RelationCache;

// What is remembered of a transaction in progress from one of its blocks to the next.
struct InProgress {
    uint64 next_ordinal;
    uint64 frames;
};

// The end of a transaction in progress, or of one of its subtransactions.
struct Ending {
    wire::FrameKind kind;
    wire::Transaction transaction;
    uint32 aborted_xid;  // stream_abort
    const char* gid;     // two-phase; UTF-8; null: none
};

class Batch {
 public:
    // A frame is written when it holds about this many bytes: beyond it the cost of the write call is
    // negligible.
    static constexpr Size kTarget = 64 * 1024;
    // Largest sum of the values of one row; the message must stay below the server's limit of 1 GB for one
    // buffer.
    static constexpr Size kMaxRow = 1000 * 1000 * 1000;

    // `database`: of this session, for the reader; must outlive the batch.
    void init(LogicalDecodingContext* ctx, RelationCache* cache, const char* database);

    // Starts a committed transaction. Drops whatever an ERROR left half done in the one before.
    // `origin_name`: UTF-8, lives as long as the transaction; null: none.
    void begin(const wire::Transaction& transaction, const char* origin_name);
    // Starts a block of a transaction in progress, or goes on with one; ended by end_block().
    void begin_block(const wire::Transaction& transaction, const char* origin_name, InProgress* progress);
    // Within a block, before each change: the (sub)transaction that it belongs to.
    void change_of(uint32 xid) {
        if (run_.xid() != xid) start_run(xid);
    }
    // Writes what is collected of the block.
    void end_block();
    // Writes the frame that ends a transaction in progress; with what is collected, if it is a prepare.
    void write_ending(const Ending& ending);

    bool frame_written() const { return frames_ > 0; }
    bool empty() const { return records_.size == 0; }
    uint64 next_ordinal() const { return next_ordinal_; }

    // Counts a decoded change that is not sent: ordinals do not depend on what is selected.
    void skip() { next_ordinal_++; }

    // Where the values of the row to come are written. Until commit_row() a longjmp leaves no trace of them.
    wire::Buffer* values() { return &values_; }
    Size row_start() const { return row_start_; }
    // The bytes in values() since row_start() become the next change's row; writes a frame if it is full.
    void commit_row(uint32 relation, wire::Operation operation, uint8 images);

    // A schema of the relation cache, built in relations().
    wire::Buffer* relations() { return &relations_; }
    void announce(::Oid oid, Size table_at);
    void retire(uint32 id);

    // Writes what is collected. With `last` a frame is written even if it is empty, and ends the transaction.
    void flush(bool last);
    // Writes the bytes in values() as a frame of one message outside any transaction, begun with begin().
    void write_message(uint8 flags);

 private:
    void start(const wire::Transaction& transaction, const char* origin_name);
    void start_run(uint32 xid);
    void finish_run();
    void write(wire::FrameParts& parts);  // fills in what is collected, and writes it
    void clear();

    LogicalDecodingContext* ctx_ = nullptr;
    RelationCache* cache_ = nullptr;
    const char* database_ = nullptr;
    MemoryContext context_ = nullptr;
    wire::Transaction transaction_;
    const char* origin_name_ = nullptr;
    InProgress* progress_ = nullptr;  // within a block
    wire::Run run_;                   // the open run: its xid, 0 for none
    uint64 run_ordinal_ = 0;          // of its first change
    Size run_records_ = 0;            // in the frame before it
    uint64 next_ordinal_ = 0;         // of the next change
    uint64 frame_ordinal_ = 0;        // of the frame's first change
    uint64 frames_ = 0;               // written for this transaction
    Size row_start_ = 0;
    bool session_written_ = false;
    wire::Buffer records_;
    wire::Buffer runs_;
    wire::Buffer values_;
    wire::Buffer relations_;
    wire::Buffer relation_tables_;  // uint32 each
    wire::Buffer relation_oids_;    // ::Oid each
    wire::Buffer retired_;          // uint32 each
};

}  // namespace walferry
