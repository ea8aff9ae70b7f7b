#include "route/partition_hash.h"

#include <cstddef>
#include <string>

namespace walferry {
namespace {

constexpr uint32_t kReplacement = 0xFFFD;

// Decodes the code point at `at` and moves past it.
uint32_t next_code_point(std::string_view text, size_t& at) {
    const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(text[i])); };
    const uint32_t lead = byte(at);
    size_t length;
    uint32_t code, smallest;
    if (lead >= 0xC2 && lead <= 0xDF) {
        length = 2, code = lead & 0x1F, smallest = 0x80;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
        length = 3, code = lead & 0x0F, smallest = 0x800;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
        length = 4, code = lead & 0x07, smallest = 0x10000;
    } else {
        ++at;
        return lead < 0x80 ? lead : kReplacement;
    }
    if (text.size() - at < length) return ++at, kReplacement;
    for (size_t i = 1; i < length; ++i) {
        if ((byte(at + i) & 0xC0) != 0x80) return ++at, kReplacement;
        code = code << 6 | (byte(at + i) & 0x3F);
    }
    if (code < smallest || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return ++at, kReplacement;
    at += length;
    return code;
}

}  // namespace

int32_t murmur2(std::string_view bytes) {
    constexpr uint32_t kSeed = 0x9747B28C;
    constexpr uint32_t kMultiplier = 0x5BD1E995;
    constexpr uint32_t kShift = 24;
    const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
    const size_t words = bytes.size() / 4;
    uint32_t hash = kSeed ^ static_cast<uint32_t>(bytes.size());
    for (size_t i = 0; i < words; ++i, data += 4) {
        uint32_t word = static_cast<uint32_t>(data[0]) | static_cast<uint32_t>(data[1]) << 8 |
                        static_cast<uint32_t>(data[2]) << 16 | static_cast<uint32_t>(data[3]) << 24;
        word *= kMultiplier;
        word ^= word >> kShift;
        word *= kMultiplier;
        hash *= kMultiplier;
        hash ^= word;
    }
    switch (bytes.size() % 4) {
        case 3:
            hash ^= static_cast<uint32_t>(data[2]) << 16;
            [[fallthrough]];
        case 2:
            hash ^= static_cast<uint32_t>(data[1]) << 8;
            [[fallthrough]];
        case 1:
            hash ^= static_cast<uint32_t>(data[0]);
            hash *= kMultiplier;
            break;
        default:
            break;
    }
    hash ^= hash >> 13;
    hash *= kMultiplier;
    hash ^= hash >> 15;
    return static_cast<int32_t>(hash);
}

int32_t java_string_hash(std::string_view utf8) {
    uint32_t hash = 0;
    for (size_t at = 0; at < utf8.size();) {
        const auto first = static_cast<unsigned char>(utf8[at]);
        if (first < 0x80) {
            hash = 31 * hash + first;
            ++at;
            continue;
        }
        const uint32_t code = next_code_point(utf8, at);
        if (code < 0x10000) {
            hash = 31 * hash + code;
        } else {
            hash = 31 * hash + (0xD800 + ((code - 0x10000) >> 10));
            hash = 31 * hash + (0xDC00 + ((code - 0x10000) & 0x3FF));
        }
    }
    return static_cast<int32_t>(hash);
}

uint32_t table_partition_hash(HashFamily family, std::string_view schema, std::string_view table) {
    if (family == HashFamily::java) {
        JavaKeyHash hash;
        hash.add(schema);
        hash.add(table);
        return hash.partition_hash();
    }
    std::string name(schema);
    name += '.';
    name += table;
    return kafka_partition_hash(name);
}

}  // namespace walferry
