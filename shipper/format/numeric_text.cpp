#include "format/numeric_text.h"

#include <algorithm>

#include "format/digits.h"

namespace walferry {
namespace {

constexpr uint16_t kSignMask = 0xC000;
constexpr uint16_t kLongNegative = 0x4000;
constexpr uint16_t kShort = 0x8000;
constexpr uint16_t kSpecial = 0xC000;
constexpr uint16_t kSpecialMask = 0xF000;
constexpr uint16_t kNaN = 0xC000;
constexpr uint16_t kPlusInfinity = 0xD000;
constexpr uint16_t kMinusInfinity = 0xF000;
constexpr uint32_t kBase = 10000;
constexpr int kDigitsPerWord = 4;

struct Parts {
    bool negative;
    int scale;             // digits to show after the point
    int weight;            // power of 10000 of the first word
    const uint8_t* words;  // base 10000
    int count;
};

// The caller has seen that `size` is even and holds the header, and that it is no special value.
Parts split(uint16_t header, const uint8_t* data, uint32_t size) {
    if ((header & kSignMask) == kShort) {
        int weight = header & 0x003F;
        if (header & 0x0040) weight -= 64;
        return {(header & 0x2000) != 0, (header & 0x1F80) >> 7, weight, data + 2,
                static_cast<int>(size / 2 - 1)};
    }
    return {(header & kSignMask) == kLongNegative, header & 0x3FFF, load<int16_t>(data + 2), data + 4,
            static_cast<int>(size / 2 - 2)};
}

bool is_short_or_special(uint16_t header) {
    return (header & kShort) != 0;
}

bool size_fits(const uint8_t* data, uint32_t size) {
    // No stored number has more words than its weight and scale can name (see NUMERIC_WEIGHT_MAX,
    // NUMERIC_DSCALE_MAX).
    constexpr uint32_t kMostBytes = 4 + 2 * (0x8000 + 0x4000 / kDigitsPerWord + 1);
    if (size < 2 || size % 2 != 0 || size > kMostBytes) return false;
    return is_short_or_special(load<uint16_t>(data)) || size >= 4;
}

char* word(const char* text, char* p) {
    size_t length = std::strlen(text);
    std::memcpy(p, text, length);
    return p + length;
}

}  // namespace

size_t numeric_bound(const uint8_t* data, uint32_t size) {
    if (!size_fits(data, size)) return 1;
    uint16_t header = load<uint16_t>(data);
    if ((header & kSignMask) == kSpecial) return 16;
    Parts n = split(header, data, size);
    // Sign, point, and the last word after the point, which is written whole and then cut.
    return static_cast<size_t>(std::max(n.weight + 1, 1) * kDigitsPerWord + n.scale + 8);
}

char* write_numeric(char* p, const uint8_t* data, uint32_t size) {
    if (!size_fits(data, size)) return nullptr;
    uint16_t header = load<uint16_t>(data);
    if ((header & kSignMask) == kSpecial) {
        switch (header & kSpecialMask) {
            case kNaN:
                return word("NaN", p);
            case kPlusInfinity:
                return word("Infinity", p);
            case kMinusInfinity:
                return word("-Infinity", p);
            default:
                return nullptr;
        }
    }
    const Parts n = split(header, data, size);
    bool valid = true;
    // The word of weight `weight - i`; those that are not stored are 0.
    auto at = [&](int i) -> uint32_t {
        if (i < 0 || i >= n.count) return 0;
        uint32_t w = load<uint16_t>(n.words + 2 * i);
        if (w < kBase) return w;
        valid = false;
        return 0;
    };

    if (n.negative) *p++ = '-';
    if (n.weight < 0) {
        *p++ = '0';
    } else {
        p = write_integer(p, at(0));
        for (int i = 1; i <= n.weight; i++) p = write_four(p, at(i));
    }
    if (n.scale > 0) {
        *p++ = '.';
        char* end = p + n.scale;
        for (int i = n.weight + 1; p < end; i++) p = write_four(p, at(i));
        p = end;
    }
    return valid ? p : nullptr;
}

}  // namespace walferry
