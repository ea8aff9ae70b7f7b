// A row of which only the columns of the message key are known, as if the others had not been logged: formats
// leave out such values.
//
// Thread contract: one user at a time.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "record/row.h"

namespace walferry {

class KeyOnly {
 public:
    // Valid as long as `row`, and until the next call.
    Row of(const Row& row, std::span<const uint16_t> key);

 private:
    std::vector<wire::ValueView> before_;
    std::vector<wire::ValueView> after_;
};

}  // namespace walferry
