// The inside of a JSON string, straight into the output: escapes what JSON demands and nothing else. Text
// that is not UTF-8 (an output function may give any bytes) gets U+FFFD in place of each wrong byte, so that
// the result always is.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "format/utf8.h"
#include "record/output.h"

namespace walferry {

// Of one byte of input come at most so many of output.
constexpr size_t kMostEscaped = 6;
// Bytes looked at, and written, in one step: writers need so much room beyond the end of their text.
constexpr size_t kEscapeStep = 16;

// Handles the special character at `*s`: an escape, or a run of non-ASCII text that ends before `stop` plus
// one character.
inline char* escape_special(char* p, const uint8_t** s, const uint8_t* stop, const uint8_t* end) {
    const uint8_t* at = *s;
    if (*at >= 0x80) {
        do {
            size_t length = utf8_sequence(at, static_cast<size_t>(end - at));
            if (length == 0) {
                std::memcpy(p, kReplacement, 3);
                p += 3;
                at++;
            } else {
                std::memcpy(p, at, length);
                p += length;
                at += length;
            }
        } while (at < stop && *at >= 0x80);
        *s = at;
        return p;
    }
    *s = at + 1;
    *p++ = '\\';
    switch (*at) {
        case '"':
            *p++ = '"';
            return p;
        case '\\':
            *p++ = '\\';
            return p;
        case '\b':
            *p++ = 'b';
            return p;
        case '\t':
            *p++ = 't';
            return p;
        case '\n':
            *p++ = 'n';
            return p;
        case '\f':
            *p++ = 'f';
            return p;
        case '\r':
            *p++ = 'r';
            return p;
        default:
            break;
    }
    std::memcpy(p, "u00", 3);
    p[3] = static_cast<char>('0' + (*at >> 4));
    p[4] = "0123456789abcdef"[*at & 15];
    return p + 5;
}

#ifdef __SSE2__
namespace escape_detail {

// Up to 15 bytes, without a read outside of them.
inline __m128i load_tail(const uint8_t* s, size_t n) {
    uint64_t low = 0, high = 0;
    if (n >= 8) {
        std::memcpy(&low, s, 8);
        if (n > 8) {
            std::memcpy(&high, s + n - 8, 8);
            high >>= 8 * (16 - n);
        }
    } else if (n >= 4) {
        uint32_t front, back;
        std::memcpy(&front, s, 4);
        std::memcpy(&back, s + n - 4, 4);
        low = front | uint64_t(back) << 8 * (n - 4);
    } else {
        low = s[0] | uint64_t(s[n / 2]) << 8 * (n / 2) | uint64_t(s[n - 1]) << 8 * (n - 1);
    }
    return _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low));
}

// One bit for each byte that is a quote, a backslash, a control character or not ASCII.
inline uint32_t special_bytes(__m128i x) {
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(x, _mm_set1_epi8(0x1F)), x);
    __m128i quote = _mm_cmpeq_epi8(x, _mm_set1_epi8('"'));
    __m128i backslash = _mm_cmpeq_epi8(x, _mm_set1_epi8('\\'));
    // movemask looks at the top bit, which is that of every byte outside ASCII.
    __m128i any = _mm_or_si128(_mm_or_si128(control, quote), _mm_or_si128(backslash, x));
    return static_cast<uint32_t>(_mm_movemask_epi8(any));
}

}  // namespace escape_detail
#endif

// Writes the escaped text of [s, stop); a character or a step that begins before `stop` may take in more, up
// to `end`. Returns the end of what was written and leaves in `*s` the first byte not taken. Needs
// kMostEscaped bytes of room for each of [s, stop) and kEscapeStep more, and kEscapeStep beyond.
inline char* write_json_text(char* p, const uint8_t** s, const uint8_t* stop, const uint8_t* end) {
    const uint8_t* at = *s;
#ifdef __SSE2__
    while (at < stop) {
        const auto left = static_cast<size_t>(end - at);
        const size_t step = std::min(left, kEscapeStep);
        __m128i x;
        uint32_t special;
        if (step == kEscapeStep) {
            x = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
            special = escape_detail::special_bytes(x);
        } else {
            x = escape_detail::load_tail(at, step);
            special = escape_detail::special_bytes(x) & ((1u << step) - 1);
        }
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), x);
        if (special == 0) {
            p += step;
            at += step;
            continue;
        }
        const auto plain = static_cast<size_t>(__builtin_ctz(special));
        p += plain;
        at += plain;
        p = escape_special(p, &at, std::max(stop, at + 1), end);
    }
#else
    while (at < stop) {
        if (*at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\') {
            *p++ = static_cast<char>(*at++);
        } else {
            p = escape_special(p, &at, stop, end);
        }
    }
#endif
    *s = at;
    return p;
}

// Appends the escaped text. A long one goes in chunks, so that room is made for what it needs and not for six
// times that.
inline void append_json_text(Output& out, const uint8_t* data, size_t size) {
    constexpr size_t kChunk = 8192;
    const uint8_t* end = data + size;
    while (data < end) {
        const auto left = static_cast<size_t>(end - data);
        const size_t chunk = std::min(left, kChunk);
        char* p =
            out.reserve(std::max(kMostEscaped * (chunk + kEscapeStep) + kEscapeStep, left + kEscapeStep));
        out.commit(write_json_text(p, &data, data + chunk, end));
    }
}

inline void append_json_text(Output& out, std::string_view text) {
    append_json_text(out, reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

}  // namespace walferry
