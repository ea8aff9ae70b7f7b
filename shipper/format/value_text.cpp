#include "format/value_text.h"

#include <cstring>

#include "format/numeric_text.h"

namespace walferry {
namespace {

constexpr char kHex[] = "0123456789abcdef";

char* write_hex(char* p, const uint8_t* data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        *p++ = kHex[data[i] >> 4];
        *p++ = kHex[data[i] & 15];
    }
    return p;
}

char* write_upper_hex(char* p, uint32_t v) {
    char digits[8];
    int count = 0;
    do {
        digits[count++] = "0123456789ABCDEF"[v & 15];
        v >>= 4;
    } while (v != 0);
    while (count > 0) *p++ = digits[--count];
    return p;
}

}  // namespace

const char* describe(ValueError error) {
    switch (error) {
        case ValueError::none:
            return "no error";
        case ValueError::bad_time:
            return "the value is not a time of day";
        case ValueError::bad_zone:
            return "the value's time zone is beyond 16 hours";
        case ValueError::bad_numeric:
            return "the value is not a stored numeric";
    }
    return "unknown error";
}

char* write_uuid(char* p, const uint8_t* data) {
    p = write_hex(p, data, 4);
    *p++ = '-';
    p = write_hex(p, data + 4, 2);
    *p++ = '-';
    p = write_hex(p, data + 6, 2);
    *p++ = '-';
    p = write_hex(p, data + 8, 2);
    *p++ = '-';
    return write_hex(p, data + 10, 6);
}

char* write_pg_lsn(char* p, uint64_t lsn) {
    p = write_upper_hex(p, static_cast<uint32_t>(lsn >> 32));
    *p++ = '/';
    return write_upper_hex(p, static_cast<uint32_t>(lsn));
}

char* write_char(char* p, uint8_t c) {
    if (c == 0) return p;
    if (c < 0x80) {
        *p++ = static_cast<char>(c);
        return p;
    }
    *p++ = '\\';
    *p++ = static_cast<char>('0' + (c >> 6));
    *p++ = static_cast<char>('0' + (c >> 3 & 7));
    *p++ = static_cast<char>('0' + (c & 7));
    return p;
}

char* write_bytea_hex(char* p, const uint8_t* data, size_t size) {
    *p++ = '\\';
    *p++ = 'x';
    return write_hex(p, data, size);
}

char* write_bytea_base64(char* p, const uint8_t* data, size_t size) {
    constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (; size >= 3; data += 3, size -= 3) {
        uint32_t three = uint32_t(data[0]) << 16 | uint32_t(data[1]) << 8 | data[2];
        *p++ = kAlphabet[three >> 18];
        *p++ = kAlphabet[three >> 12 & 63];
        *p++ = kAlphabet[three >> 6 & 63];
        *p++ = kAlphabet[three & 63];
    }
    if (size == 0) return p;
    uint32_t rest = uint32_t(data[0]) << 16 | (size == 2 ? uint32_t(data[1]) << 8 : 0);
    *p++ = kAlphabet[rest >> 18];
    *p++ = kAlphabet[rest >> 12 & 63];
    *p++ = size == 2 ? kAlphabet[rest >> 6 & 63] : '=';
    *p++ = '=';
    return p;
}

char* write_bytea_latin1(char* p, const uint8_t* data, size_t size) {
    for (size_t i = 0; i < size; i++) {
        uint8_t c = data[i];
        if (c >= 0x80) *p++ = static_cast<char>(0xC0 | c >> 6);
        *p++ = static_cast<char>(c >= 0x80 ? 0x80 | (c & 0x3F) : c);
    }
    return p;
}

ValueError append_text(wire::ValueClass value_class, const wire::ValueView& value, const TextOptions& options,
                       Output& out) {
    using wire::ValueClass;
    const size_t size = value.size;
    char* end = nullptr;
    switch (value_class) {
        case ValueClass::Output:
        case ValueClass::String:
            out.append(value.data, size);
            return ValueError::none;
        case ValueClass::Char:
            end = write_char(out.reserve(4), value.data[0]);
            break;
        case ValueClass::Numeric:
            end = write_numeric(out.reserve(numeric_bound(value.data, value.size)), value.data, value.size);
            if (!end) return ValueError::bad_numeric;
            break;
        case ValueClass::Bytea:
            switch (options.bytea) {
                case ByteaText::hex:
                    end = write_bytea_hex(out.reserve(2 * size + 2), value.data, size);
                    break;
                case ByteaText::base64:
                    end = write_bytea_base64(out.reserve((size + 2) / 3 * 4), value.data, size);
                    break;
                case ByteaText::latin1:
                    end = write_bytea_latin1(out.reserve(2 * size), value.data, size);
                    break;
            }
            break;
        default: {
            ValueError error = ValueError::none;
            end = write_scalar(out.reserve(kMaxScalarText), value_class, value.data, options, &error);
            if (!end) return error;
        }
    }
    out.commit(end);
    return ValueError::none;
}

}  // namespace walferry
