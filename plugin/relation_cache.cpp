#include "common/wire/frame_reader.h"

#include "relation_cache.h"

#include "batch.h"
#include "compat.h"
#include "value_class.h"

namespace walferry {
namespace {

// More relations than this in one session make the plugin start over: their schemas are sent again when they
// change next.
constexpr long kMaxEntries = 8192;

// Callbacks cannot be unregistered: they reach the session's cache through this, and do nothing without one.
RelationCache* live_cache = nullptr;
bool callbacks_registered = false;

void on_relation(Datum, ::Oid oid) {
    if (live_cache) live_cache->invalidate_relation(oid);
}

// The cache's memory is about to go.
void on_end(void* cache) {
    if (live_cache == cache) live_cache = nullptr;
}

// The type of the second parameter has a name of its own from 19 on, but stays an int.
void on_type(Datum, int, uint32 hash) {
    if (live_cache) live_cache->invalidate_type(hash);
}

// A new label invalidates by the label's own OID, which no entry knows: every enum may be meant.
void on_enum(Datum, int, uint32) {
    if (live_cache) live_cache->invalidate_enums();
}

void on_namespace(Datum, int, uint32 hash) {
    if (live_cache) live_cache->invalidate_namespace(hash);
}

// The names by which patterns may select a relation: its own and those of the partitioned tables above it.
struct RelationName {
    const char* schema;
    const char* table;
};

RelationName name_of(::Oid oid) {
    char* table = get_rel_name(oid);
    char* schema = get_namespace_name_or_temp(get_rel_namespace(oid));
    return {schema ? schema : "", table ? table : ""};
}

// As pattern.h's selected(), but a pattern matches a partition by any of its names; the last match decides.
bool is_selected(const Options* options, const RelationName* names, int count) {
    bool all_negative = true;
    for (int i = options->table_count - 1; i >= 0; i--) {
        const TablePattern& pattern = options->tables[i];
        all_negative = all_negative && pattern.negated;
        for (int j = 0; j < count; j++) {
            if (matches(pattern, names[j].schema, names[j].table)) return !pattern.negated;
        }
    }
    return all_negative;
}

// Places of the index's key columns by attribute number (from 1); zero for others.
void index_key_positions(::Oid index, int attributes, uint16* positions) {
    if (!OidIsValid(index)) return;
    HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
    if (!HeapTupleIsValid(tuple)) return;
    auto* form = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
    for (int i = 0; i < form->indnkeyatts; i++) {
        AttrNumber number = form->indkey.values[i];
        if (number >= 1 && number <= attributes) positions[number - 1] = uint16(i + 1);
    }
    ReleaseSysCache(tuple);
}

// "numeric", "character varying", "public.mood": qualified unless it is the server's own.
const char* type_name(::Oid type) {
    const char* name = format_type_extended(type, -1, FORMAT_TYPE_FORCE_QUALIFY | FORMAT_TYPE_ALLOW_INVALID);
    constexpr char prefix[] = "pg_catalog.";
    return strncmp(name, prefix, sizeof(prefix) - 1) == 0 ? name + sizeof(prefix) - 1 : name;
}

// Of all columns of a relation. An enum of many labels in many columns would make a schema that no reader
// takes.
constexpr Size kMaxLabelBytes = 1024 * 1024;

// The labels of the enum column `columns[at]`, or an empty list where they do not fit into `*left` bytes any
// more.
void read_enum_labels(::Oid type, const TextEncoding& encoding, wire::ColumnParts* columns, uint16 at,
                      Size* left) {
    constexpr Size kPerLabel = 12;  // its offset, length and padding
    wire::ColumnParts* column = &columns[at];
    Size bytes = 0;
    for (uint16 i = 0; i < at; i++) {
        const wire::ColumnParts& other = columns[i];
        if (other.base_type_oid != type) continue;
        for (uint32 j = 0; j < other.enum_label_count; j++) bytes += strlen(other.enum_labels[j]) + kPerLabel;
        column->enum_labels = other.enum_labels;
        if (bytes <= *left) {
            column->enum_label_count = other.enum_label_count;
            *left -= bytes;
        }
        return;
    }
    ::Relation catalog = table_open(EnumRelationId, AccessShareLock);
    ScanKeyData key;
    ScanKeyInit(&key, Anum_pg_enum_enumtypid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(type));
    SysScanDesc scan = systable_beginscan(catalog, EnumTypIdSortOrderIndexId, true, nullptr, 1, &key);
    uint32 capacity = 16, count = 0;
    auto* labels = static_cast<const char**>(palloc(capacity * sizeof(char*)));
    while (HeapTuple tuple = bytes <= *left ? systable_getnext(scan) : nullptr) {
        if (count == capacity) {
            capacity *= 2;
            labels = static_cast<const char**>(repalloc(labels, capacity * sizeof(char*)));
        }
        labels[count] =
            encoding.to_utf8(pstrdup(NameStr(reinterpret_cast<Form_pg_enum>(GETSTRUCT(tuple))->enumlabel)));
        bytes += strlen(labels[count++]) + kPerLabel;
    }
    systable_endscan(scan);
    table_close(catalog, AccessShareLock);
    column->enum_labels = labels;
    if (bytes > *left) return;
    column->enum_label_count = count;
    *left -= bytes;
}

uint32 namespace_hash(::Oid schema) {
    return GetSysCacheHashValue1(NAMESPACEOID, ObjectIdGetDatum(schema));
}

::Oid type_namespace(::Oid type) {
    HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));
    if (!HeapTupleIsValid(tuple)) return InvalidOid;
    ::Oid schema = reinterpret_cast<Form_pg_type>(GETSTRUCT(tuple))->typnamespace;
    ReleaseSysCache(tuple);
    return schema;
}

}  // namespace

void name_error_place(void* argument) {
    auto* place = static_cast<ErrorPlace*>(argument);
    if (place->column) {
        errcontext("walferry: column \"%s\" of table %s", place->column, place->table);
    } else {
        errcontext("walferry: table %s", place->table);
    }
}

void RelationCache::init(MemoryContext parent, const Options* options, const TextEncoding* encoding) {
    context_ = AllocSetContextCreate(parent, "walferry relations", ALLOCSET_DEFAULT_SIZES);
    scratch_ = AllocSetContextCreate(parent, "walferry relation scratch", ALLOCSET_DEFAULT_SIZES);
    options_ = options;
    encoding_ = encoding;
    next_id_ = 1;
    create_table();
    on_end_.func = on_end;
    on_end_.arg = this;
    MemoryContextRegisterResetCallback(parent, &on_end_);
    live_cache = this;
    if (!callbacks_registered) {
        CacheRegisterRelcacheCallback(on_relation, 0);
        CacheRegisterSyscacheCallback(TYPEOID, on_type, 0);
        CacheRegisterSyscacheCallback(ENUMOID, on_enum, 0);
        CacheRegisterSyscacheCallback(NAMESPACEOID, on_namespace, 0);
        callbacks_registered = true;
    }
}

void RelationCache::shut_down() {
    live_cache = nullptr;
}

void RelationCache::create_table() {
    HASHCTL control;
    memset(&control, 0, sizeof(control));
    control.keysize = sizeof(::Oid);
    control.entrysize = sizeof(RelationEntry);
    control.hcxt = context_;
    table_ = hash_create("walferry relations", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
    last_ = nullptr;
}

void RelationCache::trim(Batch* batch) {
    if (hash_get_num_entries(table_) <= kMaxEntries) return;
    HASH_SEQ_STATUS sequence;
    hash_seq_init(&sequence, table_);
    while (auto* entry = static_cast<RelationEntry*>(hash_seq_search(&sequence))) {
        if (entry->id) batch->retire(entry->id);
    }
    hash_destroy(table_);
    table_ = nullptr;
    MemoryContextReset(context_);  // with every entry's own context below it
    create_table();
}

void RelationCache::begin_transaction(XLogRecPtr first, XLogRecPtr end) {
    if (names_change_ && end != 0) {
        names_change_ = false;
        names_changed_ = end;
    }
    // A change that has no place yet may lie behind the first change of a transaction in progress.
    const bool overtaken = names_change_ || first < names_changed_;
    // What an overtaken transaction reads may be an older view, so that the one after it reads anew too.
    const bool read_anew = overtaken || view_is_older_;
    view_is_older_ = overtaken;
    if (!read_anew) return;
    const bool unplaced = names_change_;
    // Calls back, so that every entry is built again; that is no change of names.
    CatalogCacheFlushCatalog(NamespaceRelationId);
    CatalogCacheFlushCatalog(TypeRelationId);
    CatalogCacheFlushCatalog(EnumRelationId);
    names_change_ = unplaced;
}

RelationEntry* RelationCache::enter(::Oid oid) {
    bool found;
    auto* entry = static_cast<RelationEntry*>(hash_search(table_, &oid, HASH_ENTER, &found));
    if (!found) {
        memset(reinterpret_cast<char*>(entry) + sizeof(::Oid), 0, sizeof(RelationEntry) - sizeof(::Oid));
    }
    return entry;
}

MemoryContext RelationCache::context_of(RelationEntry* entry) {
    if (entry->context == nullptr) {
        entry->context = AllocSetContextCreate(context_, "walferry relation", ALLOCSET_SMALL_SIZES);
    }
    return entry->context;
}

// Selection and names follow from the names of the tables above: an invalidation of one of them is one of
// this entry.
void RelationCache::depend_on(RelationEntry* entry, List* ancestors) {
    entry->ancestors = static_cast<::Oid*>(
        MemoryContextAlloc(context_of(entry), sizeof(::Oid) * Size(list_length(ancestors))));
    ListCell* cell;
    foreach (cell, ancestors) {
        ::Oid ancestor = lfirst_oid(cell);
        enter(ancestor)->is_ancestor = true;
        entry->ancestors[entry->ancestor_count++] = ancestor;
    }
}

RelationEntry* RelationCache::find(::Relation relation, Batch* batch) {
    RelationEntry* entry = enter(RelationGetRelid(relation));
    if (entry->state != EntryState::ready) {
        // An invalidation that arrives during the look-ups makes it stale at once: good for this change,
        // which the look-ups have seen, and built again for the next.
        entry->state = EntryState::building;
        MemoryContext old = MemoryContextSwitchTo(scratch_);
        build(entry, relation, batch);
        if (entry->state == EntryState::building) entry->state = EntryState::ready;
        MemoryContextSwitchTo(old);
        MemoryContextReset(scratch_);
    }
    last_ = entry;
    return entry;
}

void RelationCache::build(RelationEntry* entry, ::Relation relation, Batch* batch) {
    ::Oid oid = RelationGetRelid(relation);
    TupleDesc descriptor = RelationGetDescr(relation);
    int attributes = descriptor->natts;

    if (entry->context) MemoryContextReset(entry->context);
    entry->type_hash_count = entry->namespace_hash_count = entry->ancestor_count = 0;
    List* ancestors = relation->rd_rel->relispartition ? compat::partition_ancestors(oid) : NIL;
    if (ancestors != NIL) depend_on(entry, ancestors);
    int name_count = 1 + list_length(ancestors);
    auto* names = static_cast<RelationName*>(palloc(sizeof(RelationName) * Size(name_count)));
    RelationName own = names[0] = name_of(oid);
    ::Oid root = InvalidOid;
    entry->namespace_hash = namespace_hash(RelationGetNamespace(relation));
    if (ancestors != NIL) {
        entry->namespace_hashes = static_cast<uint32*>(MemoryContextAlloc(
            context_of(entry), sizeof(uint32) * (Size(list_length(ancestors)) + Size(attributes))));
        for (int i = 0; i < list_length(ancestors); i++) {
            root = list_nth_oid(ancestors, i);
            names[i + 1] = name_of(root);
            entry->namespace_hashes[entry->namespace_hash_count++] = namespace_hash(get_rel_namespace(root));
        }
    }
    char kind = relation->rd_rel->relkind;
    entry->selected = (kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE) &&
                      oid >= FirstNormalObjectId && is_selected(options_, names, name_count);
    if (!entry->selected) return;

    auto* key = static_cast<uint16*>(palloc0(sizeof(uint16) * Size(attributes + 1)));
    auto* identity = static_cast<uint16*>(palloc0(sizeof(uint16) * Size(attributes + 1)));
    // Fills in which index is the primary key and the identity. Both are read before the next look-up, which
    // may take in an invalidation that empties them again.
    list_free(RelationGetIndexList(relation));
    ::Oid identity_index = relation->rd_replidindex;
    ::Oid primary_key = compat::primary_key_index(relation);
    ::Oid key_index = OidIsValid(primary_key) ? primary_key : identity_index;
    index_key_positions(identity_index, attributes, identity);
    index_key_positions(key_index, attributes, key);

    MemoryContext context = context_of(entry);
    entry->name = MemoryContextStrdup(context, quote_qualified_identifier(own.schema, own.table));
    ErrorPlace place = {entry->name, nullptr};
    ErrorContextCallback place_callback = {error_context_stack, name_error_place, &place};
    error_context_stack = &place_callback;
    entry->steps =
        static_cast<ColumnStep*>(MemoryContextAllocZero(context, sizeof(ColumnStep) * Size(attributes + 1)));
    entry->outputs =
        static_cast<FmgrInfo*>(MemoryContextAllocZero(context, sizeof(FmgrInfo) * Size(attributes + 1)));
    entry->type_hashes =
        static_cast<uint32*>(MemoryContextAllocZero(context, sizeof(uint32) * Size(attributes + 1) * 2));
    if (ancestors == NIL) {
        entry->namespace_hashes =
            static_cast<uint32*>(MemoryContextAllocZero(context, sizeof(uint32) * Size(attributes + 1)));
    }
    // It would put quotes into the names of types. Until the end of the transaction that the server opened
    // for decoding.
    if (quote_all_identifiers) {
        (void)set_config_option("quote_all_identifiers", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SET,
                                true, 0, false);
    }
    entry->attribute_count = uint16(attributes);
    entry->replica_identity = relation->rd_rel->relreplident;

    auto* columns =
        static_cast<wire::ColumnParts*>(palloc0(sizeof(wire::ColumnParts) * Size(attributes + 1)));
    uint16 live = 0;
    Size bound = 0;
    Size label_bytes_left = kMaxLabelBytes;
    for (int i = 0; i < attributes; i++) {
        Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
        ColumnStep& step = entry->steps[i];
        step.length = attribute->attlen;
        step.align = attribute->attalign;
        step.by_value = attribute->attbyval;
        step.action = CopyAction::skip;
        if (attribute->attisdropped) continue;

        place.column = NameStr(attribute->attname);
        int32 modifier = attribute->atttypmod;
        ::Oid base = getBaseTypeAndTypmod(attribute->atttypid, &modifier);
        ValueCopy copy = value_copy(base);
        // It reads as null in the tuple and is left out of the schema.
        if (compat::is_virtual(attribute)) continue;
        step.action = copy.action;
        step.live = live;
        step.identity = identity[i] != 0;
        if (copy.action == CopyAction::output) {
            ::Oid function;
            bool is_varlena;
            getTypeOutputInfo(base, &function, &is_varlena);
            fmgr_info_cxt(function, &entry->outputs[i], context);
            if (OidIsValid(get_element_type(base))) step.action = CopyAction::array;
        }
        if (attribute->atttypid >= FirstNormalObjectId) {
            entry->type_hashes[entry->type_hash_count++] =
                GetSysCacheHashValue1(TYPEOID, ObjectIdGetDatum(attribute->atttypid));
            entry->namespace_hashes[entry->namespace_hash_count++] =
                namespace_hash(type_namespace(attribute->atttypid));
            if (base != attribute->atttypid) {
                entry->type_hashes[entry->type_hash_count++] =
                    GetSysCacheHashValue1(TYPEOID, ObjectIdGetDatum(base));
            }
        }
        uint32 fixed = wire::fixed_size(copy.value_class);
        bound += fixed ? fixed : wire::kMaxVarint32 + NAMEDATALEN;

        wire::ColumnParts& column = columns[live];
        column.name = encoding_->to_utf8(NameStr(attribute->attname));
        column.type_oid = attribute->atttypid;
        column.type_name = encoding_->to_utf8(type_name(attribute->atttypid));
        column.type_modifier = modifier;
        column.base_type_oid = base;
        column.value_class = copy.value_class;
        column.key_position = key[i];
        column.identity = identity[i] != 0;
        column.not_null = compat::is_not_null(descriptor, i);
        column.generated = attribute->attgenerated != '\0';
        if (get_typtype(base) == TYPTYPE_ENUM)
            read_enum_labels(base, *encoding_, columns, live, &label_bytes_left);
        live++;
    }
    error_context_stack = place_callback.previous;
    entry->column_count = live;
    entry->fixed_bound = 2 * (bound + 2 * (Size(live) + 7) / 8) + 64;

    RelationName shown = options_->publish_via_root && OidIsValid(root) ? names[name_count - 1] : own;
    wire::RelationParts parts;
    memset(static_cast<void*>(&parts), 0, sizeof(parts));
    parts.oid = oid;
    parts.schema = encoding_->to_utf8(shown.schema);
    parts.table = encoding_->to_utf8(shown.table);
    parts.replica_identity = uint8(entry->replica_identity);
    parts.kind = uint8(kind);
    parts.root_oid = root;
    if (shown.table != own.table) {
        parts.leaf_schema = encoding_->to_utf8(own.schema);
        parts.leaf_table = encoding_->to_utf8(own.table);
    }
    parts.columns = columns;
    parts.column_count = live;

    uint64 fingerprint = wire::fingerprint(parts);
    if (entry->id != 0 && entry->fingerprint == fingerprint) return;
    if (entry->id != 0) batch->retire(entry->id);
    entry->fingerprint = fingerprint;
    entry->id = parts.id = next_id_++;
    Size at = wire::write_relation(parts, fingerprint, batch->relations());
    batch->announce(oid, at);
}

void RelationCache::forget_announcement(::Oid oid) {
    auto* entry = static_cast<RelationEntry*>(hash_search(table_, &oid, HASH_FIND, nullptr));
    if (entry) {
        entry->state = EntryState::stale;
        entry->id = 0;
    }
}

void RelationCache::invalidate_relation(::Oid oid) {
    if (!OidIsValid(oid)) {
        invalidate_all();
        return;
    }
    if (table_ == nullptr) return;
    auto* entry = static_cast<RelationEntry*>(hash_search(table_, &oid, HASH_FIND, nullptr));
    if (entry == nullptr) return;
    entry->state = EntryState::stale;
    if (!entry->is_ancestor) return;
    HASH_SEQ_STATUS sequence;
    hash_seq_init(&sequence, table_);
    while (auto* other = static_cast<RelationEntry*>(hash_seq_search(&sequence))) {
        for (uint16 i = 0; i < other->ancestor_count; i++) {
            if (other->ancestors[i] == oid) other->state = EntryState::stale;
        }
    }
}

void RelationCache::invalidate_all() {
    if (table_ == nullptr) return;
    HASH_SEQ_STATUS sequence;
    hash_seq_init(&sequence, table_);
    while (auto* entry = static_cast<RelationEntry*>(hash_seq_search(&sequence)))
        entry->state = EntryState::stale;
}

// A hash of 0 means every type, as in the server's own callbacks.
void RelationCache::invalidate_type(uint32 hash) {
    if (table_ == nullptr) return;
    HASH_SEQ_STATUS sequence;
    hash_seq_init(&sequence, table_);
    while (auto* entry = static_cast<RelationEntry*>(hash_seq_search(&sequence))) {
        bool concerned = hash == 0 && entry->type_hash_count != 0;
        for (uint16 i = 0; i < entry->type_hash_count; i++) concerned |= entry->type_hashes[i] == hash;
        // Every temporary table brings types: only those in use count as a change of names.
        if (!concerned) continue;
        entry->state = EntryState::stale;
        names_change_ = true;
    }
}

void RelationCache::invalidate_enums() {
    names_change_ = true;
    invalidate_type(0);
}

void RelationCache::invalidate_namespace(uint32 hash) {
    names_change_ = true;
    if (table_ == nullptr) return;
    HASH_SEQ_STATUS sequence;
    hash_seq_init(&sequence, table_);
    while (auto* entry = static_cast<RelationEntry*>(hash_seq_search(&sequence))) {
        if (hash == 0 || entry->namespace_hash == hash) entry->state = EntryState::stale;
        for (uint16 i = 0; i < entry->namespace_hash_count; i++) {
            if (entry->namespace_hashes[i] == hash) entry->state = EntryState::stale;
        }
    }
}

}  // namespace walferry
