// The text form of an LSN. Pure functions; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/types.h"

namespace walferry {

// "16/B374D848", as the server writes it.
std::string lsn_text(Lsn lsn);
// Nothing unless the whole text is an LSN.
std::optional<Lsn> parse_lsn(std::string_view text);

}  // namespace walferry
