// Writes flatbuffers front to back. The library's own builder writes back to front into memory of its own,
// which would cost a second copy of every row; here a table comes first, what it refers to follows, and
// references are patched. Format: "FlatBuffers Internals" of its manual. A finished table may be copied as a
// block to any offset that is a multiple of 8, since all references are relative.
#pragma once

#include "common/wire/buffer.h"
#include "common/wire/frame.h"

namespace walferry::wire {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "the wire format is written by little-endian machines");

class TableWriter {
 public:
    // `fields`: how many fields the schema's table has. `lead`: alignment of the first field to come, if it
    // is wider than 4 bytes and is to follow the table's first word without padding.
    TableWriter(Buffer* buffer, unsigned fields, size_t lead = 4) : buffer_(buffer) {
        vtable_size_ = uint16_t(4 + 2 * fields);
        buffer_->align(lead, vtable_size_ + 4u);
        vtable_ = buffer_->size;
        buffer_->append_zeros(vtable_size_);
        start_ = buffer_->size;
        int32_t to_vtable = vtable_size_;
        buffer_->append(&to_vtable, 4);
    }

    // `field` is the generated VT_ constant: the field's place in the vtable, in bytes.
    template <typename T>
    void scalar(uint16_t field, T value) {
        place(field, sizeof(T));
        buffer_->append(&value, sizeof(T));
    }

    template <typename T>
    void structure(uint16_t field, const T& value) {
        place(field, alignof(T));
        buffer_->append(&value, sizeof(T));
    }

    // Leaves room for a reference; returns its place for refer().
    size_t reference(uint16_t field) {
        place(field, 4);
        buffer_->append_zeros(4);
        return buffer_->size - 4;
    }

    // After the last field and before anything else is written. Returns the table's place.
    size_t finish() {
        uint16_t size = uint16_t(buffer_->size - start_);
        memcpy(buffer_->data + vtable_, &vtable_size_, 2);
        memcpy(buffer_->data + vtable_ + 2, &size, 2);
        return start_;
    }

 private:
    void place(uint16_t field, size_t alignment) {
        buffer_->align(alignment);
        uint16_t offset = uint16_t(buffer_->size - start_);
        memcpy(buffer_->data + vtable_ + field, &offset, 2);
    }

    Buffer* buffer_;
    size_t vtable_ = 0;
    size_t start_ = 0;
    uint16_t vtable_size_ = 0;
};

inline void refer(Buffer* buffer, size_t reference, size_t target) {
    store_u32(buffer->data + reference, uint32_t(target - reference));
}

// Returns the vector's place. `alignment` is that of an element.
inline size_t write_vector(Buffer* buffer, const void* elements, size_t count, size_t element_size,
                           size_t alignment) {
    buffer->align(alignment < 4 ? 4 : alignment, 4);
    size_t at = buffer->size;
    uint32_t length = uint32_t(count);
    buffer->append(&length, 4);
    buffer->append(elements, count * element_size);
    return at;
}

// A vector of `count` references, all to be patched: the reference of element i is at result + 4 + 4 * i.
inline size_t write_reference_vector(Buffer* buffer, size_t count) {
    buffer->align(4);
    size_t at = buffer->size;
    uint32_t length = uint32_t(count);
    buffer->append(&length, 4);
    buffer->append_zeros(4 * count);
    return at;
}

inline size_t write_string(Buffer* buffer, const char* text, size_t length) {
    size_t at = write_vector(buffer, text, length, 1, 1);
    buffer->append_zeros(1);
    return at;
}

}  // namespace walferry::wire
