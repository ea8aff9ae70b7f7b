// The one table of settings: the parser, `walferry config` and docs/configuration.md are made from it. Types
// come from the members of TaskConfig, defaults from their initializers; everything else stands here.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/task.h"

namespace walferry {

// A member of enumeration type; its enumerators have the order of the names in Setting::allowed.
struct Choice {
    void* where;
    void (*set)(void*, size_t);
    size_t (*get)(const void*);
};

template <typename Enumeration>
Choice choice(Enumeration& member) {
    return {&member,
            [](void* where, size_t index) { *static_cast<Enumeration*>(where) = Enumeration(index); },
            [](const void* where) { return static_cast<size_t>(*static_cast<const Enumeration*>(where)); }};
}

// The same of one that may not be set.
template <typename Enumeration>
Choice choice(std::optional<Enumeration>& member) {
    return {&member,
            [](void* where, size_t index) {
                *static_cast<std::optional<Enumeration>*>(where) = Enumeration(index);
            },
            [](const void* where) {
                return static_cast<size_t>(
                    static_cast<const std::optional<Enumeration>*>(where)->value_or(Enumeration()));
            }};
}

// Where a setting lives. The alternative is the setting's type.
using Member = std::variant<std::string*, std::vector<std::string>*, bool*, int*, Bytes*,
                            std::chrono::milliseconds*, Choice, Operations*, std::optional<Operations>*,
                            ByPrefix*, std::map<std::string, std::string>*>;

struct Setting {
    std::string_view path;        // "sink.queue_bytes"; "table.match" stands for each [[table]]
    std::string_view example;     // a value as it is written in the file
    std::string_view help;        // Markdown, one sentence or two
    std::string_view allowed{};   // of a choice: its names, parted by '|'; else a rule in words
    std::string_view later{};     // names of a choice that a later version will have, parted by '|'
    std::string_view unit{};      // of a plain number
    std::string_view fallback{};  // says the default in words, where it is not a constant
    int64_t min = 0;              // of numbers, bytes and durations (ms)
    int64_t max = 0;
    bool required = false;
    bool reloadable = false;  // can change while running
    bool secret = false;      // its value is never printed
    std::string (*check)(std::string_view) =
        nullptr;  // of a text, or each of a list: what is wrong, or nothing
    Member (*member)(TaskConfig&, TableConfig&) = nullptr;
};

std::span<const Setting> settings();
// Null when there is none.
const Setting* find_setting(std::string_view path);
// Whether `path` is a table of the file that holds settings: "sink", "sink.canal", "table".
bool is_section(std::string_view path);

// "text", "number", "duration", ... for the table and for messages.
std::string_view type_name(const Setting& setting);
// "1MB to 2GB", "one of `none`, `table`, `key`", or the rule in words; empty when anything goes.
std::string range_text(const Setting& setting);
// The value as TOML would write it.
std::string format_value(const Setting& setting, TaskConfig& task, TableConfig& table);
// The default as TOML would write it, or words where it is not a constant.
std::string default_text(const Setting& setting);

std::vector<std::string_view> split(std::string_view text, char separator);

}  // namespace walferry
