// An UPDATE of the message key told as two changes: a DELETE of the old key and an INSERT of the row under
// the new one, so that each goes to its own key's partition and a compacted topic forgets the old key.
//
// Thread contract: one user at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "record/row.h"

namespace walferry {

// Whether an UPDATE changes the key in columns `key`. Only where its before image holds all of them can it be
// told.
bool changes_key(const Row& row, std::span<const uint16_t> key);

// The two halves of a row for which changes_key() is true. Their views are valid as long as the row's, and
// until the next call.
class KeyChange {
 public:
    Row deleted(const Row& row);
    // A value that was not logged is that of the row before, where it has it.
    Row inserted(const Row& row);

 private:
    std::vector<wire::ValueView> absent_;
    std::vector<wire::ValueView> after_;
};

}  // namespace walferry
