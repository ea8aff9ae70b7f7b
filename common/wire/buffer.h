// A growable byte buffer that does not own an allocator: inside the server it grows by palloc, outside by
// realloc. Plain data, so that an ERROR of the server may jump past it at any point.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace walferry::wire {

struct Buffer {
    uint8_t* data = nullptr;
    size_t size = 0;
    size_t capacity = 0;
    // Returns a block of `capacity` bytes that starts with the `size` bytes of the old one. Never returns
    // null: it raises the surrounding world's out-of-memory error instead.
    uint8_t* (*grow)(void* context, uint8_t* old, size_t size, size_t capacity) = nullptr;
    void* context = nullptr;

    // Makes room for `bytes` more and returns where they begin. The size does not change.
    uint8_t* reserve(size_t bytes) {
        if (capacity - size < bytes) {
            // Doubling a buffer of hundreds of MB would waste as much: beyond 64 MB it grows by an eighth.
            size_t ahead = capacity < (size_t(64) << 20) ? capacity * 2 : capacity + capacity / 8;
            size_t wanted = ahead > size + bytes ? ahead : size + bytes;
            data = grow(context, data, size, wanted);
            capacity = wanted;
        }
        return data + size;
    }

    void append(const void* bytes, size_t count) {
        if (count == 0) return;
        memcpy(reserve(count), bytes, count);
        size += count;
    }

    void append_zeros(size_t count) {
        if (count == 0) return;
        memset(reserve(count), 0, count);
        size += count;
    }

    // Pads with zeros until size + ahead is a multiple of `alignment` (a power of two).
    void align(size_t alignment, size_t ahead = 0) { append_zeros(-(size + ahead) & (alignment - 1)); }
};

}  // namespace walferry::wire
