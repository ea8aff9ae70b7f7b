#include "progress/ack_tracker.h"

#include <stdexcept>
#include <string>

namespace walferry {
namespace {

constexpr size_t kFirstRing = 1024;
// Twice this many groups could not be told apart by a 32-bit number.
constexpr size_t kLargestRing = size_t{1} << 31;

}  // namespace

AckTracker::AckTracker(Lsn start, uint32_t first_group)
    : ring_(kFirstRing),
      mask_(kFirstRing - 1),
      head_(first_group),
      tail_(first_group),
      confirmed_(start),
      last_end_(start) {}

uint32_t AckTracker::open() {
    if (open_) misuse("opened a group inside a group");
    if (tail_ - head_ == ring_.size()) grow();
    slot(tail_) = Slot{0, 0};
    open_ = true;
    return tail_++;
}

void AckTracker::close(Lsn end) {
    if (!open_) misuse("closed no group");
    // A lower end would let confirmed() pass this group when an earlier one is acknowledged.
    if (end < last_end_) misuse("closed a group with an end LSN before that of the group before");
    open_ = false;
    last_end_ = end;
    // A group that waits for nothing of its own needs no place behind one that waits: that one speaks for it.
    if (tail_ - head_ > 1 && slot(tail_ - 1).pending == 0) --tail_;
    slot(tail_ - 1).end = end.value;
    advance();
}

void AckTracker::keepalive(Lsn wal_end) {
    if (open_ || wal_end <= last_end_) return;
    last_end_ = wal_end;
    // Every transaction that ended before wal_end was received before the keepalive, so the last closed group
    // speaks for everything up to there.
    if (idle())
        confirmed_ = wal_end;
    else
        slot(tail_ - 1).end = wal_end.value;
}

void AckTracker::advance() {
    const uint32_t closed = open_ ? tail_ - 1 : tail_;
    while (head_ != closed && slot(head_).pending == 0) {
        confirmed_ = Lsn{slot(head_).end};
        ++head_;
    }
}

void AckTracker::grow() {
    if (ring_.size() == kLargestRing) misuse("opened too many groups");
    std::vector<Slot> larger(ring_.size() * 2);
    const auto larger_mask = static_cast<uint32_t>(larger.size() - 1);
    for (uint32_t group = head_; group != tail_; ++group) larger[group & larger_mask] = slot(group);
    ring_.swap(larger);
    mask_ = larger_mask;
}

void AckTracker::misuse(const char* what) {
    throw std::logic_error(std::string("AckTracker: ") + what);
}

}  // namespace walferry
