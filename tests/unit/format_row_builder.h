// Relations and rows for tests and benches, made through the wire format's own writer or value by value.
#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "common/wire/frame_writer.h"
#include "record/relation_schema.h"
#include "record/row.h"

namespace walferry::test {

struct TestColumn {
    std::string name;
    uint32_t type;
    std::string type_name;
    wire::ValueClass value_class;
    uint16_t key_position = 0;
    int32_t type_modifier = -1;
    std::vector<std::string> enum_labels = {};
    uint32_t base_type = 0;  // 0: as `type`
};

// As the plugin would send it, read back as the shipper does.
inline RelationSchema make_relation(const std::string& schema, const std::string& table,
                                    const std::vector<TestColumn>& columns, uint8_t identity = 'd',
                                    uint32_t id = 1) {
    std::vector<wire::ColumnParts> parts;
    std::deque<std::vector<const char*>> labels;
    for (const TestColumn& c : columns) {
        labels.emplace_back();
        for (const std::string& label : c.enum_labels) labels.back().push_back(label.c_str());
        parts.push_back({.name = c.name.c_str(),
                         .type_oid = c.type,
                         .type_name = c.type_name.c_str(),
                         .type_modifier = c.type_modifier,
                         .base_type_oid = c.base_type ? c.base_type : c.type,
                         .value_class = c.value_class,
                         .key_position = c.key_position,
                         .identity = identity == 'f' || c.key_position != 0,
                         .not_null = c.key_position != 0,
                         .generated = false,
                         .enum_labels = labels.back().empty() ? nullptr : labels.back().data(),
                         .enum_label_count = static_cast<uint32_t>(labels.back().size())});
    }
    wire::RelationParts relation{.id = id,
                                 .oid = 16384 + id,
                                 .schema = schema.c_str(),
                                 .table = table.c_str(),
                                 .replica_identity = identity,
                                 .kind = 'r',
                                 .root_oid = 0,
                                 .leaf_schema = nullptr,
                                 .leaf_table = nullptr,
                                 .columns = parts.data(),
                                 .column_count = static_cast<uint32_t>(parts.size())};
    wire::Buffer buffer;
    buffer.grow = [](void*, uint8_t* old, size_t, size_t capacity) {
        return static_cast<uint8_t*>(std::realloc(old, capacity));
    };
    const size_t at = wire::write_relation(relation, wire::fingerprint(relation), &buffer);
    auto made = RelationSchema::make(*reinterpret_cast<const wire::Relation*>(buffer.data + at), nullptr);
    std::free(buffer.data);
    return std::move(*made);
}

// The bytes of one value; `null` and `unchanged` stand for themselves.
struct TestValue {
    std::string bytes;
    wire::ValueState state = wire::ValueState::value;
};
inline const TestValue kNull{{}, wire::ValueState::null};
inline const TestValue kUnchanged{{}, wire::ValueState::unchanged};
inline const TestValue kAbsent{{}, wire::ValueState::absent};

inline TestValue text(std::string_view s) {
    return {std::string(s)};
}
template <typename T>
TestValue number(T v) {
    return {std::string(reinterpret_cast<const char*>(&v), sizeof v)};
}
inline TestValue hex(std::string_view digits) {
    std::string bytes;
    for (size_t i = 0; i + 1 < digits.size(); i += 2) {
        bytes += static_cast<char>(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16));
    }
    return {bytes};
}

using Image = std::vector<TestValue>;

// Keeps the images that a Row points into. Each value lies in memory of exactly its size, so that a sanitizer
// sees a read beyond it.
class TestRow {
 public:
    TestRow(const RelationSchema& relation, wire::Operation operation, const Image& before,
            const Image& after, uint8_t images = 0)
        : before_(views(before, relation.columns.size())),
          after_(views(after, relation.columns.size())),
          row_{.relation = relation,
               .operation = operation,
               .before = before_.data(),
               .after = after_.data(),
               .images = static_cast<uint8_t>(images | (before.empty() ? 0 : wire::kBefore) |
                                              (after.empty() ? 0 : wire::kAfter)),
               .commit_lsn = Lsn(1001),
               .end_lsn = Lsn(1049),
               .xid = Xid(7),
               .ordinal = Ordinal(0),
               .commit_unix_ms = 1767323045123} {}

    const Row& row() const { return row_; }

 private:
    std::vector<wire::ValueView> views(const Image& image, size_t count) {
        std::vector<wire::ValueView> result(count);
        for (size_t i = 0; i < image.size(); i++) {
            result[i].state = image[i].state;
            if (image[i].state != wire::ValueState::value) continue;
            bytes_.emplace_back(image[i].bytes.begin(), image[i].bytes.end());
            bytes_.back().shrink_to_fit();
            result[i].data = bytes_.back().data();
            result[i].size = static_cast<uint32_t>(bytes_.back().size());
        }
        return result;
    }

    std::deque<std::vector<uint8_t>> bytes_;
    std::vector<wire::ValueView> before_, after_;
    Row row_;
};

// shop.orders of docs/canal-json.md.
inline RelationSchema orders(uint8_t identity = 'f') {
    using wire::ValueClass;
    return make_relation("shop", "orders",
                         {{"id", 20, "bigint", ValueClass::Int8, 1},
                          {"customer", 1043, "character varying", ValueClass::String, 0, 44},
                          {"amount", 1700, "numeric", ValueClass::Numeric, 0, (12 << 16 | 2) + 4},
                          {"paid", 16, "boolean", ValueClass::Bool},
                          {"note", 25, "text", ValueClass::String}},
                         identity);
}

// numeric 19.90 and 17.50 as they lie in a table.
inline TestValue n19_90() {
    return hex("008113002823");
}
inline TestValue n17_50() {
    return hex("008111008813");
}

}  // namespace walferry::test
