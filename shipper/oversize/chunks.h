// How a value is cut into chunks: as few as possible, and of the same size but for a byte, so that their
// borders follow from the value's size and their number alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace walferry {

// At least 1. `room`: what one chunk may hold, not 0.
constexpr uint64_t chunk_count(uint64_t size, uint64_t room) {
    return size == 0 ? 1 : (size + room - 1) / room;
}

// The chunk of that index, from 0.
std::string_view chunk(std::string_view value, uint64_t index, uint64_t count);

// The position header of a chunk. Only the last one has the record's own, so a record whose position stands
// in a topic is there whole, and one whose sending was interrupted is not.
std::string chunk_position(std::string_view position, uint64_t index, uint64_t count);

// CRC-32 as zlib has it, "crc32:" and eight hexadecimal digits.
std::string checksum_text(std::string_view value);

}  // namespace walferry
