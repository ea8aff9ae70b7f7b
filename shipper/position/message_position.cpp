#include "position/message_position.h"

#include <algorithm>
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

// ".1", ".2", ".c7", ".1.c7", ".2.c7", or nothing.
bool parse_suffix(std::string_view text, MessagePosition& position) {
    for (const uint32_t part : {1U, 2U}) {
        const std::string_view name = part == 1 ? ".1" : ".2";
        if (!text.starts_with(name)) continue;
        position.part = part;
        text.remove_prefix(name.size());
        break;
    }
    if (text.empty()) return true;
    if (!text.starts_with(".c") || !parse_number(text.substr(2), position.chunk)) return false;
    return position.chunk != 0 && position.chunk != MessagePosition::kWholeChunk;
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
    const size_t dot = std::min(text.find('.'), text.size());
    if (!parse_number(text.substr(0, dot), position.message.ordinal) ||
        !parse_suffix(text.substr(dot), position.message))
        return std::nullopt;
    return position;
}

}  // namespace walferry
