#include "record/relation_schema.h"

#include <algorithm>

namespace walferry {
namespace {

// A flatbuffer may point at one string from many places, so that a small frame stands for a huge copy. No
// relation of a server comes near this many bytes of names and labels.
constexpr size_t kMaxTextBytes = size_t(64) << 20;

size_t size_of(const flatbuffers::String* string) {
    return string ? string->size() + sizeof(std::string) : 0;
}

bool text_is_bounded(const wire::Relation& relation) {
    size_t bytes = size_of(relation.schema()) + size_of(relation.table()) + size_of(relation.leaf_schema()) +
                   size_of(relation.leaf_table());
    for (const wire::Column* column : *relation.columns()) {
        bytes += size_of(column->name()) + size_of(column->type_name());
        if (!column->enum_labels()) continue;
        for (const flatbuffers::String* label : *column->enum_labels()) {
            bytes += size_of(label);
            if (bytes > kMaxTextBytes) return false;
        }
    }
    return bytes <= kMaxTextBytes;
}

std::string text(const flatbuffers::String* string) {
    return string ? std::string(string->c_str(), string->size()) : std::string();
}

ColumnSchema copy_column(const wire::Column& column) {
    ColumnSchema copy{
        .name = text(column.name()),
        .type = Oid32(column.type_oid()),
        .type_name = text(column.type_name()),
        .type_modifier = column.type_modifier(),
        .base_type = Oid32(column.base_type_oid()),
        .value_class = column.value_class(),
        .key_position = column.key_position(),
        .identity = column.identity(),
        .not_null = column.not_null(),
        .generated = column.generated(),
        .is_enum = column.enum_labels() != nullptr,
        .enum_labels = {},
    };
    if (const auto* labels = column.enum_labels()) {
        copy.enum_labels.reserve(labels->size());
        for (const flatbuffers::String* label : *labels) copy.enum_labels.push_back(text(label));
    }
    return copy;
}

}  // namespace

std::optional<RelationSchema> RelationSchema::make(const wire::Relation& relation, wire::FrameStatus* fault) {
    wire::FrameStatus status = wire::check_relation(relation);
    // Ids start at 1, and the largest number means "no relation" in a record.
    if (status.ok() &&
        (relation.id() == 0 || relation.id() == wire::kNoRelation || !text_is_bounded(relation))) {
        status = {wire::FrameError::bad_relation, 0};
    }
    if (fault) *fault = status;
    if (!status.ok()) return std::nullopt;

    RelationSchema copy;
    copy.id = relation.id();
    copy.oid = Oid32(relation.oid());
    copy.root = Oid32(relation.root_oid());
    copy.schema = text(relation.schema());
    copy.table = text(relation.table());
    copy.leaf_schema = text(relation.leaf_schema());
    copy.leaf_table = text(relation.leaf_table());
    copy.replica_identity = static_cast<char>(relation.replica_identity());
    copy.kind = static_cast<char>(relation.kind());
    copy.fingerprint = relation.fingerprint();
    copy.columns.reserve(relation.columns()->size());
    copy.layout.reserve(relation.columns()->size());
    for (const wire::Column* column : *relation.columns()) {
        if (column->key_position() != 0)
            copy.key_columns.push_back(static_cast<uint16_t>(copy.columns.size()));
        copy.layout.push_back({column->value_class(), column->identity()});
        copy.columns.push_back(copy_column(*column));
    }
    std::sort(copy.key_columns.begin(), copy.key_columns.end(), [&](uint16_t a, uint16_t b) {
        return copy.columns[a].key_position < copy.columns[b].key_position;
    });
    return copy;
}

std::optional<uint16_t> RelationSchema::find_column(std::string_view name) const {
    for (size_t i = 0; i < columns.size(); i++) {
        if (columns[i].name == name) return static_cast<uint16_t>(i);
    }
    return std::nullopt;
}

}  // namespace walferry
