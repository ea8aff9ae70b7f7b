// Which position may be confirmed to the source: at-least-once bookkeeping over groups of messages.
//
// A group is the messages of one source transaction (or of several small ones). It is opened, counts what was
// produced in it, is closed with the end LSN of its last transaction, and shrinks with each acknowledgement.
// confirmed() is the end LSN of the last group before which, itself included, everything is closed and
// acknowledged; so it never passes what Kafka has (design invariant 2) and never moves backwards.
//
// The progress record of exactly-once and of read-back stands between this class and the source: it is
// written from confirmed(), and the source is told only the position that the record holds.
//
// Thread contract: one thread. No call allocates except open(), and that amortized: the ring doubles when
// more groups are under way than ever before.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/types.h"

namespace walferry {

class AckTracker {
 public:
    // `start`: the position confirmed so far; Lsn{0} when there is none.
    explicit AckTracker(Lsn start = Lsn{}, uint32_t first_group = 0);

    // Opens the next group and returns its number, which wraps after 2^32. At most one group is open.
    uint32_t open();
    // Counts `messages` as produced in the open group. Call it before they can be acknowledged.
    void produced(uint32_t messages = 1) {
        if (!open_) misuse("produced outside a group");
        slot(tail_ - 1).pending += messages;
        outstanding_ += messages;
    }
    // Closes the open group. End LSNs never fall from one group to the next. If nothing of the group is
    // pending, its number may be given out again, so that empty groups take no room while Kafka acknowledges
    // nothing.
    void close(Lsn end);
    // Goes on in another group, whose number it returns: those before it may be done while the end is still
    // far away. confirmed() stays where it is until then.
    uint32_t divide() {
        close(last_end_);
        return open();
    }
    // Whether all groups before this one are closed and acknowledged.
    bool done_before(uint32_t group) const { return static_cast<int32_t>(head_ - group) >= 0; }
    // Takes the acknowledgement of `messages` of a group, in any order of groups. More than were produced is
    // a std::logic_error: the position must not move on a wrong count.
    void acknowledged(uint32_t group, uint32_t messages = 1) {
        if (group - head_ >= tail_ - head_ || slot(group).pending < messages) misuse("acknowledged too much");
        slot(group).pending -= messages;
        outstanding_ -= messages;
        if (group == head_) advance();
    }
    // The server has nothing for us before `wal_end`. Moves confirmed() when everything is acknowledged, else
    // as soon as it is; has no effect inside an open group.
    void keepalive(Lsn wal_end);

    Lsn confirmed() const { return confirmed_; }
    // Messages produced and not yet acknowledged.
    uint64_t outstanding() const { return outstanding_; }
    // Nothing open, nothing unacknowledged.
    bool idle() const { return head_ == tail_; }
    // Groups open or not fully acknowledged, or behind one that is not; empty ones apart.
    uint32_t groups() const { return tail_ - head_; }
    bool in_group() const { return open_; }

 private:
    struct Slot {
        uint64_t end;
        uint64_t pending;
    };

    Slot& slot(uint32_t group) { return ring_[group & mask_]; }
    void advance();
    void grow();
    [[noreturn]] static void misuse(const char* what);

    std::vector<Slot> ring_;  // a power of two of slots, indexed by group number
    uint32_t mask_;
    uint32_t head_;  // oldest group that is not done
    uint32_t tail_;  // next group number
    bool open_ = false;
    uint64_t outstanding_ = 0;
    Lsn confirmed_;
    Lsn last_end_;
};

}  // namespace walferry
