// What the plugin knows about each relation: whether it is selected, its schema's number on the wire, and how
// its tuples are copied. Built at a relation's first change under the catalog snapshot of that change, and
// again after an invalidation; a rebuild that finds the same fingerprint sends nothing.
#pragma once

#include "common/wire/frame_writer.h"
#include "options.h"
#include "server.h"
#include "text_encoding.h"

namespace walferry {

class Batch;

// How a value gets from a tuple into a row.
enum class CopyAction : uint8_t {
    skip,  // dropped column
    fixed1,
    fixed2,
    fixed4,
    fixed8,
    fixed12,
    fixed16,
    varlena,  // the stored bytes, after de-toasting
    text,     // the stored text, converted to UTF-8 where the database has another encoding
    name,     // 64 bytes padded with NUL
    array,    // the same as output, for an array
    output,   // the type's output function
};

// One attribute of the tuple, dropped ones included; eight bytes, so that a row's worth stays in the cache.
struct ColumnStep {
    int16 length;  // attlen
    char align;    // attalign
    CopyAction action;
    uint16 live;  // place among the columns that are not dropped
    bool identity;
    bool by_value;
};

enum class EntryState : uint8_t {
    stale,     // to be built before it is used again
    building,  // what an ERROR in the middle leaves behind counts as stale
    ready,
};

struct RelationEntry {
    ::Oid oid;  // hash key
    EntryState state;
    bool selected;
    char replica_identity;
    uint32 id;  // of the announced schema on the wire; 0: none yet
    uint64 fingerprint;
    uint16 attribute_count;
    uint16 column_count;
    Size fixed_bound;  // bytes of bitmaps, fixed values and length prefixes of two images at most
    ColumnStep* steps;
    FmgrInfo* outputs;    // one for each attribute; set where the action is output
    uint32* type_hashes;  // of the user-defined types used, for invalidations
    uint16 type_hash_count;
    uint32 namespace_hash;     // of the relation's own schema
    uint32* namespace_hashes;  // of the schemas of ancestors and types, whose names are used too
    uint16 namespace_hash_count;
    const char* name;  // with its schema, for the context of an ERROR
    ::Oid* ancestors;  // the partitioned tables above it
    uint16 ancestor_count;
    bool is_ancestor;       // others name it in `ancestors`; it may never have been looked up itself
    MemoryContext context;  // owns the arrays above; null as long as there are none
};

// What the plugin is at, for the context of an ERROR in somebody else's function. `column` may be null.
struct ErrorPlace {
    const char* table;
    const char* column;
};

// A callback for error_context_stack; its argument is an ErrorPlace. The shipper knows the error by this
// text.
void name_error_place(void* place);

class RelationCache {
 public:
    // Memory is taken from children of `parent`, in which the cache itself lies. Registers the invalidation
    // callbacks, once per process; they do nothing once `parent` is gone, which after an ERROR comes without
    // a shutdown callback.
    void init(MemoryContext parent, const Options* options, const TextEncoding* encoding);
    // The callbacks of the server outlive the session: makes them do nothing.
    void shut_down();

    // The entry of an open relation, valid for this change. Announces a schema that is new to the session in
    // `batch`. May raise ERROR; the cache then rebuilds the entry next time.
    RelationEntry* lookup(::Relation relation, Batch* batch) {
        ::Oid oid = RelationGetRelid(relation);
        if (last_ && last_->oid == oid && last_->state == EntryState::ready) return last_;
        return find(relation, batch);
    }

    // A schema that was announced in a frame which will never be written is unknown to the reader.
    void forget_announcement(::Oid oid);

    // Before the rows of a transaction whose first change lies at `first` and whose commit record at `end`
    // (0: not committed yet). The server decodes by the order of commits and keeps its catalog caches from
    // one transaction to the next: where a name was changed after `first`, by a transaction that was decoded
    // before, they hold the new name. Names of schemas and enum labels change without waiting for a row's
    // writer.
    void begin_transaction(XLogRecPtr first, XLogRecPtr end);

    // Between transactions: keeps the number of entries bounded.
    void trim(Batch* batch);

    void invalidate_relation(::Oid oid);
    void invalidate_type(uint32 hash);
    void invalidate_enums();
    void invalidate_namespace(uint32 hash);

 private:
    RelationEntry* find(::Relation relation, Batch* batch);
    void build(RelationEntry* entry, ::Relation relation, Batch* batch);
    RelationEntry* enter(::Oid oid);
    void depend_on(RelationEntry* entry, List* ancestors);
    MemoryContext context_of(RelationEntry* entry);
    void invalidate_all();
    void create_table();

    HTAB* table_ = nullptr;
    RelationEntry* last_ = nullptr;
    const Options* options_ = nullptr;
    const TextEncoding* encoding_ = nullptr;
    MemoryContextCallback on_end_ = {};
    MemoryContext context_ = nullptr;
    MemoryContext scratch_ = nullptr;
    uint32 next_id_ = 1;
    bool names_change_ = false;     // since the last transaction began
    XLogRecPtr names_changed_ = 0;  // no later than here
    bool view_is_older_ = false;    // of the names that the last transaction has read
};

}  // namespace walferry
