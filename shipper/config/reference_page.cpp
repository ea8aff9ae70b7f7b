#include "config/reference_page.h"

#include <algorithm>

#include <fmt/format.h>

#include "config/checks.h"
#include "config/settings.h"

namespace walferry {
namespace {

constexpr std::string_view kIntroduction = R"(# Configuration

<!-- Made by `walferry config --markdown`; a test compares the two. -->

A task is one TOML file, given to `walferry run TASK.toml`. The smallest has three settings; everything else has a
default:

```toml
name = "shop"

[source]
dsn = "host=127.0.0.1 dbname=shop user=walferry"

[sink]
brokers = "127.0.0.1:9092"
```

`walferry config TASK.toml` prints every value in force and where it came from, `walferry run TASK.toml
--check-config` only checks the file. An unknown key, a wrong type or a value out of range stops walferry before it
connects anywhere; the message names the file, the line and what to write instead (see [errors.md](errors.md)).

## Notation

- **Environment.** `${NAME}` in a text is replaced from the environment, so that no secret stands in the file; a
  variable that is not set is an error. `$${` stands for a literal `${`.
- **Durations** are texts: a whole number and `ms`, `s`, `min`, `h` or `d`.
- **Sizes** are texts: a whole number and `B`, `kB`, `MB`, `GB` or `TB`, each 1024 of the one before, as in
  PostgreSQL's own settings. A plain number counts bytes.
- **Patterns** select tables as `schema.table`. `*` stands for any run of characters, `?` for one. Names are compared
  as PostgreSQL stores them, so case matters. Text in double quotes is taken as it stands (`""` inside is one quote),
  and so is a character after a backslash; a name with a space or a dot needs one of them:
  `'public."my table"'`. A leading `!` deselects. In a list the last pattern that matches a table decides; a table
  that none matches is streamed only where every pattern of the list starts with `!`.
- **Topic templates** have the placeholders `{db}`, `{schema}`, `{table}` and `{name}` (that of the task).

A change takes effect at the next start, unless the column "while running" says yes.

## Settings
)";

constexpr std::string_view kKafkaNotes = R"(
`[sink.kafka]` takes texts, numbers and booleans; the names may stand with or without quotes:

```toml
[sink.kafka]
"compression.type" = "lz4"
linger.ms = 5
```

walferry sets some properties itself and refuses them here:

| property | why |
|---|---|
)";

constexpr std::string_view kAcksNote = R"(
`acks` may be `all` (the default) or -1, which is the same. With 1 walferry starts with a warning: a record that
Kafka acknowledged can be lost when a broker fails, and the producer is not idempotent.
)";

constexpr std::string_view kTableNotes = R"(
Each `[[table]]` entry says what differs for the tables that it matches. Where several entries match a table, the last
one that sets a key decides about that key.

```toml
[[table]]
match = "public.orders"
topic = "orders"
key   = ["customer_id"]
```
)";

struct Section {
    std::string_view path, title, notes;
};

constexpr Section kSections[] = {
    {"", "Top of the file", ""},
    {"source", "[source]: PostgreSQL", ""},
    {"sink", "[sink]: Kafka", ""},
    {"sink.canal", "[sink.canal]: Canal JSON", ""},
    {"spool", "[spool]", ""},
    {"retry", "[retry]", ""},
    {"log", "[log]", ""},
    {"shutdown", "[shutdown]", ""},
    {"table", "[[table]]: what differs for some tables", kTableNotes},
};

std::string_view section_of(const Setting& setting) {
    const size_t dot = setting.path.rfind('.');
    return dot == setting.path.npos ? std::string_view() : setting.path.substr(0, dot);
}

std::string_view leaf(const Setting& setting) {
    return setting.path.substr(setting.path.rfind('.') + 1);
}

std::string type_with_unit(const Setting& setting) {
    return setting.unit.empty() ? std::string(type_name(setting))
                                : fmt::format("{} ({})", type_name(setting), setting.unit);
}

std::string code(const Setting& setting) {
    const std::string text = default_text(setting);
    return setting.required || !setting.fallback.empty() ? text : fmt::format("`{}`", text);
}

std::string plain(std::string_view markdown) {
    std::string text(markdown);
    std::erase(text, '`');
    return text;
}

std::string origin_text(const TaskConfig& task, const std::string& path) {
    const auto found = task.origins.find(path);
    if (found == task.origins.end()) return "default";
    std::string text = fmt::format("{}:{}", task.file, found->second.line);
    for (const std::string& variable : found->second.variables) text += fmt::format(", ${{{}}}", variable);
    return text;
}

void append_value(std::string& page, std::string_view key, std::string_view value,
                  const std::string& origin) {
    page += fmt::format("{:<58}  # {}\n", fmt::format("{} = {}", key, value), origin);
}

void append_properties(std::string& page, TaskConfig& task) {
    page += "\n[sink.kafka]\n";
    for (const auto& [name, value] : task.sink.kafka) {
        // One property at a time, so that the formatter masks it where it must.
        TaskConfig one;
        TableConfig none;
        one.sink.kafka[name] = value;
        const std::string text = format_value(*find_setting("sink.kafka"), one, none);
        constexpr size_t kBraces = 2;
        page += fmt::format("{:<58}  # {}\n", text.substr(kBraces, text.size() - 2 * kBraces),
                            origin_text(task, "sink.kafka." + name));
    }
}

}  // namespace

std::string settings_overview() {
    std::string page;
    for (const Section& section : kSections) {
        page += fmt::format("{}{}\n", page.empty() ? "" : "\n", section.title);
        for (const Setting& setting : settings()) {
            if (section_of(setting) != section.path) continue;
            const std::string range = plain(range_text(setting));
            page += fmt::format("  {:<28} {}\n", setting.path, plain(setting.help));
            page +=
                fmt::format("  {:<28} {}, {}{}{}{}\n", "", type_with_unit(setting),
                            setting.required ? "" : "default ", plain(default_text(setting)),
                            range.empty() ? "" : "; " + range, setting.reloadable ? "; while running" : "");
        }
    }
    return page;
}

std::string settings_markdown() {
    std::string page(kIntroduction);
    for (const Section& section : kSections) {
        page += fmt::format(
            "\n### {}\n\n| key | type | default | allowed | while running | |\n|---|---|---|---|---|---|\n",
            section.title);
        for (const Setting& setting : settings()) {
            if (section_of(setting) != section.path) continue;
            page += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", leaf(setting), type_with_unit(setting),
                                code(setting), range_text(setting), setting.reloadable ? "yes" : "no",
                                setting.help);
        }
        page += section.notes;
        if (section.path == "sink") {
            page += kKafkaNotes;
            for (const RefusedProperty& refused : refused_kafka_properties())
                page += fmt::format("| `{}` | {} |\n", refused.name, refused.reason);
            page += kAcksNote;
        }
    }
    return page;
}

std::string effective_settings(const TaskConfig& task) {
    TaskConfig copy = task;
    TableConfig none;
    std::string page;
    for (const Section& section : kSections) {
        if (section.path == "table") continue;
        if (!section.path.empty()) page += fmt::format("\n[{}]\n", section.path);
        for (const Setting& setting : settings()) {
            if (section_of(setting) != section.path || setting.path == "sink.kafka") continue;
            const std::string path(setting.path);
            // An empty list means "all", which no file can write.
            const bool is_everything = path == "source.tables" && task.source.tables.empty();
            const std::string value = is_everything ? "[\"*.*\"]" : format_value(setting, copy, none);
            append_value(page, leaf(setting), value, origin_text(task, path));
        }
    }
    append_properties(page, copy);
    for (size_t i = 0; i < copy.tables.size(); i++) {
        page += "\n[[table]]\n";
        for (const Setting& setting : settings()) {
            const std::string path = fmt::format("table[{}].{}", i, leaf(setting));
            if (section_of(setting) != "table" || !task.origins.contains(path)) continue;
            append_value(page, leaf(setting), format_value(setting, copy, copy.tables[i]),
                         origin_text(task, path));
        }
    }
    return page;
}

}  // namespace walferry
