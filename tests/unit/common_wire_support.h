// Builds frames for the tests of common/wire: memory that grows by malloc, relations from short lists, rows
// from the states of their values.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "common/wire/crc32c.h"
#include "common/wire/emitter.h"
#include "common/wire/frame_reader.h"
#include "common/wire/frame_writer.h"

namespace walferry::wire {

// How GoogleTest shows an error.
inline void PrintTo(FrameError error, std::ostream* out) {
    *out << describe(error);
}

}  // namespace walferry::wire

namespace walferry::wire::test {

struct HeapBuffer : Buffer {
    HeapBuffer() {
        grow = [](void*, uint8_t* old, size_t, size_t wanted) {
            void* block = realloc(old, wanted);
            if (!block) abort();
            return static_cast<uint8_t*>(block);
        };
    }
    ~HeapBuffer() { free(data); }
    HeapBuffer(const HeapBuffer&) = delete;
    HeapBuffer& operator=(const HeapBuffer&) = delete;
};

// A frame in memory of exactly its size, so that a sanitizer sees the first byte read behind it. `shift`
// moves it away from the place (7 bytes before a multiple of 8) that the reader asks for.
class Frame {
 public:
    Frame() = default;
    Frame(const uint8_t* bytes, size_t size, size_t shift = 0) : size_(size) {
        block_.reset(static_cast<uint8_t*>(malloc(1 + shift + size)));
        if (!block_) abort();
        data_ = block_.get() + 1 + shift;
        if (size) memcpy(data_, bytes, size);
    }
    Frame(const Frame& other) : Frame(other.data_, other.size_) {}
    Frame& operator=(Frame other) {
        std::swap(block_, other.block_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }

    uint8_t* data() { return data_; }
    const uint8_t* data() const { return data_; }
    size_t size() const { return size_; }
    uint8_t& operator[](size_t i) { return data_[i]; }
    uint8_t operator[](size_t i) const { return data_[i]; }
    std::vector<uint8_t> bytes() const { return {data_, data_ + size_}; }
    void seal() { wire::seal(data_, size_); }

 private:
    struct Free {
        void operator()(uint8_t* p) const { free(p); }
    };
    std::unique_ptr<uint8_t, Free> block_;
    uint8_t* data_ = nullptr;
    size_t size_ = 0;
};

inline ColumnParts column(const char* name, ValueClass value_class, uint16_t key_position = 0) {
    return {.name = name,
            .type_oid = 25,
            .type_name = "text",
            .type_modifier = -1,
            .base_type_oid = 25,
            .value_class = value_class,
            .key_position = key_position,
            .identity = key_position != 0,
            .not_null = key_position != 0,
            .generated = false,
            .enum_labels = nullptr,
            .enum_label_count = 0};
}

inline RelationParts relation(uint32_t id, const char* table, const std::vector<ColumnParts>& columns) {
    return {.id = id,
            .oid = 16384 + id,
            .schema = "public",
            .table = table,
            .replica_identity = 'd',
            .kind = 'r',
            .root_oid = 0,
            .leaf_schema = nullptr,
            .leaf_table = nullptr,
            .columns = columns.data(),
            .column_count = uint32_t(columns.size())};
}

// public.t(id int4 primary key, note text): the relation of the worked example in docs/wire-format.md.
inline std::vector<ColumnParts> example_columns() {
    ColumnParts id = column("id", ValueClass::Int4, 1);
    id.type_oid = id.base_type_oid = 23;
    id.type_name = "integer";
    return {id, column("note", ValueClass::String)};
}

// Collects what goes into a frame and writes it.
class FrameBuilder {
 public:
    FrameParts parts;

    FrameBuilder() {
        parts.first = parts.last = true;
        parts.transaction = Transaction(0x1500028, 0x1500058, 700000000000000, 0, 742, 0, 0);
    }

    FrameBuilder& add(const RelationParts& r) {
        tables_.push_back(uint32_t(write_relation(r, fingerprint(r), &relations_)));
        return *this;
    }
    FrameBuilder& add(Operation operation, uint32_t relation_id, uint8_t images, const std::string& row) {
        uint16_t ordinal = uint16_t(records_.size());
        records_.emplace_back(uint32_t(values_.size()), relation_id, ordinal, operation, images);
        values_ += row;
        return *this;
    }
    // A record without a row, at that ordinal.
    FrameBuilder& add_truncate(uint32_t relation_id, uint16_t ordinal) {
        records_.emplace_back(uint32_t(values_.size()), relation_id, ordinal, Operation::Truncate, 0);
        return *this;
    }
    FrameBuilder& retire(uint32_t id) {
        retired_.push_back(id);
        return *this;
    }

    std::vector<Record>& records() { return records_; }
    std::string& values() { return values_; }

    Frame build() {
        parts.records = records_.data();
        parts.record_count = records_.size();
        parts.values = reinterpret_cast<const uint8_t*>(values_.data());
        parts.value_bytes = values_.size();
        parts.relations = relations_.data;
        parts.relation_bytes = relations_.size;
        parts.relation_tables = tables_.data();
        parts.relation_count = tables_.size();
        parts.retired = retired_.data();
        parts.retired_count = retired_.size();
        size_t bound = frame_bound(parts);
        // Bytes that the writer forgets would show up as this pattern.
        std::vector<uint8_t> pattern(bound, 0xee);
        Frame room(pattern.data(), bound);
        size_t size = write_frame(parts, room.data());
        EXPECT_LE(size, bound);
        wire::seal(room.data(), size);
        return Frame(room.data(), size);
    }

 private:
    HeapBuffer relations_;
    std::vector<uint32_t> tables_;
    std::vector<Record> records_;
    std::string values_;
    std::vector<uint32_t> retired_;
};

inline std::string varint(uint32_t v) {
    uint8_t bytes[kMaxVarint32];
    return {reinterpret_cast<char*>(bytes), size_t(store_varint(bytes, v) - bytes)};
}

inline std::string sized(const std::string& text) {
    return varint(uint32_t(text.size())) + text;
}

inline std::string little_endian(uint64_t v, size_t size) {
    std::string bytes;
    for (size_t i = 0; i < size; i++, v >>= 8) bytes += char(v & 0xff);
    return bytes;
}

// INSERT (42, 'hé') into the example's relation.
inline std::string example_row() {
    return little_endian(42, 4) + sized("h\xc3\xa9");
}

inline Frame example_frame() {
    std::vector<ColumnParts> columns = example_columns();
    return FrameBuilder()
        .add(relation(1, "t", columns))
        .add(Operation::Insert, 1, kAfter, example_row())
        .build();
}

inline std::vector<ColumnLayout> layout_of(const std::vector<ColumnParts>& columns) {
    std::vector<ColumnLayout> layout;
    for (const ColumnParts& c : columns) layout.push_back({c.value_class, c.identity});
    return layout;
}

inline std::string text_of(const ValueView& view) {
    return view.data ? std::string(reinterpret_cast<const char*>(view.data), view.size) : std::string();
}

inline FrameError open_error(const Frame& frame) {
    FrameReader reader;
    return reader.open(frame.data(), frame.size()).error;
}

}  // namespace walferry::wire::test
