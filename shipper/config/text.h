// Small helpers on text for reading a task file and for telling what is wrong with it.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace walferry {

// The byte at which `text` stops being well-formed UTF-8; npos when it does not.
size_t find_invalid_utf8(std::string_view text);

// Without what a terminal would obey: control characters (those of C1, U+0080 to U+009F, included) as JSON
// escapes them, bytes that are not UTF-8 as U+FFFD. A JSON text stays one and means the same.
std::string printable(std::string_view text);

// Quoted, with control characters escaped and cut to a line's length: safe to print.
std::string excerpt(std::string_view text);

// Replaces each `${NAME}` from the environment; `$${` stands for `${`. A variable that is not set, or a `${`
// without a valid name and its `}`, stops it.
struct Expansion {
    enum class Status { done, not_set, malformed };
    Status status = Status::done;
    std::string text;                    // the result
    std::vector<std::string> variables;  // those replaced; at not_set the last is the one that is not set
};
Expansion expand_environment(std::string_view text);

// The candidate with the smallest edit distance, when that is small enough to be a slip of the keys; else
// empty.
std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace walferry
