// Well-formed UTF-8 (RFC 3629): no overlong form, no surrogate, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <cstdint>

namespace walferry {

// U+FFFD, written for each byte that is not part of a well-formed sequence.
inline constexpr char kReplacement[] = "\xEF\xBF\xBD";

// Bytes of the well-formed sequence at `s`, which has `left` > 0 bytes after it began; 0 if there is none.
inline size_t utf8_sequence(const uint8_t* s, size_t left) {
    const uint8_t first = s[0];
    auto continues = [&](size_t i) { return (s[i] & 0xC0) == 0x80; };
    if (first < 0x80) return 1;
    if (first < 0xC2) return 0;
    if (first < 0xE0) return left >= 2 && continues(1) ? 2 : 0;
    if (first < 0xF0) {
        if (left < 3 || !continues(1) || !continues(2)) return 0;
        if (first == 0xE0 && s[1] < 0xA0) return 0;  // overlong
        if (first == 0xED && s[1] > 0x9F) return 0;  // surrogate
        return 3;
    }
    if (first > 0xF4 || left < 4 || !continues(1) || !continues(2) || !continues(3)) return 0;
    if (first == 0xF0 && s[1] < 0x90) return 0;
    if (first == 0xF4 && s[1] > 0x8F) return 0;
    return 4;
}

}  // namespace walferry
