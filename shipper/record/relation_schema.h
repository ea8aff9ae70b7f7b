// A relation as it was when its rows were written: the shipper's own copy of a wire::Relation, with what the
// row decoder and the renderers need laid out once. Immutable after make(); any thread may read it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/types.h"
#include "common/wire/frame_reader.h"

namespace walferry {

struct ColumnSchema {
    std::string name;
    Oid32 type;             // as declared, a domain's own OID included
    std::string type_name;  // format_type without modifier, e.g. "character varying"
    int32_t type_modifier;  // -1: none
    Oid32 base_type;        // the type under all domains
    wire::ValueClass value_class;
    uint16_t key_position;  // place in the key, from 1; 0: not part of it
    bool identity;          // present in key-only before images
    bool not_null;
    bool generated;
    bool is_enum;
    std::vector<std::string> enum_labels;  // in sort order
};

struct RelationSchema {
    // A copy of `relation`. Names are taken as they are: text of the server, in whatever bytes it has.
    // Nothing if wire::check_relation() refuses the relation or its id is reserved; then `*fault` (may be
    // null) says why.
    static std::optional<RelationSchema> make(const wire::Relation& relation, wire::FrameStatus* fault);

    // The place of the column of that name; nothing if there is none. Linear: not for the per-row path.
    std::optional<uint16_t> find_column(std::string_view name) const;

    uint32_t id = 0;  // within the session
    Oid32 oid;
    Oid32 root;  // partition root, 0 for none
    std::string schema;
    std::string table;
    std::string leaf_schema;  // where the row really lies; empty: in schema.table itself
    std::string leaf_table;
    char replica_identity = 'd';  // 'd', 'f', 'i' or 'n', as in pg_class
    char kind = 'r';              // 'r' or 'p', as in pg_class
    uint32_t server_version = 0;  // server_version_num of the server that wrote the rows; 0: not known
    uint64_t fingerprint = 0;     // of names, types, key and identity; the same on every server
    std::vector<ColumnSchema> columns;
    std::vector<wire::ColumnLayout> layout;  // for wire::read_row(); one for each column
    std::vector<uint16_t> key_columns;       // in key order
};

}  // namespace walferry
