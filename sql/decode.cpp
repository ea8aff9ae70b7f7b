// SQL functions that show what a frame holds, so that a person (and the regression tests) can read
// pg_logical_slot_peek_binary_changes(). Input is any bytea: everything is checked by the frame reader before
// it is used.
#include "common/wire/frame_reader.h"

#include "plugin/server.h"

#pragma GCC visibility push(default)
extern "C" {
PG_FUNCTION_INFO_V1(walferry_version);
PG_FUNCTION_INFO_V1(walferry_decode);
PG_FUNCTION_INFO_V1(walferry_relations);
}
#pragma GCC visibility pop

namespace walferry {
namespace {

using wire::Operation;
using wire::ValueClass;
using wire::ValueState;
using wire::ValueView;

struct KnownRelation {
    uint32 id;  // hash key
    const wire::Relation* relation;
    const wire::ColumnLayout* layout;
};

// The relations that earlier frames of the same session have announced, kept from call to call in one query.
struct Dictionary {
    MemoryContext context;
    HTAB* relations;
};

void reset(Dictionary* dictionary) {
    MemoryContextReset(dictionary->context);
    HASHCTL control;
    memset(&control, 0, sizeof(control));
    control.keysize = sizeof(uint32);
    control.entrysize = sizeof(KnownRelation);
    control.hcxt = dictionary->context;
    dictionary->relations =
        hash_create("walferry known relations", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

Dictionary* dictionary_of(FmgrInfo* function) {
    if (function->fn_extra == nullptr) {
        auto* dictionary =
            static_cast<Dictionary*>(MemoryContextAllocZero(function->fn_mcxt, sizeof(Dictionary)));
        dictionary->context =
            AllocSetContextCreate(function->fn_mcxt, "walferry dictionary", ALLOCSET_DEFAULT_SIZES);
        reset(dictionary);
        function->fn_extra = dictionary;
    }
    return static_cast<Dictionary*>(function->fn_extra);
}

[[noreturn]] void bad_frame(wire::FrameStatus status) {
    ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                    errmsg("walferry: the frame cannot be read: %s", wire::describe(status.error)),
                    errdetail("At byte %zu.", status.offset)));
    pg_unreachable();
}

void check(wire::FrameStatus status) {
    if (!status.ok()) bad_frame(status);
}

// A copy of the frame whose flatbuffer is aligned.
const uint8_t* aligned_copy(bytea* frame, Size* size) {
    *size = VARSIZE_ANY_EXHDR(frame);
    auto* block = static_cast<uint8_t*>(palloc(*size + 16));
    uint8_t* copy = block + 8 - wire::kHeaderSize;
    memcpy(copy, VARDATA_ANY(frame), *size);
    return copy;
}

// Text of the wire in the database's encoding; what that cannot hold becomes '?', so that one such row does
// not hide all others. Malformed UTF-8 in a UTF-8 database is an ERROR.
char* text_from_utf8(const void* data, Size size) {
    // Not pnstrdup: it would end at a NUL among the bytes, which is for the server to refuse.
    auto* copy = static_cast<char*>(palloc(size + 1));
    memcpy(copy, data, size);
    copy[size] = '\0';
    int encoding = GetDatabaseEncoding();
    if (encoding == PG_SQL_ASCII) return copy;
    ::Oid conversion = encoding == PG_UTF8 ? InvalidOid : FindDefaultConversionProc(PG_UTF8, encoding);
    if (!OidIsValid(conversion)) return pg_any_to_server(copy, int(size), PG_UTF8);

    auto* result =
        static_cast<char*>(MemoryContextAllocHuge(CurrentMemoryContext, size * MAX_CONVERSION_GROWTH + 1));
    char* end = result;
    const char* rest = copy;
    Size left = size;
    while (left > 0) {
        // With "no error" the function stops in front of what it cannot convert, and says how far it came.
        int done = DatumGetInt32(OidFunctionCall6(conversion, Int32GetDatum(PG_UTF8), Int32GetDatum(encoding),
                                                  CStringGetDatum(rest), CStringGetDatum(end),
                                                  Int32GetDatum(int(left)), BoolGetDatum(true)));
        end += strlen(end);
        rest += done;
        left -= Size(done);
        if (left == 0) break;
        *end++ = '?';
        Size bad = Size(pg_encoding_mblen(PG_UTF8, rest));
        if (bad > left) bad = left;
        rest += bad;
        left -= bad;
    }
    *end = '\0';
    return result;
}

char* text_of(const flatbuffers::String* text) {
    return text_from_utf8(text->c_str(), text->size());
}

// Runs the output function of a fixed-width type on its stored bytes.
char* output_fixed(PGFunction function, const ValueView& value) {
    Datum datum;
    if (value.size > 8) {
        void* copy = palloc(value.size);
        memcpy(copy, value.data, value.size);
        datum = PointerGetDatum(copy);
    } else {
        uint64 bits = 0;
        memcpy(&bits, value.data, value.size);
        datum = Datum(bits);
    }
    return DatumGetCString(DirectFunctionCall1(function, datum));
}

char* output_varlena(PGFunction function, const ValueView& value) {
    auto* copy = static_cast<struct varlena*>(palloc(value.size + VARHDRSZ));
    SET_VARSIZE(copy, value.size + VARHDRSZ);
    memcpy(VARDATA(copy), value.data, value.size);
    return DatumGetCString(DirectFunctionCall1(function, PointerGetDatum(copy)));
}

// The stored form of a numeric says itself how many digits follow; a shorter one would be read past its end.
bool numeric_is_whole(const ValueView& value) {
    if (value.size < 2 || value.size % 2 != 0) return false;
    uint16 header;
    memcpy(&header, value.data, 2);
    if ((header & 0xC000) == 0xC000) return value.size == 2;  // NaN and the infinities have no digits
    bool is_long = (header & 0x8000) == 0;
    if (is_long && value.size < 4) return false;
    for (uint32 at = is_long ? 4 : 2; at < value.size; at += 2) {
        uint16 digit;
        memcpy(&digit, value.data + at, 2);
        if (digit > 9999) return false;
    }
    return true;
}

char* value_text(ValueClass value_class, const ValueView& value) {
    switch (value_class) {
        case ValueClass::Bool:
            return pstrdup(value.data[0] ? "t" : "f");
        case ValueClass::Int2:
            return output_fixed(int2out, value);
        case ValueClass::Int4:
            return output_fixed(int4out, value);
        case ValueClass::Int8:
            return output_fixed(int8out, value);
        case ValueClass::Float4:
            return output_fixed(float4out, value);
        case ValueClass::Float8:
            return output_fixed(float8out, value);
        case ValueClass::Oid:
            return output_fixed(oidout, value);
        case ValueClass::Date:
            return output_fixed(date_out, value);
        case ValueClass::Time:
            return output_fixed(time_out, value);
        case ValueClass::TimeTz:
            return output_fixed(timetz_out, value);
        case ValueClass::Timestamp:
            return output_fixed(timestamp_out, value);
        case ValueClass::TimestampTz:
            return output_fixed(timestamptz_out, value);
        case ValueClass::Interval:
            return output_fixed(interval_out, value);
        case ValueClass::Uuid:
            return output_fixed(uuid_out, value);
        case ValueClass::Char:
            return output_fixed(charout, value);
        case ValueClass::PgLsn:
            return output_fixed(pg_lsn_out, value);
        case ValueClass::Numeric:
            if (!numeric_is_whole(value)) bad_frame({wire::FrameError::value_truncated, 0});
            return output_varlena(numeric_out, value);
        case ValueClass::Bytea:
            return output_varlena(byteaout, value);
        case ValueClass::Output:
        case ValueClass::String:
            return text_from_utf8(value.data, value.size);
    }
    return pstrdup("");
}

const char* operation_name(Operation operation) {
    switch (operation) {
        case Operation::Insert:
            return "insert";
        case Operation::Update:
            return "update";
        case Operation::Delete:
            return "delete";
        case Operation::Truncate:
            return "truncate";
        case Operation::Message:
            return "message";
        case Operation::Read:
            return "read";
        default:
            return "unknown";
    }
}

const char* kind_name(wire::FrameKind kind) {
    switch (kind) {
        case wire::FrameKind::transaction:
            return "transaction";
        case wire::FrameKind::message:
            return "message";
        case wire::FrameKind::stream:
            return "stream";
        case wire::FrameKind::stream_commit:
            return "stream_commit";
        case wire::FrameKind::stream_abort:
            return "stream_abort";
        case wire::FrameKind::prepare:
            return "prepare";
        case wire::FrameKind::commit_prepared:
            return "commit_prepared";
        case wire::FrameKind::rollback_prepared:
            return "rollback_prepared";
        case wire::FrameKind::snapshot:
            break;
    }
    return "snapshot";
}

// {"column": "text", ...}; null where the image has no column at all.
char* image_json(const wire::Relation& relation, const ValueView* values) {
    StringInfoData json;
    initStringInfo(&json);
    appendStringInfoChar(&json, '{');
    bool any = false;
    for (uint32 i = 0; i < relation.columns()->size(); i++) {
        if (values[i].state == ValueState::absent || values[i].state == ValueState::unchanged) continue;
        const wire::Column* column = relation.columns()->Get(i);
        if (any) appendStringInfoString(&json, ", ");
        any = true;
        escape_json(&json, text_of(column->name()));
        appendStringInfoString(&json, ": ");
        if (values[i].state == ValueState::null) {
            appendStringInfoString(&json, "null");
        } else {
            escape_json(&json, value_text(column->value_class(), values[i]));
        }
    }
    appendStringInfoChar(&json, '}');
    return json.data;
}

Datum unchanged_names(const wire::Relation& relation, const ValueView* values, bool* is_null) {
    uint32 count = relation.columns()->size();
    auto* names = static_cast<Datum*>(palloc(sizeof(Datum) * (count + 1)));
    int found = 0;
    for (uint32 i = 0; i < count; i++) {
        if (values[i].state != ValueState::unchanged) continue;
        names[found++] = CStringGetTextDatum(text_of(relation.columns()->Get(i)->name()));
    }
    *is_null = found == 0;
    if (found == 0) return Datum(0);
    return PointerGetDatum(construct_array(names, found, TEXTOID, -1, false, TYPALIGN_INT));
}

char* message_json(const wire::FrameReader& frame, wire::RecordView record) {
    wire::MessageView message;
    check(wire::read_message(frame, record, &message));
    StringInfoData json;
    initStringInfo(&json);
    appendStringInfoString(&json, "{\"prefix\": ");
    escape_json(&json, text_from_utf8(message.prefix, message.prefix_size));
    appendStringInfoString(&json, ", \"content\": ");
    const auto* content = reinterpret_cast<const char*>(message.content);
    if (pg_verify_mbstr(PG_UTF8, content, int(message.content_size), true)) {
        escape_json(&json, text_from_utf8(message.content, message.content_size));
    } else {
        ValueView bytes{message.content, uint32(message.content_size), ValueState::value};
        escape_json(&json, output_varlena(byteaout, bytes));
    }
    appendStringInfoChar(&json, '}');
    return json.data;
}

// Materialize mode: the manual's "SQL functions on composite types returning sets", without the helper that
// only newer servers have.
Tuplestorestate* begin_result(FunctionCallInfo fcinfo, TupleDesc* descriptor) {
    auto* info = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
    if (info == nullptr || !IsA(info, ReturnSetInfo) || !(info->allowedModes & SFRM_Materialize)) {
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("set-valued function called in context that cannot accept a set")));
    }
    MemoryContext old = MemoryContextSwitchTo(info->econtext->ecxt_per_query_memory);
    if (get_call_result_type(fcinfo, nullptr, descriptor) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "return type must be a row");
    Tuplestorestate* store =
        tuplestore_begin_heap((info->allowedModes & SFRM_Materialize_Random) != 0, false, work_mem);
    info->returnMode = SFRM_Materialize;
    info->setResult = store;
    info->setDesc = *descriptor = CreateTupleDescCopy(*descriptor);
    MemoryContextSwitchTo(old);
    return store;
}

// Takes the frame's relations into the dictionary. The frame's bytes are copied where they must outlive the
// call.
void learn(Dictionary* dictionary, const wire::FrameReader& frame, const uint8_t* bytes, Size size) {
    if (frame.batch().session()) reset(dictionary);
    if (frame.batch().relations() == nullptr) return;
    MemoryContext old = MemoryContextSwitchTo(dictionary->context);
    auto* block = static_cast<uint8_t*>(palloc(size + 16));
    uint8_t* copy = block + 8 - wire::kHeaderSize;
    memcpy(copy, bytes, size);
    wire::FrameReader kept;
    check(kept.open(copy, size));
    for (const wire::Relation* relation : *kept.batch().relations()) {
        check(wire::check_relation(*relation));
        uint32 count = relation->columns()->size();
        auto* layout = static_cast<wire::ColumnLayout*>(palloc(sizeof(wire::ColumnLayout) * (count + 1)));
        for (uint32 i = 0; i < count; i++) {
            const wire::Column* column = relation->columns()->Get(i);
            layout[i] = {column->value_class(), column->identity()};
        }
        uint32 id = relation->id();
        bool found;
        auto* known =
            static_cast<KnownRelation*>(hash_search(dictionary->relations, &id, HASH_ENTER, &found));
        known->relation = relation;
        known->layout = layout;
    }
    MemoryContextSwitchTo(old);
}

const KnownRelation* find(Dictionary* dictionary, uint32 id) {
    auto* known = static_cast<KnownRelation*>(hash_search(dictionary->relations, &id, HASH_FIND, nullptr));
    if (known == nullptr) {
        ereport(
            ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
             errmsg("walferry: the frame uses relation %u, which an earlier frame of its session describes",
                    id),
             errhint(
                 "Decode the frames of one session in order and in one query: SELECT d.* FROM "
                 "pg_logical_slot_peek_binary_changes('slot', NULL, NULL) c, walferry.decode(c.data) d.")));
    }
    return known;
}

enum DecodeColumn {
    kKind,
    kXid,
    kCommitLsn,
    kEndLsn,
    kCommitTime,
    kOrdinal,
    kOperation,
    kRelation,
    kBeforeImage,
    kAfterImage,
    kUnchanged,
    kDetail,
    kSubxid,
    kGid,
    kOrigin,
    kDecodeColumns
};

void put_row(const wire::FrameReader& frame, wire::RecordView record, Dictionary* dictionary, Datum* values,
             bool* nulls) {
    const KnownRelation* known = find(dictionary, record.relation());
    const wire::Relation& relation = *known->relation;
    uint32 count = relation.columns()->size();
    const char* name = quote_qualified_identifier(text_of(relation.schema()), text_of(relation.table()));
    values[kRelation] = CStringGetTextDatum(name);
    nulls[kRelation] = false;
    if (record.operation() == Operation::Truncate) {
        check(wire::check_truncate(frame, record));
        values[kDetail] =
            CStringGetTextDatum(psprintf("{\"cascade\": %s, \"restart_identity\": %s}",
                                         record.images() & wire::kCascade ? "true" : "false",
                                         record.images() & wire::kRestartIdentity ? "true" : "false"));
        nulls[kDetail] = false;
        return;
    }
    auto* before = static_cast<ValueView*>(palloc0(sizeof(ValueView) * (count + 1)));
    auto* after = static_cast<ValueView*>(palloc0(sizeof(ValueView) * (count + 1)));
    check(wire::read_row(frame, record, known->layout, count, before, after));
    if (record.images() & wire::kBefore) {
        values[kBeforeImage] = CStringGetTextDatum(image_json(relation, before));
        nulls[kBeforeImage] = false;
    }
    if (record.images() & wire::kAfter) {
        values[kAfterImage] = CStringGetTextDatum(image_json(relation, after));
        nulls[kAfterImage] = false;
        values[kUnchanged] = unchanged_names(relation, after, &nulls[kUnchanged]);
    }
    if (record.images() & wire::kOversize) {
        values[kDetail] = CStringGetTextDatum("{\"oversize\": true}");
        nulls[kDetail] = false;
    }
}

}  // namespace
}  // namespace walferry

Datum walferry_version(PG_FUNCTION_ARGS) {
    (void)fcinfo;
    PG_RETURN_TEXT_P(cstring_to_text(WALFERRY_VERSION));
}

Datum walferry_decode(PG_FUNCTION_ARGS) {
    using namespace walferry;
    bytea* input = PG_GETARG_BYTEA_PP(0);
    TupleDesc descriptor;
    Tuplestorestate* store = begin_result(fcinfo, &descriptor);
    Size size;
    const uint8_t* bytes = aligned_copy(input, &size);
    wire::FrameReader frame;
    check(frame.open(bytes, size));
    Dictionary* dictionary = dictionary_of(fcinfo->flinfo);
    learn(dictionary, frame, bytes, size);

    MemoryContext row_context =
        AllocSetContextCreate(CurrentMemoryContext, "walferry decoded row", ALLOCSET_DEFAULT_SIZES);
    const wire::Transaction& transaction = frame.transaction();
    wire::FrameKind kind = frame.header().kind;
    if (wire::in_progress(kind)) check(wire::check_runs(frame));
    Datum values[kDecodeColumns];
    bool nulls[kDecodeColumns];
    auto put = [&](DecodeColumn column, Datum value) {
        values[column] = value;
        nulls[column] = false;
    };
    // What every row of this frame has.
    auto begin_row = [&] {
        memset(nulls, true, sizeof(nulls));
        put(kKind, CStringGetTextDatum(kind_name(kind)));
        if (transaction.end_lsn() != 0) put(kEndLsn, UInt64GetDatum(transaction.end_lsn()));
        if (frame.batch().gid()) put(kGid, CStringGetTextDatum(text_of(frame.batch().gid())));
        if (frame.batch().origin_name()) {
            put(kOrigin, CStringGetTextDatum(text_of(frame.batch().origin_name())));
        }
        if (kind == wire::FrameKind::message) return;
        put(kXid, TransactionIdGetDatum(transaction.xid()));
        if (transaction.end_lsn() == 0) return;
        put(kCommitLsn, UInt64GetDatum(transaction.commit_lsn()));
        put(kCommitTime, Int64GetDatum(transaction.commit_time()));
    };
    uint32 run = 0;
    uint64 left = 0;  // records of that run to come
    for (size_t i = 0; i < frame.record_count(); i++) {
        MemoryContext old = MemoryContextSwitchTo(row_context);
        const wire::RecordView record = frame.record(i);
        begin_row();
        if (wire::in_progress(kind)) {
            while (left == 0) left = frame.batch().runs()->Get(run++)->records();
            put(kSubxid, TransactionIdGetDatum(frame.batch().runs()->Get(run - 1)->xid()));
            left--;
        }
        if (kind != wire::FrameKind::message) {
            put(kOrdinal, Int64GetDatum(int64(transaction.first_ordinal() + record.ordinal())));
        }
        put(kOperation, CStringGetTextDatum(operation_name(record.operation())));
        if (record.operation() == Operation::Message) {
            put(kDetail, CStringGetTextDatum(message_json(frame, record)));
        } else {
            put_row(frame, record, dictionary, values, nulls);
        }
        tuplestore_putvalues(store, descriptor, values, nulls);
        MemoryContextSwitchTo(old);
        MemoryContextReset(row_context);
    }
    if (kind != wire::FrameKind::transaction && kind != wire::FrameKind::message &&
        kind != wire::FrameKind::stream) {
        begin_row();
        if (kind == wire::FrameKind::stream_abort) {
            put(kSubxid, TransactionIdGetDatum(frame.batch().aborted_xid()));
        }
        tuplestore_putvalues(store, descriptor, values, nulls);
    }
    MemoryContextDelete(row_context);
    PG_RETURN_NULL();
}

Datum walferry_relations(PG_FUNCTION_ARGS) {
    using namespace walferry;
    bytea* input = PG_GETARG_BYTEA_PP(0);
    TupleDesc descriptor;
    Tuplestorestate* store = begin_result(fcinfo, &descriptor);
    Size size;
    const uint8_t* bytes = aligned_copy(input, &size);
    wire::FrameReader frame;
    check(frame.open(bytes, size));
    if (frame.batch().relations() == nullptr) PG_RETURN_NULL();
    for (const wire::Relation* relation : *frame.batch().relations()) {
        check(wire::check_relation(*relation));
        for (uint32 i = 0; i < relation->columns()->size() || i == 0; i++) {
            Datum values[13];
            bool nulls[13];
            memset(nulls, true, sizeof(nulls));
            int at = 0;
            auto put = [&](Datum value) {
                values[at] = value;
                nulls[at++] = false;
            };
            char identity[2] = {char(relation->replica_identity()), '\0'};
            put(Int64GetDatum(relation->id()));
            put(ObjectIdGetDatum(relation->oid()));
            put(CStringGetTextDatum(
                quote_qualified_identifier(text_of(relation->schema()), text_of(relation->table()))));
            put(CStringGetTextDatum(identity));
            put(CStringGetTextDatum(psprintf("%016llx", (unsigned long long)relation->fingerprint())));
            if (i < relation->columns()->size()) {
                const wire::Column* column = relation->columns()->Get(i);
                put(CStringGetTextDatum(text_of(column->name())));
                put(CStringGetTextDatum(text_of(column->type_name())));
                put(Int32GetDatum(column->type_modifier()));
                put(CStringGetTextDatum(wire::EnumNameValueClass(column->value_class())));
                put(Int32GetDatum(column->key_position()));
                put(BoolGetDatum(column->identity()));
                put(BoolGetDatum(column->not_null()));
                put(BoolGetDatum(column->generated()));
            }
            tuplestore_putvalues(store, descriptor, values, nulls);
        }
    }
    PG_RETURN_NULL();
}
