// The transactions that the server has sent, wholly or in part, before their end: kept on the spool until
// they are committed or rolled back. Thread contract: one thread. Errors: those of Spool.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/types.h"
#include "spool/spool.h"

namespace walferry {

class InProgress {
 public:
    struct Transaction {
        uint64_t number;  // in the order in which they began to come
        SpoolChain frames;
        std::vector<uint32_t> aborted;  // subtransactions that were rolled back; sorted once it is ended
        std::optional<Lsn> prepared;    // start of the record that prepared it
        std::string origin;             // name of the replication origin; empty: none
    };

    explicit InProgress(Spool& spool) : spool_(spool) {}

    void append(Xid xid, std::span<const uint8_t> frame) { get(xid).frames.append(frame); }
    void set_origin(Xid xid, std::string_view name) { get(xid).origin = name; }
    // `aborted` is the transaction itself or a subtransaction.
    void abort(Xid xid, Xid aborted);
    void prepare(Xid xid, Lsn prepared) { get(xid).prepared = prepared; }
    // Ready to be read, or null if nothing of it was sent.
    Transaction* end(Xid xid);
    void erase(Xid xid) { transactions_.erase(xid.value); }
    void clear() { transactions_.clear(); }

    size_t size() const { return transactions_.size(); }
    // The number of the next one to begin, and of the oldest that is here; the same if there is none.
    uint64_t next_number() const { return next_number_; }
    uint64_t oldest_number() const;
    // Where the source must be read from so that every prepared transaction comes again.
    std::optional<Lsn> oldest_prepared() const;

 private:
    Transaction& get(Xid xid);

    Spool& spool_;
    std::map<uint32_t, Transaction> transactions_;
    uint64_t next_number_ = 1;
};

}  // namespace walferry
