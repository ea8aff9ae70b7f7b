#include "spool/in_progress.h"

#include <algorithm>

namespace walferry {

InProgress::Transaction& InProgress::get(Xid xid) {
    const auto place = transactions_.find(xid.value);
    if (place != transactions_.end()) return place->second;
    return transactions_
        .emplace(xid.value, Transaction{next_number_++, SpoolChain(spool_), {}, std::nullopt, {}})
        .first->second;
}

void InProgress::abort(Xid xid, Xid aborted) {
    if (xid == aborted) {
        erase(xid);
        return;
    }
    const auto place = transactions_.find(xid.value);
    // Nothing of it was sent: then there is nothing to leave out.
    if (place != transactions_.end()) place->second.aborted.push_back(aborted.value);
}

InProgress::Transaction* InProgress::end(Xid xid) {
    const auto place = transactions_.find(xid.value);
    if (place == transactions_.end()) return nullptr;
    std::sort(place->second.aborted.begin(), place->second.aborted.end());
    return &place->second;
}

uint64_t InProgress::oldest_number() const {
    uint64_t oldest = next_number_;
    for (const auto& [xid, transaction] : transactions_) oldest = std::min(oldest, transaction.number);
    return oldest;
}

std::optional<Lsn> InProgress::oldest_prepared() const {
    std::optional<Lsn> oldest;
    for (const auto& [xid, transaction] : transactions_) {
        if (transaction.prepared && (!oldest || *transaction.prepared < *oldest))
            oldest = transaction.prepared;
    }
    return oldest;
}

}  // namespace walferry
