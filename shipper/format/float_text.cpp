#include "format/float_text.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>

#include "format/digits.h"

namespace walferry {
namespace {

// v = digits * 10^exponent.
struct Decimal {
    char digits[20];
    int count;
    int exponent;
};

// Splits "d.ddde[+-]dd".
Decimal parse_scientific(const char* p, const char* end) {
    Decimal d{};
    for (; p != end && *p != 'e'; p++) {
        if (*p != '.') d.digits[d.count++] = *p;
    }
    const char* exponent = p + 1;
    if (*exponent == '+') exponent++;
    std::from_chars(exponent, end, d.exponent);
    d.exponent -= d.count - 1;
    return d;
}

// Whether the decimal lies exactly half way between v and one of its neighbours. std::to_chars takes such a
// number where the reader's rounding to even brings it back to v; PostgreSQL does not (its d2s.c,
// "acceptBounds"), and writes a digit more. `bits` is the width of the significand.
bool on_boundary(const Decimal& decimal, double v, int bits) {
    // Below 2^bits a half-way point is no integer, and has more digits behind the point than any shortest
    // decimal.
    int q = decimal.exponent;
    if (q < 0 || v < std::ldexp(1.0, bits)) return false;
    // v = m * 2^e; half-way points are (4m + k) * 2^(e-2), the lower one closer to v where v is a power of
    // two.
    int e;
    auto m = static_cast<uint64_t>(std::ldexp(std::frexp(v, &e), bits));
    e -= bits;
    // d * 10^q is such a point only if 5^q divides 4m + k, which is below 2^56.
    if (q > 24) return false;
    using Wide = unsigned __int128;
    Wide d = 0;
    for (int i = 0; i < decimal.count; i++) d = d * 10 + static_cast<Wide>(decimal.digits[i] - '0');
    for (int i = 0; i < q; i++) d *= 5;
    const bool power_of_two = (m & (m - 1)) == 0;
    for (Wide point : {4 * Wide(m) + 2, 4 * Wide(m) - (power_of_two ? 1 : 2)}) {
        Wide left = d;
        int shift = q - (e - 2);  // compare left * 2^shift with point
        for (; shift < 0 && (left & 1) == 0; shift++) left >>= 1;
        for (; shift > 0 && (point & 1) == 0; shift--) point >>= 1;
        if (shift == 0 && left == point) return true;
    }
    return false;
}

template <typename Float>
Decimal shortest(Float v) {
    char text[48];
    const char* end = std::to_chars(text, text + sizeof text, v, std::chars_format::scientific).ptr;
    Decimal d = parse_scientific(text, end);
    constexpr int kBits = std::numeric_limits<Float>::digits;
    constexpr int kMostDigits = std::numeric_limits<Float>::max_digits10;
    if (d.count >= kMostDigits || !on_boundary(d, static_cast<double>(v), kBits)) return d;
    for (int count = d.count + 1; count <= kMostDigits; count++) {
        end = std::to_chars(text, text + sizeof text, v, std::chars_format::scientific, count - 1).ptr;
        Float back{};
        std::from_chars(text, end, back, std::chars_format::scientific);
        d = parse_scientific(text, end);
        if (back == v && !on_boundary(d, static_cast<double>(v), kBits)) break;
    }
    while (d.count > 1 && d.digits[d.count - 1] == '0') {
        d.count--;
        d.exponent++;
    }
    return d;
}

char* copy(char* p, const char* text, size_t count) {
    std::memcpy(p, text, count);
    return p + count;
}

char* zeros(char* p, int count) {
    std::memset(p, '0', static_cast<size_t>(count));
    return p + count;
}

template <typename Float>
char* write_float(char* p, Float v, int fixed_below) {
    if (std::isnan(v)) return copy(p, "NaN", 3);
    if (std::signbit(v)) {
        *p++ = '-';
        v = -v;
    }
    if (std::isinf(v)) return copy(p, "Infinity", 8);
    if (v == 0) return copy(p, "0", 1);

    Decimal d = shortest(v);
    int scientific = d.exponent + d.count - 1;
    if (scientific >= -4 && scientific < fixed_below) {
        if (scientific < 0) {
            p = zeros(copy(p, "0.", 2), -1 - scientific);
            return copy(p, d.digits, static_cast<size_t>(d.count));
        }
        int whole = scientific + 1;
        if (d.count <= whole) return zeros(copy(p, d.digits, static_cast<size_t>(d.count)), whole - d.count);
        p = copy(p, d.digits, static_cast<size_t>(whole));
        *p++ = '.';
        return copy(p, d.digits + whole, static_cast<size_t>(d.count - whole));
    }
    *p++ = d.digits[0];
    if (d.count > 1) {
        *p++ = '.';
        p = copy(p, d.digits + 1, static_cast<size_t>(d.count - 1));
    }
    *p++ = 'e';
    *p++ = scientific < 0 ? '-' : '+';
    auto magnitude = static_cast<uint32_t>(std::abs(scientific));
    return magnitude < 100 ? write_two(p, magnitude) : write_integer(p, magnitude);
}

}  // namespace

char* write_float4(char* p, float v) {
    return write_float(p, v, 6);
}
char* write_float8(char* p, double v) {
    return write_float(p, v, 15);
}

}  // namespace walferry
