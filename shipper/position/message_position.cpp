#include "position/message_position.h"

#include <charconv>

#include "position/lsn_text.h"

namespace walferry {
namespace {

template <typename Number>
bool parse_number(std::string_view text, Number& value) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

// What stands before the next `separator`, which is taken away with it.
std::optional<std::string_view> take(std::string_view& text, char separator) {
    const size_t end = text.find(separator);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view part = text.substr(0, end);
    text.remove_prefix(end + 1);
    return part;
}

bool parse_part(std::string_view text, uint32_t& part) {
    const bool chunk = text.starts_with('c');
    if (chunk) text.remove_prefix(1);
    if (!parse_number(text, part)) return false;
    if (!chunk) return part == 1 || part == 2;
    if (part > UINT32_MAX - MessagePosition::kFirstChunk) return false;
    part += MessagePosition::kFirstChunk;
    return true;
}

}  // namespace

std::optional<HistoricPosition> parse_position(std::string_view text) {
    HistoricPosition position;
    const auto system = take(text, ':');
    const auto timeline = take(text, ':');
    const auto commit = take(text, ':');
    if (!commit || !parse_number(*system, position.system.value) ||
        !parse_number(*timeline, position.timeline.value)) {
        return std::nullopt;
    }
    const auto lsn = parse_lsn(*commit);
    if (!lsn) return std::nullopt;
    position.message.commit = *lsn;
    const size_t dot = text.find('.');
    if (!parse_number(text.substr(0, dot), position.message.ordinal)) return std::nullopt;
    if (dot != std::string_view::npos && !parse_part(text.substr(dot + 1), position.message.part))
        return std::nullopt;
    return position;
}

}  // namespace walferry
