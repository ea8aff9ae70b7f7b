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

// Bytes at the start of the text that are well-formed UTF-8 (RFC 3629). Not pg_encoding_verifymbstr(), which
// goes to the end of the text before it looks for the place of an error, each time.
Size utf8_prefix(const char* text, Size size) {
    Size at = 0;
    while (at < size) {
        if (!IS_HIGHBIT_SET(text[at])) {
            at++;
            continue;
        }
        auto* character = reinterpret_cast<const unsigned char*>(text + at);
        int length = pg_utf_mblen(character);
        if (Size(length) > size - at || !pg_utf8_islegal(character, length)) break;
        at += Size(length);
    }
    return at;
}

}  // namespace

void TextEncoding::init(MemoryContext context) {
    encoding_ = GetDatabaseEncoding();
    if (encoding_ == PG_UTF8 || encoding_ == PG_SQL_ASCII) return;
    ::Oid function = FindDefaultConversionProc(encoding_, PG_UTF8);
    if (!OidIsValid(function)) {
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("walferry: the server cannot convert the database's encoding \"%s\" to UTF8",
                               GetDatabaseEncodingName())));
    }
    fmgr_info_cxt(function, &function_, context);
    has_function_ = true;
}

// Writes what can be converted at the start of the text, and a NUL behind it. Returns how much of the text
// that was.
Size TextEncoding::convert_some(const char* text, Size size, char* out) const {
    if (!has_function_) {
        Size good = utf8_prefix(text, size);
        memcpy(out, text, good);
        out[good] = '\0';
        return good;
    }
    // With "no error" the function stops in front of what it cannot convert, and says how far it came.
    return Size(DatumGetInt32(FunctionCall6(&function_, Int32GetDatum(encoding_), Int32GetDatum(PG_UTF8),
                                            CStringGetDatum(text), CStringGetDatum(out),
                                            Int32GetDatum(int(size)), BoolGetDatum(true))));
}

const char* TextEncoding::convert_all(const char* text, Size* size) const {
    Size left = *size;
    Size non_ascii = count_non_ascii(text, left);
    if (non_ascii == 0) return text;  // every encoding of a server holds ASCII as it is
    if (!has_function_ && utf8_prefix(text, left) == left) return text;

    Size room = left + non_ascii * (MAX_CONVERSION_GROWTH - 1) + 1;
    auto* result = static_cast<char*>(
        MemoryContextAllocExtended(CurrentMemoryContext, room, MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM));
    if (result == nullptr) return nullptr;
    char* end = result;
    for (;;) {
        Size done = convert_some(text, left, end);
        end += strlen(end);
        text += done;
        left -= done;
        if (left == 0) break;
        memcpy(end, kReplacement, kReplacementSize);
        end += kReplacementSize;
        // One mark for a character that cannot be converted, or for a byte that is none. Never more than
        // that: an ASCII byte is a character of its own in every encoding of a server.
        Size most = has_function_ ? Size(pg_encoding_mblen(encoding_, text)) : 1;
        Size bad = 1;
        while (bad < most && bad < left && IS_HIGHBIT_SET(text[bad])) bad++;
        text += bad;
        left -= bad;
        if (left == 0) break;
    }
    *end = '\0';
    *size = Size(end - result);
    return result;
}

const char* TextEncoding::to_utf8(const char* text, Size* size) const {
    return converts() ? convert_all(text, size) : text;
}

const char* TextEncoding::to_utf8(const char* text) const {
    Size size = strlen(text);
    const char* converted = to_utf8(text, &size);
    return converted ? converted : "";
}

const char* TextEncoding::shared_name_to_utf8(const char* name) const {
    Size size = strlen(name);
    if (utf8_prefix(name, size) == size) return name;
    const char* converted = convert_all(name, &size);
    return converted ? converted : "";
}

}  // namespace walferry
