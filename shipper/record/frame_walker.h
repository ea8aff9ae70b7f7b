// Goes through one frame after another of a session: takes in relations, splits rows, hands each change to a
// visitor. Whatever is wrong with a frame becomes an Error (WF40xx). One walker per session and thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "common/wire/frame_reader.h"
#include "error/error.h"
#include "record/relation_registry.h"
#include "record/row.h"

namespace walferry {

// A fault of the frame as an error: damage on the way may be mended by reading again, a malformed frame is
// not.
Error frame_error(const wire::FrameStatus& status);

// A logical message (pg_logical_emit_message), in or outside of a transaction.
struct LogicalMessage {
    wire::MessageView view;
    bool transactional;
    bool oversize;  // the content did not fit into a frame and is left out
    // Start of the commit record; outside of a transaction the last byte of the message's own record: where
    // that ends, a commit record may start.
    Lsn lsn;
    Ordinal ordinal;
};

// Visitor:
//   void on_relation(Entry&)           a schema that is new to the session; prepare what its rows need
//   void on_row(Entry&, const Row&)    a change; its views are valid during the call
//   void on_message(const LogicalMessage&)
template <typename Prepared>
class FrameWalker {
 public:
    using Entry = typename RelationRegistry<Prepared>::Entry;

    // Opens the next frame of the session and takes in its relations. `frame` is borrowed until after
    // visit().
    template <typename Visitor>
    void open(std::span<const uint8_t> frame, Visitor& visitor) {
        reopen(frame);
        check(registry_.add(reader_.batch(), [&](Entry& entry) {
            if (entry.schema.columns.size() > before_.size()) {
                before_.resize(entry.schema.columns.size());
                after_.resize(entry.schema.columns.size());
            }
            visitor.on_relation(entry);
        }));
    }
    // Opens a frame that was opened before in this session and kept since.
    void reopen(std::span<const uint8_t> frame) { check(reader_.open(frame.data(), frame.size())); }

    const wire::FrameHeader& header() const { return reader_.header(); }
    const wire::Transaction& transaction() const { return reader_.transaction(); }
    const wire::Batch& batch() const { return reader_.batch(); }
    size_t record_count() const { return reader_.record_count(); }

    // Visits the records of the open frame, of a committed transaction or a message outside of any, whose
    // ordinal is `from` or later.
    template <typename Visitor>
    void visit(Ordinal from, int64_t commit_unix_ms, Visitor& visitor) {
        const wire::Transaction& transaction = reader_.transaction();
        const Commit commit{transaction, commit_unix_ms,
                            reader_.header().kind == wire::FrameKind::transaction};
        for (size_t i = 0, count = reader_.record_count(); i < count; ++i) {
            const wire::RecordView record = reader_.record(i);
            const Ordinal ordinal{transaction.first_ordinal() + record.ordinal()};
            if (ordinal < from) continue;
            visit_record(record, commit, ordinal, visitor);
        }
    }

    // Visits the records of the open frame of a transaction that was in progress when it was sent, and is
    // committed by `committed`: those whose ordinal is `from` or later, without those of the subtransactions
    // in `aborted`, which is sorted. `next` counts the ordinals from frame to frame, from 0.
    template <typename Visitor>
    void visit_in_progress(const wire::Transaction& committed, int64_t commit_unix_ms,
                           const std::vector<uint32_t>& aborted, Ordinal from, Ordinal& next,
                           Visitor& visitor) {
        check(wire::check_runs(reader_));
        const Commit commit{committed, commit_unix_ms, true};
        const auto* runs = reader_.batch().runs();
        size_t at = 0;
        uint64_t place = 0;  // of the run's first change in the frame
        for (uint32_t r = 0; runs && r < runs->size(); ++r) {
            const wire::Run& run = *runs->Get(r);
            const size_t end = at + run.records();
            if (std::binary_search(aborted.begin(), aborted.end(), run.xid())) {
                at = end;
                place += run.changes();
                continue;
            }
            for (; at < end; ++at) {
                const wire::RecordView record = reader_.record(at);
                const Ordinal ordinal{next.value + (record.ordinal() - place)};
                if (from <= ordinal) visit_record(record, commit, ordinal, visitor);
            }
            place += run.changes();
            next = Ordinal{next.value + run.changes()};
        }
    }

    // After each frame that open() opened: takes note of the relations that it retires; release() forgets
    // them. See RelationRegistry about the numbers.
    void retire(uint64_t next) { registry_.retire(reader_.batch(), next); }
    bool has_retired() const { return registry_.has_retired(); }
    void release(uint64_t oldest) { registry_.release(oldest); }

    // Name of the source database, if the open frame says it; empty otherwise.
    std::string_view database() const {
        const wire::Session* session = reader_.batch().session();
        return session ? session->database()->string_view() : std::string_view();
    }

 private:
    struct Commit {
        const wire::Transaction& transaction;
        int64_t unix_ms;
        bool transactional;  // false: a message outside of any transaction
    };

    template <typename Visitor>
    void visit_record(wire::RecordView record, const Commit& commit, Ordinal ordinal, Visitor& visitor) {
        const wire::Transaction& transaction = commit.transaction;
        if (record.operation() == wire::Operation::Message) {
            LogicalMessage message{
                {},
                commit.transactional,
                (record.images() & wire::kOversize) != 0,
                Lsn{commit.transactional ? transaction.commit_lsn() : transaction.end_lsn() - 1},
                ordinal};
            check(wire::read_message(reader_, record, &message.view));
            visitor.on_message(message);
            return;
        }
        Entry* entry = registry_.find(record.relation());
        if (entry == nullptr) throw_unknown_relation(record.relation());
        const bool truncate = record.operation() == wire::Operation::Truncate;
        check(truncate ? wire::check_truncate(reader_, record)
                       : wire::read_row(reader_, record, entry->schema.layout.data(),
                                        entry->schema.layout.size(), before_.data(), after_.data()));
        visitor.on_row(*entry, Row{.relation = entry->schema,
                                   .operation = record.operation(),
                                   .before = truncate ? nullptr : before_.data(),
                                   .after = truncate ? nullptr : after_.data(),
                                   .images = record.images(),
                                   .commit_lsn = Lsn{transaction.commit_lsn()},
                                   .end_lsn = Lsn{transaction.end_lsn()},
                                   .xid = Xid{transaction.xid()},
                                   .ordinal = ordinal,
                                   .commit_unix_ms = commit.unix_ms});
    }

    static void check(const wire::FrameStatus& status) {
        if (!status.ok()) throw frame_error(status);
    }
    [[noreturn]] static void throw_unknown_relation(uint32_t id);

    wire::FrameReader reader_;
    RelationRegistry<Prepared> registry_;
    std::vector<wire::ValueView> before_ = std::vector<wire::ValueView>(64);
    std::vector<wire::ValueView> after_ = std::vector<wire::ValueView>(64);
};

Error unknown_relation_error(uint32_t id);

template <typename Prepared>
void FrameWalker<Prepared>::throw_unknown_relation(uint32_t id) {
    throw unknown_relation_error(id);
}

}  // namespace walferry
