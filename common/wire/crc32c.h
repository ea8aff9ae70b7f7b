// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78, as in RFC 3720), by the processor's instruction where
// it has one. Safe to call from any thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace walferry::wire {

// `crc` is the result for the bytes before, 0 for none.
uint32_t crc32c(uint32_t crc, const uint8_t* data, size_t size);

// The checksum of a frame: over bytes 0..2 and from byte 7 to the end. `size` is at least 7.
inline uint32_t frame_checksum(const uint8_t* frame, size_t size) {
    return crc32c(crc32c(0, frame, 3), frame + 7, size - 7);
}

}  // namespace walferry::wire
