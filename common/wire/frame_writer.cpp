#include "common/wire/frame_writer.h"

#include "common/wire/crc32c.h"
#include "common/wire/emitter.h"

namespace walferry::wire {
namespace {

constexpr unsigned kBatchFields = 10;
constexpr unsigned kRelationFields = 11;
constexpr unsigned kColumnFields = 11;
constexpr unsigned kSessionFields = 4;
static_assert(Batch::VT_ORIGIN_NAME == 4 + 2 * (kBatchFields - 1), "Batch has another field: count it");
static_assert(Relation::VT_LEAF_TABLE == 4 + 2 * (kRelationFields - 1), "Relation has another field");
static_assert(Column::VT_ENUM_LABELS == 4 + 2 * (kColumnFields - 1), "Column has another field");
static_assert(Session::VT_ENCODING == 4 + 2 * (kSessionFields - 1), "Session has another field");
static_assert(sizeof(Record) == 12 && sizeof(Transaction) == 40 && sizeof(Run) == 16,
              "structs are on the wire as they are");

size_t write_text(Buffer* out, const char* text) {
    return write_string(out, text, strlen(text));
}

uint8_t* cannot_grow(void*, uint8_t*, size_t, size_t) {
    __builtin_trap();
}

// FNV-1a over 64 bits: stable, byte order free, and schemas are small. Every piece ends with its length, so
// that ("ab", "c") and ("a", "bc") differ.
struct Hash {
    uint64_t state = 14695981039346656037ull;

    void bytes(const void* data, size_t size) {
        for (size_t i = 0; i < size; i++) {
            state = (state ^ static_cast<const uint8_t*>(data)[i]) * 1099511628211ull;
        }
    }
    void number(uint64_t v) {
        for (int i = 0; i < 8; i++, v >>= 8) state = (state ^ (v & 0xff)) * 1099511628211ull;
    }
    void text(const char* s) {
        size_t length = s ? strlen(s) : 0;
        bytes(s, length);
        number(length);
    }
};

size_t write_session(const SessionParts& session, Buffer* out) {
    TableWriter table(out, kSessionFields);
    size_t version = table.reference(Session::VT_PLUGIN_VERSION);
    table.scalar(Session::VT_SERVER_VERSION, session.server_version);
    size_t database = table.reference(Session::VT_DATABASE);
    size_t encoding = table.reference(Session::VT_ENCODING);
    size_t at = table.finish();
    refer(out, version, write_text(out, session.plugin_version));
    refer(out, database, write_text(out, session.database));
    refer(out, encoding, write_text(out, session.encoding));
    return at;
}

size_t write_column(const ColumnParts& column, Buffer* out) {
    TableWriter table(out, kColumnFields);
    size_t name = table.reference(Column::VT_NAME);
    table.scalar(Column::VT_TYPE_OID, column.type_oid);
    size_t type_name = table.reference(Column::VT_TYPE_NAME);
    table.scalar(Column::VT_TYPE_MODIFIER, column.type_modifier);
    table.scalar(Column::VT_BASE_TYPE_OID, column.base_type_oid);
    size_t labels = column.enum_labels ? table.reference(Column::VT_ENUM_LABELS) : 0;
    table.scalar(Column::VT_KEY_POSITION, column.key_position);
    table.scalar(Column::VT_VALUE_CLASS, uint8_t(column.value_class));
    table.scalar(Column::VT_IDENTITY, uint8_t(column.identity));
    table.scalar(Column::VT_NOT_NULL, uint8_t(column.not_null));
    table.scalar(Column::VT_GENERATED, uint8_t(column.generated));
    size_t at = table.finish();
    refer(out, name, write_text(out, column.name));
    refer(out, type_name, write_text(out, column.type_name));
    if (column.enum_labels) {
        size_t vector = write_reference_vector(out, column.enum_label_count);
        refer(out, labels, vector);
        for (uint32_t i = 0; i < column.enum_label_count; i++) {
            refer(out, vector + 4 + 4 * i, write_text(out, column.enum_labels[i]));
        }
    }
    return at;
}

}  // namespace

size_t frame_bound(const FrameParts& parts) {
    size_t bound = kHeaderSize + 256;  // envelope with every field and its padding
    bound += parts.record_count * sizeof(Record) + parts.value_bytes + parts.relation_bytes;
    bound += 4 * parts.relation_count + 4 * parts.retired_count + sizeof(Run) * parts.run_count;
    if (parts.gid) bound += 16 + strlen(parts.gid);
    if (parts.origin_name) bound += 16 + strlen(parts.origin_name);
    if (parts.session) {
        bound += 128 + strlen(parts.session->plugin_version) + strlen(parts.session->database) +
                 strlen(parts.session->encoding);
    }
    return bound;
}

size_t write_frame(const FrameParts& parts, uint8_t* frame) {
    store_header(frame, parts.kind, parts.first, parts.last);
    Buffer buffer;
    buffer.data = frame + kHeaderSize;
    buffer.capacity = frame_bound(parts) - kHeaderSize;
    buffer.grow = cannot_grow;
    Buffer* out = &buffer;

    out->append_zeros(4);  // reference to the root table
    TableWriter table(out, kBatchFields, 8);
    table.structure(Batch::VT_TRANSACTION, parts.transaction);
    size_t records = parts.record_count ? table.reference(Batch::VT_RECORDS) : 0;
    size_t values = parts.value_bytes ? table.reference(Batch::VT_VALUES) : 0;
    size_t relations = parts.relation_count ? table.reference(Batch::VT_RELATIONS) : 0;
    size_t retired = parts.retired_count ? table.reference(Batch::VT_RETIRED) : 0;
    size_t session = parts.session ? table.reference(Batch::VT_SESSION) : 0;
    size_t runs = parts.run_count ? table.reference(Batch::VT_RUNS) : 0;
    if (parts.aborted_xid) table.scalar(Batch::VT_ABORTED_XID, parts.aborted_xid);
    size_t gid = parts.gid ? table.reference(Batch::VT_GID) : 0;
    size_t origin_name = parts.origin_name ? table.reference(Batch::VT_ORIGIN_NAME) : 0;
    refer(out, 0, table.finish());

    if (parts.session) refer(out, session, write_session(*parts.session, out));
    if (parts.relation_count) {
        size_t vector = write_reference_vector(out, parts.relation_count);
        refer(out, relations, vector);
        out->align(8);
        size_t block = out->size;
        out->append(parts.relations, parts.relation_bytes);
        for (size_t i = 0; i < parts.relation_count; i++) {
            refer(out, vector + 4 + 4 * i, block + parts.relation_tables[i]);
        }
    }
    if (parts.retired_count) {
        refer(out, retired, write_vector(out, parts.retired, parts.retired_count, 4, 4));
    }
    if (parts.run_count) refer(out, runs, write_vector(out, parts.runs, parts.run_count, sizeof(Run), 8));
    if (parts.gid) refer(out, gid, write_text(out, parts.gid));
    if (parts.origin_name) refer(out, origin_name, write_text(out, parts.origin_name));
    if (parts.record_count) {
        refer(out, records, write_vector(out, parts.records, parts.record_count, sizeof(Record), 4));
    }
    if (parts.value_bytes) {
        refer(out, values, write_vector(out, parts.values, parts.value_bytes, 1, 1));
    }
    return kHeaderSize + out->size;
}

void seal(uint8_t* frame, size_t size) {
    store_u32(frame + 3, frame_checksum(frame, size));
}

uint64_t fingerprint(const RelationParts& relation) {
    Hash hash;
    hash.text(relation.schema);
    hash.text(relation.table);
    hash.text(relation.leaf_schema);
    hash.text(relation.leaf_table);
    hash.number(relation.replica_identity);
    hash.number(relation.kind);
    hash.number(relation.column_count);
    for (uint32_t i = 0; i < relation.column_count; i++) {
        const ColumnParts& column = relation.columns[i];
        hash.text(column.name);
        hash.text(column.type_name);
        hash.number(uint32_t(column.type_modifier));
        hash.number(uint8_t(column.value_class));
        hash.number(column.key_position);
        hash.number(column.identity | column.not_null << 1 | column.generated << 2);
        hash.number(column.enum_label_count);
        for (uint32_t j = 0; j < column.enum_label_count; j++) hash.text(column.enum_labels[j]);
    }
    return hash.state;
}

size_t write_relation(const RelationParts& relation, uint64_t fingerprint, Buffer* out) {
    TableWriter table(out, kRelationFields, 8);
    table.scalar(Relation::VT_FINGERPRINT, fingerprint);
    table.scalar(Relation::VT_ID, relation.id);
    table.scalar(Relation::VT_OID, relation.oid);
    table.scalar(Relation::VT_ROOT_OID, relation.root_oid);
    size_t schema = table.reference(Relation::VT_SCHEMA);
    size_t name = table.reference(Relation::VT_TABLE);
    size_t columns = table.reference(Relation::VT_COLUMNS);
    size_t leaf_schema = relation.leaf_schema ? table.reference(Relation::VT_LEAF_SCHEMA) : 0;
    size_t leaf_table = relation.leaf_table ? table.reference(Relation::VT_LEAF_TABLE) : 0;
    table.scalar(Relation::VT_REPLICA_IDENTITY, relation.replica_identity);
    table.scalar(Relation::VT_KIND, relation.kind);
    size_t at = table.finish();
    refer(out, schema, write_text(out, relation.schema));
    refer(out, name, write_text(out, relation.table));
    if (relation.leaf_schema) refer(out, leaf_schema, write_text(out, relation.leaf_schema));
    if (relation.leaf_table) refer(out, leaf_table, write_text(out, relation.leaf_table));
    size_t vector = write_reference_vector(out, relation.column_count);
    refer(out, columns, vector);
    for (uint32_t i = 0; i < relation.column_count; i++) {
        refer(out, vector + 4 + 4 * i, write_column(relation.columns[i], out));
    }
    out->align(8);
    return at;
}

}  // namespace walferry::wire
