#include "text_encoding.h"

namespace walferry {
namespace {

constexpr char kReplacement[] = "\xEF\xBF\xBD";  // U+FFFD
constexpr Size kReplacementSize = sizeof(kReplacement) - 1;

Size count_non_ascii(const char* text, Size size) {
    Size count = 0;
    for (Size i = 0; i < size; i++) count += uint8(text[i]) >> 7;
    return count;
}

}  // namespace

void TextEncoding::init(MemoryContext context) {
    encoding_ = GetDatabaseEncoding();
    converts_ = encoding_ != PG_UTF8 && encoding_ != PG_SQL_ASCII;
    if (!converts_) return;
    ::Oid function = FindDefaultConversionProc(encoding_, PG_UTF8);
    if (!OidIsValid(function)) {
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("walferry: the server cannot convert the database's encoding \"%s\" to UTF8",
                               GetDatabaseEncodingName())));
    }
    fmgr_info_cxt(function, &function_, context);
}

const char* TextEncoding::to_utf8(const char* text, Size* size) const {
    Size left = *size;
    Size non_ascii = converts_ ? count_non_ascii(text, left) : 0;
    if (non_ascii == 0) return text;  // every encoding of a server holds ASCII as it is

    Size room = left + non_ascii * (MAX_CONVERSION_GROWTH - 1) + 1;
    auto* result = static_cast<char*>(
        MemoryContextAllocExtended(CurrentMemoryContext, room, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM));
    if (result == nullptr) return nullptr;
    char* end = result;
    for (;;) {
        // With "no error" the function stops in front of what it cannot convert, and says how far it came.
        int done = DatumGetInt32(FunctionCall6(&function_, Int32GetDatum(encoding_), Int32GetDatum(PG_UTF8),
                                               CStringGetDatum(text), CStringGetDatum(end),
                                               Int32GetDatum(int(left)), BoolGetDatum(true)));
        end += strlen(end);
        text += done;
        left -= Size(done);
        if (left == 0) break;
        memcpy(end, kReplacement, kReplacementSize);
        end += kReplacementSize;
        Size bad = Size(pg_encoding_mblen(encoding_, text));
        if (bad > left) bad = left;
        text += bad;
        left -= bad;
        if (left == 0) break;
    }
    *end = '\0';
    *size = Size(end - result);
    return result;
}

const char* TextEncoding::to_utf8(const char* text) const {
    Size size = strlen(text);
    const char* converted = to_utf8(text, &size);
    return converted ? converted : "";
}

}  // namespace walferry
