// Patterns that select tables: schema.table, with `*` for any run of characters, `?` for one character, "..."
// for text taken as it stands ("" inside is one quote), a backslash before one character taken as it stands,
// and a leading `!` that deselects. Names are compared as they are stored: no case folding.
//
// Used by the plugin inside the server and by the shipper, so that both decide alike: no allocation, no
// exception, no state. A match costs at most |pattern| * |name| steps, whatever the pattern.
#pragma once

#include <cstddef>
#include <string_view>

namespace walferry {

enum class PatternError {
    none,
    empty,
    no_dot,
    too_many_dots,
    empty_schema,
    empty_table,
    open_quote,
    trailing_backslash,
    bare_space,
    null_byte,
};

// Views into the text given to parse_pattern, which must outlive it; quotes and backslashes still in place.
struct TablePattern {
    std::string_view schema;
    std::string_view table;
    bool negated = false;
};

inline const char* describe(PatternError error) {
    switch (error) {
        case PatternError::none:
            return "no error";
        case PatternError::empty:
            return "the pattern is empty";
        case PatternError::no_dot:
            return "a dot between schema and table is missing";
        case PatternError::too_many_dots:
            return "there is more than one dot outside of quotes";
        case PatternError::empty_schema:
            return "the schema before the dot is empty";
        case PatternError::empty_table:
            return "the table after the dot is empty";
        case PatternError::open_quote:
            return "a double quote is not closed";
        case PatternError::trailing_backslash:
            return "nothing follows the backslash at the end";
        case PatternError::bare_space:
            return "a space or control character stands outside of double quotes";
        case PatternError::null_byte:
            return "it has a zero byte";
    }
    return "unknown error";
}

namespace pattern_detail {

// Bytes of the character at `at`. A byte that does not start a well-formed UTF-8 sequence counts as one
// character, so that names in another server encoding are still matched byte by byte.
inline size_t character_length(std::string_view text, size_t at) {
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned char lead = byte(at);
    const size_t length = lead < 0xC2 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 1;
    if (at + length > text.size()) return 1;
    for (size_t i = 1; i < length; i++) {
        if ((byte(at + i) & 0xC0) != 0x80) return 1;
    }
    return length;
}

enum class Kind { end, literal, any_run, any_character };

struct Token {
    Kind kind;
    char literal;
};

// Reads one part of a pattern that parse_pattern accepted, token by token; copied to remember a place.
struct Cursor {
    std::string_view text;
    size_t at = 0;
    bool quoted = false;

    Token next() {
        while (at < text.size()) {
            const char c = text[at++];
            if (quoted) {
                if (c != '"') return {Kind::literal, c};
                if (at < text.size() && text[at] == '"') {
                    at++;
                    return {Kind::literal, '"'};
                }
                quoted = false;
            } else if (c == '"') {
                quoted = true;
            } else if (c == '\\' && at < text.size()) {
                return {Kind::literal, text[at++]};
            } else if (c == '*') {
                return {Kind::any_run, c};
            } else if (c == '?') {
                return {Kind::any_character, c};
            } else {
                return {Kind::literal, c};
            }
        }
        return {Kind::end, '\0'};
    }
};

// Only the last `*` is ever tried again: an earlier one could not succeed where a later one fails.
inline bool part_matches(std::string_view pattern, std::string_view name) {
    Cursor cursor{pattern};
    Cursor after_run{};
    size_t at = 0;
    size_t run_end = 0;
    bool has_run = false;
    for (;;) {
        const Token token = cursor.next();
        if (token.kind == Kind::any_run) {
            after_run = cursor;
            run_end = at;
            has_run = true;
            continue;
        }
        if (token.kind == Kind::end && at == name.size()) return true;
        if (token.kind == Kind::literal && at < name.size() && name[at] == token.literal) {
            at++;
            continue;
        }
        if (token.kind == Kind::any_character && at < name.size()) {
            at += character_length(name, at);
            continue;
        }
        if (!has_run || run_end >= name.size()) return false;
        run_end += character_length(name, run_end);
        at = run_end;
        cursor = after_run;
    }
}

}  // namespace pattern_detail

// Splits and checks `text`. On an error `error_offset` is the byte of `text` where it was found, and `out` is
// not changed.
inline PatternError parse_pattern(std::string_view text, TablePattern& out, size_t& error_offset) {
    error_offset = 0;
    const size_t start = !text.empty() && text[0] == '!' ? 1 : 0;
    if (text.size() == start) return PatternError::empty;

    constexpr size_t kNone = static_cast<size_t>(-1);
    size_t dot = kNone;
    size_t quote = kNone;
    size_t characters[2] = {0, 0};  // of the schema, of the table
    for (size_t i = start; i < text.size(); i++) {
        const char c = text[i];
        error_offset = i;
        if (c == '\0') return PatternError::null_byte;
        if (quote != kNone) {
            if (c != '"') {
                characters[dot != kNone]++;
            } else if (i + 1 < text.size() && text[i + 1] == '"') {
                characters[dot != kNone]++;
                i++;
            } else {
                quote = kNone;
            }
        } else if (c == '"') {
            quote = i;
        } else if (c == '\\') {
            if (i + 1 == text.size()) return PatternError::trailing_backslash;
            if (text[i + 1] == '\0') return PatternError::null_byte;
            characters[dot != kNone]++;
            i++;
        } else if (c == '.') {
            if (dot != kNone) return PatternError::too_many_dots;
            if (characters[0] == 0) return PatternError::empty_schema;
            dot = i;
        } else if (static_cast<unsigned char>(c) <= ' ' || c == 0x7F) {
            return PatternError::bare_space;
        } else {
            characters[dot != kNone]++;
        }
    }
    if (quote != kNone) {
        error_offset = quote;
        return PatternError::open_quote;
    }
    error_offset = text.size();
    if (dot == kNone) return PatternError::no_dot;
    if (characters[1] == 0) return PatternError::empty_table;

    error_offset = 0;
    out.schema = std::string_view(text.data() + start, dot - start);
    out.table = std::string_view(text.data() + dot + 1, text.size() - dot - 1);
    out.negated = start == 1;
    return PatternError::none;
}

// Whether the names fit; says nothing about `negated`.
inline bool matches(const TablePattern& pattern, std::string_view schema, std::string_view table) {
    return pattern_detail::part_matches(pattern.schema, schema) &&
           pattern_detail::part_matches(pattern.table, table);
}

// The verdict of a list: that of the last pattern that matches. A table that no pattern matches is selected
// only where the list has no positive pattern: a list of nothing but exceptions takes all the rest, and so
// does an empty one.
inline bool selected(const TablePattern* patterns, size_t count, std::string_view schema,
                     std::string_view table) {
    bool only_negated = true;
    for (size_t i = count; i > 0; i--) {
        const TablePattern& pattern = patterns[i - 1];
        if (matches(pattern, schema, table)) return !pattern.negated;
        only_negated = only_negated && pattern.negated;
    }
    return only_negated;
}

}  // namespace walferry
