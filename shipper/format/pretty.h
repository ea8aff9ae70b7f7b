// One line per change for people at a terminal (`walferry tail`):
//   12:03:04.123 0/16B3748 UPDATE public.orders  id=42  amount: 19.90 → 17.50
// No byte of a name or value reaches the terminal as a control: they are escaped, and long values are
// shortened.
#pragma once

#include <cstdint>

#include "format/canal_json.h"
#include "record/output.h"
#include "record/row.h"

namespace walferry {

struct PrettyOptions {
    bool colour = false;             // ANSI colours
    int32_t utc_offset_seconds = 0;  // of the clock that is shown, east of UTC
    uint32_t longest_value = 60;     // characters; what is longer ends in an ellipsis
};

class Pretty {
 public:
    explicit Pretty(const PrettyOptions& options) : options_(options) {}

    // Appends the row's line with its line feed; on bad_value nothing.
    [[nodiscard]] RenderStatus render(const Row& row, Output& out) const;

 private:
    PrettyOptions options_;
};

}  // namespace walferry
