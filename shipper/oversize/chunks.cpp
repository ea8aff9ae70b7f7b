#include "oversize/chunks.h"

#include <boost/crc.hpp>
#include <fmt/format.h>

namespace walferry {
namespace {

// Without a product of size and index, which 64 bits might not hold.
uint64_t border(uint64_t size, uint64_t index, uint64_t count) {
    const uint64_t longer = size % count;  // so many chunks have a byte more than the others
    return size / count * index + (index < longer ? index : longer);
}

}  // namespace

std::string_view chunk(std::string_view value, uint64_t index, uint64_t count) {
    const uint64_t begin = border(value.size(), index, count);
    return value.substr(begin, border(value.size(), index + 1, count) - begin);
}

std::string chunk_position(std::string_view position, uint64_t index, uint64_t count) {
    if (index + 1 == count) return std::string(position);
    return fmt::format("{}.c{}", position, index + 1);
}

std::string checksum_text(std::string_view value) {
    boost::crc_32_type crc;
    crc.process_bytes(value.data(), value.size());
    return fmt::format("crc32:{:08x}", crc.checksum());
}

}  // namespace walferry
