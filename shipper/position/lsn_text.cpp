#include "position/lsn_text.h"

#include <charconv>
#include <cstdio>

namespace walferry {
namespace {

bool parse_hex(std::string_view text, uint32_t& value) {
    if (text.empty() || text.size() > 8) return false;
    const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
    return problem == std::errc{} && end == text.data() + text.size();
}

}  // namespace

std::string lsn_text(Lsn lsn) {
    char text[18];
    const int length = std::snprintf(text, sizeof text, "%X/%X", static_cast<uint32_t>(lsn.value >> 32),
                                     static_cast<uint32_t>(lsn.value));
    return std::string(text, static_cast<size_t>(length));
}

std::optional<Lsn> parse_lsn(std::string_view text) {
    const size_t slash = text.find('/');
    uint32_t high = 0;
    uint32_t low = 0;
    if (slash == std::string_view::npos || !parse_hex(text.substr(0, slash), high) ||
        !parse_hex(text.substr(slash + 1), low))
        return std::nullopt;
    return Lsn{static_cast<uint64_t>(high) << 32 | low};
}

}  // namespace walferry
