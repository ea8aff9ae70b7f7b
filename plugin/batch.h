// Collects the rows of a frame and writes it. Rows of one transaction only: nothing stays here across a
// commit, because no callback fires when the server has nothing more to decode.
#pragma once

#include "common/wire/frame_writer.h"
#include "server.h"

namespace walferry {

class RelationCache;

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

    // Starts a transaction. Drops whatever an ERROR left half done in the one before.
    void begin(const wire::Transaction& transaction);
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
    void write(wire::FrameKind kind, bool first, bool last);
    void clear();

    LogicalDecodingContext* ctx_ = nullptr;
    RelationCache* cache_ = nullptr;
    const char* database_ = nullptr;
    MemoryContext context_ = nullptr;
    wire::Transaction transaction_;
    uint64 next_ordinal_ = 0;   // of the next change
    uint64 frame_ordinal_ = 0;  // of the frame's first change
    uint64 frames_ = 0;         // written for this transaction
    Size row_start_ = 0;
    bool session_written_ = false;
    wire::Buffer records_;
    wire::Buffer values_;
    wire::Buffer relations_;
    wire::Buffer relation_tables_;  // uint32 each
    wire::Buffer relation_oids_;    // ::Oid each
    wire::Buffer retired_;          // uint32 each
};

}  // namespace walferry
