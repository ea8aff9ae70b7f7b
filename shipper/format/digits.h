// Decimal digits written in place, two at a time. Every function returns the end of what it wrote.
#pragma once

#include <charconv>
#include <cstdint>
#include <cstring>

namespace walferry {

// "00" to "99".
inline constexpr struct DigitPairs {
    char text[200];
    constexpr DigitPairs() : text() {
        for (int i = 0; i < 100; i++) {
            text[2 * i] = static_cast<char>('0' + i / 10);
            text[2 * i + 1] = static_cast<char>('0' + i % 10);
        }
    }
} kDigitPairs;

// `v` below 100.
inline char* write_two(char* p, uint32_t v) {
    std::memcpy(p, kDigitPairs.text + 2 * v, 2);
    return p + 2;
}

// `v` below 10000.
inline char* write_four(char* p, uint32_t v) {
    return write_two(write_two(p, v / 100), v % 100);
}

template <typename Integer>
inline char* write_integer(char* p, Integer v) {
    return std::to_chars(p, p + 24, v).ptr;
}

// `v` with zeros in front up to `width` digits (at most 10).
inline char* write_padded(char* p, uint64_t v, int width) {
    char digits[20];
    const char* end = std::to_chars(digits, digits + sizeof digits, v).ptr;
    for (auto n = end - digits; n < width; n++) *p++ = '0';
    std::memcpy(p, digits, static_cast<size_t>(end - digits));
    return p + (end - digits);
}

// Little endian, as all numbers on the wire.
template <typename T>
inline T load(const uint8_t* p) {
    static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
                  "values are read from memory as they lie on the wire");
    T v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

}  // namespace walferry
