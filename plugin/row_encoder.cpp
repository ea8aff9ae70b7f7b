#include "row_encoder.h"

#include "common/wire/frame.h"

namespace walferry {
namespace {

// Above this size a value is never given to an output function: its text could pass the server's limit of 1
// GB for one allocation, and the ERROR would come again at every attempt.
constexpr Size kMaxOutputArgument = 100 * 1000 * 1000;

// The server's array output takes about 40 bytes for an item while it works, whatever the items are.
constexpr int kMaxArrayItems = 5 * 1000 * 1000;

bool has_null_identity(const RelationEntry* entry, const bits8* null_bits, int stored_attributes) {
    for (int i = 0; i < stored_attributes; i++) {
        if (entry->steps[i].identity && att_isnull(i, null_bits)) return true;
    }
    return stored_attributes < entry->attribute_count;
}

// Where the compiler knows that a length is small it copies by "rep movs", which takes longer to begin than
// the library takes for all of it: half of this file's time. So it is kept from knowing.
inline void copy_short(uint8_t* to, const void* from, Size size) {
    asm("" : "+r"(size));
    memcpy(to, from, size);
}

inline uint8_t* store_varlena(uint8_t* p, const void* data, uint32 size) {
    p = wire::store_varint(p, size);
    memcpy(p, data, size);
    return p + size;
}

}  // namespace

void RowEncoder::init(MemoryContext parent, const TextEncoding* encoding) {
    scratch_ = AllocSetContextCreate(parent, "walferry values", ALLOCSET_DEFAULT_SIZES);
    encoding_ = encoding;
    convert_ = encoding->converts();
}

// The text of a value must not depend on who reads it. Set inside the transaction that the server has opened
// for decoding, so they end with it.
void RowEncoder::pin_settings() {
    settings_pinned_ = true;
    auto pin = [](bool fits, const char* name, const char* value) {
        if (!fits) {
            (void)set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SET, true, 0, false);
        }
    };
    pin(DateStyle == USE_ISO_DATES, "datestyle", "ISO");
    pin(IntervalStyle == INTSTYLE_POSTGRES, "intervalstyle", "postgres");
    pin(extra_float_digits >= 1, "extra_float_digits", "1");
    pin(!quote_all_identifiers, "quote_all_identifiers", "off");
    pin(bytea_output == BYTEA_OUTPUT_HEX, "bytea_output", "hex");
    const char* zone = session_timezone ? pg_get_timezone_name(session_timezone) : nullptr;
    pin(zone && strcmp(zone, "UTC") == 0, "timezone", "UTC");
    pin(namespace_search_path && strcmp(namespace_search_path, "pg_catalog") == 0, "search_path",
        "pg_catalog");
    const char* monetary = GetConfigOption("lc_monetary", true, false);
    pin(monetary && strcmp(monetary, "C") == 0, "lc_monetary", "C");
}

const char* RowEncoder::slow_text(const RelationEntry* entry, int attribute, const char* stored, Size* size) {
    const ColumnStep& step = entry->steps[attribute];
    const char* data;
    if (step.action == CopyAction::output || step.action == CopyAction::array) {
        if (!settings_pinned_) pin_settings();
        Datum datum = fetch_att(stored, step.by_value, step.length);
        if (step.length == -1) datum = PointerGetDatum(PG_DETOAST_DATUM(datum));
        if (step.action == CopyAction::array) {
            auto* array = static_cast<ArrayType*>(static_cast<void*>(DatumGetPointer(datum)));
            if (ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) > kMaxArrayItems) return nullptr;
        }
        data = OutputFunctionCall(const_cast<FmgrInfo*>(&entry->outputs[attribute]), datum);
        *size = strlen(data);
    } else if (step.action == CopyAction::name) {
        data = stored;
        *size = strnlen(stored, NAMEDATALEN);
    } else {
        struct varlena* plain = PG_DETOAST_DATUM_PACKED(PointerGetDatum(stored));
        data = VARDATA_ANY(plain);
        *size = VARSIZE_ANY_EXHDR(plain);
    }
    bool is_text = step.action != CopyAction::varlena;
    return is_text && convert_ ? encoding_->to_utf8(data, size) : data;
}

// A value whose text does not fit into memory raises the same ERROR at every attempt, and the slot would
// never pass it: a jsonb of a few kB may print a gigabyte. Such an ERROR means "too large"; any other goes on
// to the server. What it leaves behind ends with the transaction, which the server always aborts after
// decoding it.
const char* RowEncoder::slow_text_or_null(const RelationEntry* entry, int attribute, const char* stored,
                                          Size* size) {
    const char* volatile data = nullptr;
    // An output function may be anybody's: who reads its ERROR has to know which value it was about.
    ErrorPlace place = {entry->name, NameStr(TupleDescAttr(descriptor_, attribute)->attname)};
    ErrorContextCallback place_callback = {error_context_stack, name_error_place, &place};
    error_context_stack = &place_callback;
    PG_TRY();
    { data = slow_text(entry, attribute, stored, size); }
    PG_CATCH();
    {
        MemoryContextSwitchTo(scratch_);
        ErrorData* error = CopyErrorData();
        bool too_large = error->sqlerrcode == ERRCODE_PROGRAM_LIMIT_EXCEEDED ||
                         error->sqlerrcode == ERRCODE_OUT_OF_MEMORY ||
                         (error->sqlerrcode == ERRCODE_INTERNAL_ERROR && error->message &&
                          strncmp(error->message, "invalid memory alloc request size", 33) == 0);
        if (!too_large) PG_RE_THROW();
        FlushErrorState();
        data = nullptr;
    }
    PG_END_TRY();
    error_context_stack = place_callback.previous;
    return data;
}

bool RowEncoder::slow_value(const RelationEntry* entry, int attribute, const char* stored, Batch* batch) {
    const ColumnStep& step = entry->steps[attribute];
    wire::Buffer* values = batch->values();
    Size row_size = values->size - batch->row_start();
    Size raw = 0;

    if (step.length == -1) {
        // Of the value after de-toasting and decompression.
        raw = toast_raw_datum_size(PointerGetDatum(stored));
        bool output = step.action == CopyAction::output || step.action == CopyAction::array;
        if (raw > (output ? kMaxOutputArgument : Batch::kMaxRow) || row_size + raw > Batch::kMaxRow)
            return false;
    }

    MemoryContext old = MemoryContextSwitchTo(scratch_);
    scratch_used_ = true;
    Size size = 0;
    const char* data = slow_text_or_null(entry, attribute, stored, &size);
    bool fits = data != nullptr && row_size + size + wire::kMaxVarint32 <= Batch::kMaxRow;
    if (fits) {
        uint8_t* p = values->reserve(size + wire::kMaxVarint32);
        values->size = Size(store_varlena(p, data, uint32(size)) - values->data);
    }
    MemoryContextSwitchTo(old);
    if (!fits || size > Batch::kTarget || raw > Batch::kTarget) MemoryContextReset(scratch_);
    return fits;
}

template <bool kKeyOnly>
void RowEncoder::image(const RelationEntry* entry, TupleDesc descriptor, HeapTuple tuple, uint8 null_flag,
                       uint8 unchanged_flag, Batch* batch, uint8* flags) {
    wire::Buffer* values = batch->values();
    HeapTupleHeader header = tuple->t_data;
    const bool has_nulls = HeapTupleHasNulls(tuple);
    const int stored_attributes = HeapTupleHeaderGetNatts(header) < entry->attribute_count
                                      ? HeapTupleHeaderGetNatts(header)
                                      : entry->attribute_count;
    const bits8* null_bits = header->t_bits;
    const char* base = reinterpret_cast<const char*>(header) + header->t_hoff;

    // Room for everything that is copied from the tuple as it is; other values ask for theirs.
    values->reserve(entry->fixed_bound + tuple->t_len);
    const Size bitmap_size = (Size(entry->column_count) + 7) / 8;
    Size nulls_at = 0, unchanged_at = 0;
    // In a key-only tuple all other columns are null by construction; those of the key hardly ever are.
    const bool with_nulls = kKeyOnly ? has_nulls && has_null_identity(entry, null_bits, stored_attributes)
                                     : has_nulls || stored_attributes < entry->attribute_count;
    // Only a value out of line can be unchanged.
    bool with_unchanged = HeapTupleHasExternal(tuple);
    if (with_nulls) {
        nulls_at = values->size;
        values->append_zeros(bitmap_size);
        *flags |= null_flag;
    }
    unchanged_at = values->size;
    if (with_unchanged) {
        values->append_zeros(bitmap_size);
        *flags |= unchanged_flag;
    }
    auto mark = [values](Size bitmap, uint16 column) {
        values->data[bitmap + (column >> 3)] |= uint8(1u << (column & 7));
    };

    // A value that would make the row too large. That is rare: room for its mark is made only then.
    auto leave_out = [&](uint16 column) {
        if (!with_unchanged) {
            with_unchanged = true;
            Size written = values->size - unchanged_at;
            values->append_zeros(bitmap_size);
            memmove(values->data + unchanged_at + bitmap_size, values->data + unchanged_at, written);
            memset(values->data + unchanged_at, 0, bitmap_size);
            *flags |= unchanged_flag;
        }
        mark(unchanged_at, column);
        *flags |= wire::kOversize;
    };

    uint8_t* p = values->data + values->size;
    Size offset = 0;
    for (int i = 0; i < stored_attributes; i++) {
        const ColumnStep& step = entry->steps[i];
        if (has_nulls && att_isnull(i, null_bits)) {
            if (step.action != CopyAction::skip && (!kKeyOnly || step.identity)) mark(nulls_at, step.live);
            continue;
        }
        const char* stored;
        if (step.length == -1) {
            offset = att_align_pointer(offset, step.align, -1, base + offset);
            stored = base + offset;
            offset += VARSIZE_ANY(stored);
        } else {
            offset = att_align_nominal(offset, step.align);
            stored = base + offset;
            offset += step.length == -2 ? strlen(stored) + 1 : Size(step.length);
        }
        if (kKeyOnly && !step.identity) continue;

        switch (step.action) {
            case CopyAction::skip:
                break;
            case CopyAction::fixed1:
                *p++ = uint8_t(*stored);
                break;
            case CopyAction::fixed2:
                memcpy(p, stored, 2);
                p += 2;
                break;
            case CopyAction::fixed4:
                memcpy(p, stored, 4);
                p += 4;
                break;
            case CopyAction::fixed8:
                memcpy(p, stored, 8);
                p += 8;
                break;
            case CopyAction::fixed12:
                memcpy(p, stored, 12);
                p += 12;
                break;
            case CopyAction::fixed16:
                memcpy(p, stored, 16);
                p += 16;
                break;
            case CopyAction::varlena:
            case CopyAction::text:
                if (VARATT_IS_1B(stored) && !VARATT_IS_1B_E(stored) &&
                    (step.action == CopyAction::varlena || !convert_)) {
                    // Short header: at most 126 bytes, so that the length is one byte on the wire too.
                    Size size = VARSIZE_1B(stored) - VARHDRSZ_SHORT;
                    *p++ = uint8_t(size);
                    copy_short(p, VARDATA_1B(stored), size);
                    p += size;
                    break;
                }
                if (VARATT_IS_4B_U(stored) && (step.action == CopyAction::varlena || !convert_)) {
                    Size size = VARSIZE_4B(stored) - VARHDRSZ;
                    Size row = Size(p - values->data) - batch->row_start();
                    if (row + size <= Batch::kMaxRow) {
                        p = store_varlena(p, VARDATA_4B(stored), uint32(size));
                        break;
                    }
                }
                if (VARATT_IS_EXTERNAL_ONDISK(stored)) {
                    mark(unchanged_at, step.live);
                    break;
                }
                [[fallthrough]];
            case CopyAction::name:
                if (step.action == CopyAction::name && !convert_) {
                    p = store_varlena(p, stored, uint32(strnlen(stored, NAMEDATALEN)));
                    break;
                }
                [[fallthrough]];
            case CopyAction::array:
            case CopyAction::output: {
                if (step.length == -1 && VARATT_IS_EXTERNAL_ONDISK(stored)) {
                    mark(unchanged_at, step.live);
                    break;
                }
                values->size = Size(p - values->data);
                if (!slow_value(entry, i, stored, batch)) leave_out(step.live);
                values->reserve(entry->fixed_bound + tuple->t_len);
                p = values->data + values->size;
                break;
            }
        }
    }
    values->size = Size(p - values->data);

    // Columns added after the tuple was written.
    for (int i = stored_attributes; i < entry->attribute_count; i++) {
        const ColumnStep& step = entry->steps[i];
        if (step.action == CopyAction::skip || (kKeyOnly && !step.identity)) continue;
        bool is_null;
        Datum datum = getmissingattr(descriptor, i + 1, &is_null);
        if (is_null) {
            mark(nulls_at, step.live);
            continue;
        }
        alignas(Datum) char fixed[sizeof(Datum)];
        const char* stored = DatumGetPointer(datum);
        if (step.by_value) {
            store_att_byval(fixed, datum, step.length);
            stored = fixed;
        }
        uint32 size =
            step.action >= CopyAction::fixed1 && step.action <= CopyAction::fixed16 ? uint32(step.length) : 0;
        if (size) {
            values->append(stored, size);
        } else if (!slow_value(entry, i, stored, batch)) {
            leave_out(step.live);
        }
    }
}

uint8 RowEncoder::encode(const RelationEntry* entry, ::Relation relation, HeapTuple before, HeapTuple after,
                         Batch* batch) {
    // Whatever an ERROR left of an earlier row is dropped.
    batch->values()->size = batch->row_start();
    TupleDesc descriptor = descriptor_ = RelationGetDescr(relation);
    uint8 flags = 0;
    if (before) {
        flags |= wire::kBefore;
        if (entry->replica_identity == REPLICA_IDENTITY_FULL) {
            image<false>(entry, descriptor, before, wire::kBeforeNulls, wire::kBeforeUnchanged, batch,
                         &flags);
        } else {
            flags |= wire::kBeforeKeyOnly;
            image<true>(entry, descriptor, before, wire::kBeforeNulls, wire::kBeforeUnchanged, batch, &flags);
        }
    }
    if (after) {
        flags |= wire::kAfter;
        image<false>(entry, descriptor, after, wire::kAfterNulls, wire::kAfterUnchanged, batch, &flags);
    }
    if (scratch_used_) {
        MemoryContextReset(scratch_);
        scratch_used_ = false;
    }
    return flags;
}

}  // namespace walferry
