#include "config/toml.h"

#include <algorithm>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "config/text.h"
#include "error/error.h"

namespace walferry {
namespace {

struct TomlAssertion {};

// Dots in keys and section names, where each one nests a table; those in texts and comments do not count.
// Exact for what the parser accepts, and it reads no further than the first line that breaks TOML's rules.
size_t count_key_dots(std::string_view text) {
    size_t dots = 0;
    for (size_t at = 0; at < text.size(); at++) {
        const char c = text[at];
        if (c == '.') dots++;
        if (c == '#') at = std::min(text.find('\n', at), text.size());
        if (c != '"' && c != '\'') continue;
        const std::string_view rest = text.substr(at);
        const bool is_long = rest.starts_with("\"\"\"") || rest.starts_with("'''");
        const std::string_view quote = rest.substr(0, is_long ? 3 : 1);
        at += quote.size();
        while (at < text.size() && !text.substr(at).starts_with(quote))
            at += c == '"' && text[at] == '\\' ? 2 : 1;
        // A long text may end in up to two quotes of its own before the closing three.
        while (is_long && at + 3 < text.size() && text[at + 3] == c) at++;
        at += quote.size() - 1;
    }
    return dots;
}

// Before TOML's own rules: what is no text at all gets a plain word.
void check_text(std::string_view text, std::string_view file_name) {
    const auto fail_at = [&](size_t offset, std::string_view what) {
        const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(offset), '\n');
        throw Error(ErrorCode::config_syntax,
                    fmt::format("{}:{}: The task file has {}", file_name, line, what),
                    "A task file is plain text in UTF-8.", "Check the path, or save the file as UTF-8.");
    };
    if (const size_t offset = text.find('\0'); offset != text.npos) fail_at(offset, "a zero byte");
    if (const size_t offset = find_invalid_utf8(text); offset != text.npos)
        fail_at(offset, "bytes that are not valid UTF-8");
    // The parser's tables are destroyed recursively; this bounds the depth.
    constexpr size_t kMostKeyDots = 2000;
    if (count_key_dots(text) > kMostKeyDots) {
        throw Error(
            ErrorCode::config_syntax,
            fmt::format("{}: The task file has more than {} dots in its keys", file_name, kMostKeyDots),
            "No task needs tables within tables that deep.", "Use sections in place of dotted keys.");
    }
}

bool breaks_assertion(std::string_view text) {
    try {
        static_cast<void>(toml::parse(text));
    } catch (const toml::parse_error&) {
        return false;
    } catch (const TomlAssertion&) {
        return true;
    }
    return false;
}

// The line at which the parser's assertion breaks: the end of the shortest part of the text that breaks it
// too.
size_t line_of_assertion(std::string_view text) {
    std::vector<size_t> ends;
    for (size_t at = 0; at < text.size(); at++) {
        if (text[at] == '\n') ends.push_back(at + 1);
    }
    size_t low = 0;
    size_t high = ends.size();
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (breaks_assertion(text.substr(0, ends[middle]))) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low + 1;
}

[[noreturn]] void fail_syntax(std::string_view file_name, size_t line, std::string why) {
    throw Error(ErrorCode::config_syntax,
                fmt::format("{}:{}: The task file is not valid TOML", file_name, line), std::move(why),
                "Mend that line; texts stand in double quotes, and each key only once per section.");
}

}  // namespace

void fail_toml_assertion() {
    throw TomlAssertion();
}

toml::table parse_toml(std::string_view text, std::string_view file_name) {
    check_text(text, file_name);
    try {
        return toml::parse(text, file_name);
    } catch (const toml::parse_error& error) {
        fail_syntax(file_name, error.source().begin.line,
                    fmt::format("{} (column {}).", error.description(), error.source().begin.column));
    } catch (const TomlAssertion&) {
        fail_syntax(file_name, line_of_assertion(text), "A key or section does not start as one.");
    }
}

}  // namespace walferry
