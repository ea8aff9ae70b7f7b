// Puts a frame together from parts that its user has collected. One pass, one copy, no allocation of its own.
#pragma once

#include "change_generated.h"
#include "common/wire/buffer.h"
#include "common/wire/frame.h"

namespace walferry::wire {

struct SessionParts {
    const char* plugin_version;
    uint32_t server_version;
    const char* database;
    const char* encoding;
};

// All pointers are borrowed for the call.
struct FrameParts {
    FrameKind kind = FrameKind::transaction;
    bool first = false;
    bool last = false;
    Transaction transaction;
    // In the order of their rows, which follow one another in `values` from its first byte to its last.
    const Record* records = nullptr;
    size_t record_count = 0;
    const uint8_t* values = nullptr;
    size_t value_bytes = 0;
    // Blocks made by write_relation(), one after another, each padded to a multiple of 8 bytes.
    const uint8_t* relations = nullptr;
    size_t relation_bytes = 0;
    const uint32_t* relation_tables = nullptr;  // where in `relations` each table starts
    size_t relation_count = 0;
    const uint32_t* retired = nullptr;
    size_t retired_count = 0;
    const SessionParts* session = nullptr;  // null: no session table
    const Run* runs = nullptr;              // of a transaction in progress
    size_t run_count = 0;
    uint32_t aborted_xid = 0;
    const char* gid = nullptr;          // null: none
    const char* origin_name = nullptr;  // null: none
};

// No frame of these parts is larger, in bytes.
size_t frame_bound(const FrameParts& parts);

// Writes header (checksum still to come, see seal()) and flatbuffer to `out`, which has frame_bound() bytes
// and lies 7 bytes before a multiple of 8 (in memory, or in the message that it will travel in). Returns the
// frame's size.
size_t write_frame(const FrameParts& parts, uint8_t* out);

// Stores the checksum of a finished frame.
void seal(uint8_t* frame, size_t size);

struct ColumnParts {
    const char* name;
    uint32_t type_oid;
    const char* type_name;
    int32_t type_modifier;
    uint32_t base_type_oid;
    ValueClass value_class;
    uint16_t key_position;
    bool identity;
    bool not_null;
    bool generated;
    const char* const* enum_labels;
    uint32_t enum_label_count;
};

struct RelationParts {
    uint32_t id;
    uint32_t oid;
    const char* schema;
    const char* table;
    uint8_t replica_identity;
    uint8_t kind;
    uint32_t root_oid;
    const char* leaf_schema;  // null: none
    const char* leaf_table;
    const ColumnParts* columns;
    uint32_t column_count;
};

// The part of a relation's schema that readers depend on, as one number. No OID of a user's object goes in.
uint64_t fingerprint(const RelationParts& relation);

// Appends the relation's table to `out` (whose size is a multiple of 8, and is again afterwards). Returns
// where the table starts in `out`.
size_t write_relation(const RelationParts& relation, uint64_t fingerprint, Buffer* out);

}  // namespace walferry::wire
