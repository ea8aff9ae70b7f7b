#include "position/position_text.h"

#include <charconv>

namespace walferry {
namespace {

constexpr size_t kRoom = 64;

char* append_number(char* p, uint64_t value, int base) {
    return std::to_chars(p, p + 20, value, base).ptr;
}

// PostgreSQL writes the hexadecimal digits of an LSN in upper case.
char* append_hex(char* p, uint32_t value) {
    char* end = append_number(p, value, 16);
    for (; p < end; ++p) {
        if (*p >= 'a') *p = static_cast<char>(*p - 'a' + 'A');
    }
    return end;
}

}  // namespace

void PositionText::set_history(SystemId system, Timeline timeline) {
    text_ = std::to_string(system.value) + ":" + std::to_string(timeline.value) + ":";
    prefix_ = text_.size();
    text_.resize(prefix_ + kRoom);
}

std::string_view PositionText::of(const MessagePosition& position) {
    char* p = text_.data() + prefix_;
    p = append_hex(p, static_cast<uint32_t>(position.commit.value >> 32));
    *p++ = '/';
    p = append_hex(p, static_cast<uint32_t>(position.commit.value));
    *p++ = ':';
    p = append_number(p, position.ordinal, 10);
    if (position.part != 0) {
        *p++ = '.';
        p = append_number(p, position.part, 10);
    }
    return {text_.data(), static_cast<size_t>(p - text_.data())};
}

}  // namespace walferry
