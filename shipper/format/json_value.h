// One member of a JSON object of texts, as Canal JSON writes its rows: a prepared name and a value as a JSON
// string.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "format/json_escape.h"
#include "format/numeric_text.h"
#include "format/value_text.h"
#include "record/output.h"

namespace walferry {

// Prepared pieces lie in memory with so many readable bytes behind them, and outputs get so much more room:
// short ones are copied in one step of fixed size.
constexpr size_t kPieceStep = 32;

inline char* copy_piece(char* p, const char* piece, size_t size) {
    if (size <= kPieceStep) {
        std::memcpy(p, piece, kPieceStep);
    } else {
        std::memcpy(p, piece, size);
    }
    return p + size;
}

// Appends the classes that are no scalar, escaped, without quotes.
[[nodiscard]] inline ValueError append_json_value(Output& out, wire::ValueClass value_class,
                                                  const wire::ValueView& value, const TextOptions& options) {
    using wire::ValueClass;
    const size_t size = value.size;
    switch (value_class) {
        case ValueClass::Numeric: {
            char* end =
                write_numeric(out.reserve(numeric_bound(value.data, value.size)), value.data, value.size);
            if (!end) return ValueError::bad_numeric;
            out.commit(end);
            return ValueError::none;
        }
        case ValueClass::Char: {
            char text[4];
            append_json_text(out, {text, static_cast<size_t>(write_char(text, value.data[0]) - text)});
            return ValueError::none;
        }
        case ValueClass::Bytea:
            if (options.bytea == ByteaText::base64) {
                out.commit(write_bytea_base64(out.reserve((size + 2) / 3 * 4), value.data, size));
            } else if (options.bytea == ByteaText::hex) {
                char* p = out.reserve(2 * size + 3);
                *p++ = '\\';  // that of \x, escaped
                out.commit(write_bytea_hex(p, value.data, size));
            } else {
                constexpr size_t kPart = 512;
                char text[2 * kPart];
                for (size_t done = 0; done < size; done += kPart) {
                    const size_t part = size - done < kPart ? size - done : kPart;
                    const char* end = write_bytea_latin1(text, value.data + done, part);
                    append_json_text(out, {text, static_cast<size_t>(end - text)});
                }
            }
            return ValueError::none;
        default:
            append_json_text(out, value.data, size);
            return ValueError::none;
    }
}

// Appends `piece` (a comma, the name and the value's opening quote) and the value. A value that is null, or
// not known, becomes null. On error the output holds a part of it.
[[nodiscard]] inline ValueError append_json_member(Output& out, const char* piece, size_t piece_size,
                                                   wire::ValueClass value_class, const wire::ValueView& value,
                                                   const TextOptions& options) {
    char* p = copy_piece(out.reserve(piece_size + kPieceStep + kMaxScalarText), piece, piece_size);
    if (value.state != wire::ValueState::value) {
        std::memcpy(p - 1, "null", 4);
        out.commit(p + 3);
        return ValueError::none;
    }
    ValueError error = ValueError::none;
    if (is_scalar(value_class)) {
        p = write_scalar(p, value_class, value.data, options, &error);
        if (!p) return error;
        *p = '"';
        out.commit(p + 1);
        return ValueError::none;
    }
    out.commit(p);
    error = append_json_value(out, value_class, value, options);
    out.push_back('"');
    return error;
}

}  // namespace walferry
