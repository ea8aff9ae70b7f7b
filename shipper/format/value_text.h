// The text of a value, from the bytes in which it lies on the wire: what PostgreSQL's own output function
// writes under DateStyle ISO, IntervalStyle postgres, TimeZone UTC and extra_float_digits 1, but for the
// choices in TextOptions. Bytes that are no value of their class give a typed error; nothing is read outside
// of them. Any thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/wire/frame_reader.h"
#include "format/digits.h"
#include "format/float_text.h"
#include "format/time_text.h"
#include "record/output.h"

namespace walferry {

enum class BoolText : uint8_t { letter, word, digit };  // t/f, true/false, 1/0
enum class ByteaText : uint8_t {
    hex,
    base64,
    latin1
};  // \x00ff; base64; each byte as the code point of that number
enum class TimestampText : uint8_t { sql, iso };     // a space or a T between date and time
enum class TimestampTzText : uint8_t { offset, z };  // 03:04:05+00 or 03:04:05Z

// The defaults are PostgreSQL's own text.
struct TextOptions {
    BoolText boolean = BoolText::letter;
    ByteaText bytea = ByteaText::hex;
    TimestampText timestamp = TimestampText::sql;
    TimestampTzText timestamptz = TimestampTzText::offset;
    // Whether the server has infinite intervals; before PostgreSQL 17 their bytes are those of a finite one.
    bool infinite_intervals = true;
};

// For values from the server of that server_version_num; 0: it is not known.
inline bool has_infinite_intervals(uint32_t server_version) {
    return server_version == 0 || server_version >= 170'000;
}

enum class ValueError : uint8_t {
    none = 0,
    bad_time,     // not a time of day
    bad_zone,     // a time zone beyond 16 hours
    bad_numeric,  // not a stored numeric
};

const char* describe(ValueError error);

// No text of a scalar class is longer.
constexpr size_t kMaxScalarText = 96;

// The classes of fixed width but for "char": their text is ASCII without quotes, backslashes and control
// characters.
constexpr bool is_scalar(wire::ValueClass value_class) {
    return wire::ValueClass::Bool <= value_class && value_class <= wire::ValueClass::PgLsn &&
           value_class != wire::ValueClass::Char;
}

char* write_uuid(char* p, const uint8_t* data);
char* write_pg_lsn(char* p, uint64_t lsn);
// PostgreSQL 16's form: nothing for 0, the character, or \ooo for a byte above 127.
char* write_char(char* p, uint8_t c);
char* write_bytea_hex(char* p, const uint8_t* data, size_t size);     // 2 * size + 2 characters
char* write_bytea_base64(char* p, const uint8_t* data, size_t size);  // (size + 2) / 3 * 4 characters
char* write_bytea_latin1(char* p, const uint8_t* data, size_t size);  // UTF-8; up to 2 * size characters

inline char* write_bool(char* p, bool v, BoolText text) {
    switch (text) {
        case BoolText::letter:
            *p = v ? 't' : 'f';
            return p + 1;
        case BoolText::digit:
            *p = v ? '1' : '0';
            return p + 1;
        case BoolText::word:
            break;
    }
    if (v) {
        std::memcpy(p, "true", 4);
        return p + 4;
    }
    std::memcpy(p, "false", 5);
    return p + 5;
}

// Writes at most kMaxScalarText characters and returns the end, or null with `*error` set. `value_class` is a
// scalar one and `data` has its fixed size, which wire::read_row() sees to.
inline char* write_scalar(char* p, wire::ValueClass value_class, const uint8_t* data,
                          const TextOptions& options, ValueError* error) {
    using wire::ValueClass;
    char* end = p;
    switch (value_class) {
        case ValueClass::Bool:
            return write_bool(p, data[0] != 0, options.boolean);
        case ValueClass::Int2:
            return write_integer(p, load<int16_t>(data));
        case ValueClass::Int4:
            return write_integer(p, load<int32_t>(data));
        case ValueClass::Int8:
            return write_integer(p, load<int64_t>(data));
        case ValueClass::Float4:
            return write_float4(p, load<float>(data));
        case ValueClass::Float8:
            return write_float8(p, load<double>(data));
        case ValueClass::Oid:
            return write_integer(p, load<uint32_t>(data));
        case ValueClass::Date:
            return write_date(p, load<int32_t>(data));
        case ValueClass::Time:
            end = write_time(p, load<int64_t>(data));
            if (!end) *error = ValueError::bad_time;
            return end;
        case ValueClass::TimeTz:
            end = write_timetz(p, load<int64_t>(data), load<int32_t>(data + 8));
            if (!end)
                *error = write_time(p, load<int64_t>(data)) ? ValueError::bad_zone : ValueError::bad_time;
            return end;
        case ValueClass::Timestamp:
            return write_timestamp(p, load<int64_t>(data),
                                   options.timestamp == TimestampText::iso ? 'T' : ' ', nullptr);
        case ValueClass::TimestampTz:
            return write_timestamp(p, load<int64_t>(data),
                                   options.timestamp == TimestampText::iso ? 'T' : ' ',
                                   options.timestamptz == TimestampTzText::z ? "Z" : "+00");
        case ValueClass::Interval:
            return write_interval(p, load<int64_t>(data), load<int32_t>(data + 8), load<int32_t>(data + 12),
                                  options.infinite_intervals);
        case ValueClass::Uuid:
            return write_uuid(p, data);
        case ValueClass::PgLsn:
            return write_pg_lsn(p, load<uint64_t>(data));
        default:
            return end;
    }
}

// Appends the text of a value of any class. Nothing is appended on error. `value` has state `value` and, for
// a class of fixed width, that size.
[[nodiscard]] ValueError append_text(wire::ValueClass value_class, const wire::ValueView& value,
                                     const TextOptions& options, Output& out);

}  // namespace walferry
