#include <algorithm>

#include <fmt/format.h>

#include "config/checks.h"
#include "config/load.h"
#include "config/settings.h"
#include "config/text.h"
#include "config/toml.h"
#include "config/units.h"
#include "error/error.h"

namespace walferry {
namespace {

constexpr std::string_view kSmallest =
    "The smallest task file is:\n"
    "    name = \"shop\"\n"
    "    [source]\n"
    "    dsn = \"host=127.0.0.1 dbname=shop user=walferry\"\n"
    "    [sink]\n"
    "    brokers = \"127.0.0.1:9092\"";

std::string_view leaf(std::string_view path) {
    return path.substr(path.rfind('.') + 1);
}
std::string_view section_of(std::string_view path) {
    const size_t dot = path.rfind('.');
    return dot == path.npos ? std::string_view() : path.substr(0, dot);
}

std::string join(std::string_view section, std::string_view key) {
    return section.empty() ? std::string(key) : fmt::format("{}.{}", section, key);
}

std::string_view describe_type(const toml::node& node) {
    switch (node.type()) {
        case toml::node_type::table:
            return "a table";
        case toml::node_type::array:
            return "a list";
        case toml::node_type::string:
            return "a text";
        case toml::node_type::integer:
            return "a whole number";
        case toml::node_type::floating_point:
            return "a fraction";
        case toml::node_type::boolean:
            return "a boolean";
        default:
            return "a date or time";
    }
}

class Reader {
 public:
    Reader(TaskConfig& task, std::string_view file_name) : task_(task), file_(file_name) {}

    void read(const toml::table& root) {
        read_section(root, "", "");
        require("", root, "");
        // Reached also where the file lacks the section, in whose place the whole file is named.
        for (const std::string_view section : {"source", "sink"}) require(section, root, "");
        check_together();
        derive();
    }

 private:
    // A setting at one place of the file.
    struct Place {
        const Setting& setting;
        std::string path;  // as the user sees it: "sink.topic", "table[0].topic"
        unsigned line;
    };

    std::string where(unsigned line) const { return line == 0 ? file_ : fmt::format("{}:{}", file_, line); }

    [[noreturn]] void fail(ErrorCode code, unsigned line, std::string_view what, std::string why,
                           std::string remedy) const {
        throw Error(code, fmt::format("{}: {}", where(line), what), std::move(why), std::move(remedy));
    }

    std::string assignment(const Setting& setting) const {
        return fmt::format("{} = {}", leaf(setting.path), setting.example);
    }

    [[noreturn]] void wrong_type(const Place& place, const toml::node& node,
                                 std::string_view expected) const {
        fail(ErrorCode::config_type, place.line, fmt::format("{} is {}", place.path, describe_type(node)),
             fmt::format("It takes {}.", expected),
             fmt::format("Write, for example: {}", assignment(place.setting)));
    }

    [[noreturn]] void wrong_value(const Place& place, std::string_view shown, std::string_view wrong,
                                  std::string remedy = "") const {
        const std::string range = range_text(place.setting);
        if (remedy.empty()) remedy = fmt::format("Write, for example: {}", assignment(place.setting));
        fail(ErrorCode::config_value, place.line,
             fmt::format("{}{}{} {}", place.path, shown.empty() ? "" : " = ", shown, wrong),
             range.empty() ? "" : fmt::format("Allowed: {}.", range), std::move(remedy));
    }

    // `path` is that of the settings table, `shown` that of the user; they differ in [[table]] entries.
    void read_section(const toml::table& table, const std::string& path, const std::string& shown) {
        for (const auto& [key, node] : table) {
            const std::string name(key.str());
            const std::string full = join(path, name);
            const std::string full_shown = join(shown, name);
            const unsigned line = key.source().begin.line;
            // A dot within a key is not a step into a table.
            const bool dotted = name.find('.') != name.npos;
            if (const Setting* setting = dotted ? nullptr : find_setting(full)) {
                read_setting({*setting, full_shown, line}, node);
            } else if (!dotted && full == "table") {
                read_table_entries(node, line);
            } else if (!dotted && is_section(full)) {
                if (!node.is_table()) {
                    fail(ErrorCode::config_type, line,
                         fmt::format("{} is {}", full_shown, describe_type(node)),
                         "It is a section of the file.",
                         fmt::format("Write [{}] and its settings below.", full));
                }
                read_section(*node.as_table(), full, full_shown);
            } else {
                unknown_key(path, name, full_shown, line);
            }
        }
    }

    void read_table_entries(const toml::node& node, unsigned line) {
        const toml::array* entries = node.as_array();
        const bool entries_fit =
            entries != nullptr &&
            std::all_of(entries->begin(), entries->end(), [](auto& entry) { return entry.is_table(); });
        if (!entries_fit) {
            fail(ErrorCode::config_type, line, fmt::format("table is {}", describe_type(node)),
                 "Each entry is a section of its own.",
                 "Write [[table]], with two brackets, and its settings below.");
        }
        for (const toml::node& entry : *entries) {
            const std::string shown = fmt::format("table[{}]", task_.tables.size());
            task_.tables.emplace_back();
            read_section(*entry.as_table(), "table", shown);
            require("table", *entry.as_table(), shown);
        }
    }

    [[noreturn]] void unknown_key(const std::string& section, std::string_view name, const std::string& shown,
                                  unsigned line) const {
        std::vector<std::string_view> here, everywhere;
        std::string known;
        const auto add = [&](std::string_view candidate) {
            if (std::find(here.begin(), here.end(), candidate) != here.end()) return;
            here.push_back(candidate);
            known += fmt::format("{}{}", known.empty() ? "" : ", ", candidate);
        };
        for (const Setting& setting : settings()) {
            everywhere.push_back(leaf(setting.path));
            if (!section.empty() && !setting.path.starts_with(section + ".")) continue;
            std::string_view rest = setting.path;
            if (!section.empty()) rest.remove_prefix(section.size() + 1);
            add(rest.substr(0, rest.find('.')));
        }
        std::string remedy;
        if (const std::string_view near = nearest(name, here); !near.empty()) {
            remedy = fmt::format("Did you mean {}{}{}?", section, section.empty() ? "" : ".", near);
        } else if (const std::string_view far = nearest(name, everywhere); !far.empty()) {
            const auto found =
                std::find_if(settings().begin(), settings().end(),
                             [&](const Setting& setting) { return leaf(setting.path) == far; });
            const std::string_view target = section_of(found->path);
            remedy = fmt::format("Did you mean {}? It belongs into {}.", found->path,
                                 target == "table" ? "a [[table]] entry"
                                 : target.empty()  ? "the top of the file"
                                                   : fmt::format("the section [{}]", target));
        } else {
            remedy = "`walferry config` lists every key.";
        }
        fail(ErrorCode::config_unknown_key, line, fmt::format("The key {} is not known", excerpt(shown)),
             fmt::format("Known {}: {}.", section.empty() ? "at the top" : fmt::format("in {}", section),
                         known),
             std::move(remedy));
    }

    void require(std::string_view section, const toml::table& table, std::string_view shown) const {
        for (const Setting& setting : settings()) {
            if (!setting.required || section_of(setting.path) != section) continue;
            const std::string path =
                shown.empty() ? std::string(setting.path) : fmt::format("{}.{}", shown, leaf(setting.path));
            if (task_.origins.contains(path)) continue;
            const toml::node* found = shown.empty() && !section.empty() ? table.get(section) : &table;
            const unsigned line = shown.empty() && section.empty() ? 0
                                  : found                          ? found->source().begin.line
                                                                   : 0;
            fail(ErrorCode::config_missing, line, fmt::format("{} is missing", path),
                 std::string(setting.help),
                 shown.empty() ? std::string(kSmallest)
                               : fmt::format("Add to the entry: {}", assignment(setting)));
        }
    }

    // The text after `${…}`; remembers the variables.
    std::string expand(const Place& place, std::string_view raw) {
        Expansion expansion = expand_environment(raw);
        if (expansion.status == Expansion::Status::not_set) {
            const std::string& name = expansion.variables.back();
            fail(ErrorCode::config_environment, place.line,
                 fmt::format("{} needs the environment variable {}, which is not set", place.path, name),
                 "${NAME} in a text is replaced from the environment.",
                 fmt::format("Set it where walferry starts: export {}=…; for a literal ${{ write $${{.",
                             name));
        }
        if (expansion.status == Expansion::Status::malformed) {
            wrong_value(place, "", "has a ${ that no name and } follow",
                        "Write ${NAME} with letters, digits and _; for a literal ${ write $${.");
        }
        auto& variables = task_.origins[place.path].variables;
        variables.insert(variables.end(), expansion.variables.begin(), expansion.variables.end());
        if (find_invalid_utf8(expansion.text) != std::string::npos) {
            wrong_value(place, "", "is not valid UTF-8 once the environment is filled in",
                        "Check the value of the environment variable.");
        }
        return std::move(expansion.text);
    }

    std::string read_text(const Place& place, const toml::node& node, std::string_view expected) {
        const auto raw = node.value_exact<std::string_view>();
        if (!raw) wrong_type(place, node, expected);
        std::string text = expand(place, *raw);
        if (text.find('\0') != text.npos)
            wrong_value(place, "", "has a zero byte", "Take the zero byte out.");
        if (place.setting.check != nullptr) {
            if (const std::string wrong = place.setting.check(text); !wrong.empty())
                wrong_value(place, place.setting.secret ? "" : excerpt(*raw), wrong);
        }
        return text;
    }

    std::vector<std::string> read_list(const Place& place, const toml::node& node,
                                       std::string_view expected) {
        const toml::array* array = node.as_array();
        if (array == nullptr) wrong_type(place, node, expected);
        if (array->empty()) wrong_value(place, "[]", "is empty", "Leave the key out to have the default.");
        std::vector<std::string> list;
        for (const toml::node& item : *array) {
            const unsigned line = item.source().begin.line;
            const Place at{place.setting, place.path, line == 0 ? place.line : line};
            if (!item.is_string()) wrong_type(at, item, expected);
            list.push_back(read_text(at, item, expected));
        }
        return list;
    }

    Operations read_operations(const Place& place, const toml::node& node) {
        Operations operations{false, false, false, false};
        for (const std::string& name : read_list(place, node, "a list of operations")) {
            if (name == "insert") {
                operations.insert = true;
            } else if (name == "update") {
                operations.update = true;
            } else if (name == "delete") {
                operations.remove = true;
            } else if (name == "truncate") {
                operations.truncate = true;
            } else {
                wrong_value(place, excerpt(name), "is not an operation");
            }
        }
        return operations;
    }

    std::string choice_remedy(const Place& place, std::string_view name,
                              std::span<const std::string_view> names) const {
        const auto later = split(place.setting.later, '|');
        if (std::find(later.begin(), later.end(), name) != later.end())
            return fmt::format("This version does not have it yet; use {}.", names.front());
        if (const std::string_view near = nearest(name, names); !near.empty())
            return fmt::format("Did you mean {} = \"{}\"?", leaf(place.setting.path), near);
        return "";
    }

    void read_choice(const Place& place, const toml::node& node, Choice& target) {
        const std::string name = read_text(place, node, "one of the names " + range_text(place.setting));
        const auto names = split(place.setting.allowed, '|');
        const auto found = std::find(names.begin(), names.end(), name);
        if (found == names.end())
            wrong_value(place, excerpt(name), "is not one of the names", choice_remedy(place, name, names));
        target.set(target.where, static_cast<size_t>(found - names.begin()));
    }

    template <typename Number>
    Number in_range(const Place& place, std::string_view shown, int64_t number) const {
        if (number < place.setting.min || number > place.setting.max)
            wrong_value(place, shown, "is out of range");
        return Number(number);
    }

    void read_setting(const Place& place, const toml::node& node) {
        task_.origins[place.path].line = place.line;
        TableConfig none;
        TableConfig& table = task_.tables.empty() ? none : task_.tables.back();
        Member member = place.setting.member(task_, table);
        std::visit([&](auto& target) { read_member(place, node, target); }, member);
    }

    void read_member(const Place& place, const toml::node& node, std::string* target) {
        *target = read_text(place, node, "a text in quotes");
    }
    void read_member(const Place& place, const toml::node& node, std::vector<std::string>* target) {
        *target = read_list(place, node, "a list of texts");
    }
    void read_member(const Place& place, const toml::node& node, bool* target) {
        const auto flag = node.value_exact<bool>();
        if (!flag) wrong_type(place, node, "true or false, without quotes");
        *target = *flag;
    }
    void read_member(const Place& place, const toml::node& node, int* target) {
        const auto number = node.value_exact<int64_t>();
        if (!number) wrong_type(place, node, "a whole number, without quotes");
        *target = in_range<int>(place, fmt::format("{}", *number), *number);
    }
    void read_member(const Place& place, const toml::node& node, Bytes* target) {
        if (const auto number = node.value_exact<int64_t>()) {
            target->value = in_range<uint64_t>(place, fmt::format("{}", *number), *number);
            return;
        }
        const std::string text = read_text(place, node, "a size in quotes, or a whole number of bytes");
        const auto bytes = parse_bytes(text);
        if (!bytes) {
            wrong_value(place, excerpt(text), "is not a size",
                        fmt::format("Write a whole number and one of B, kB, MB, GB, TB: {}",
                                    assignment(place.setting)));
        }
        target->value = in_range<uint64_t>(place, excerpt(text), static_cast<int64_t>(*bytes));
    }
    void read_member(const Place& place, const toml::node& node, std::chrono::milliseconds* target) {
        const std::string text = read_text(place, node, "a duration in quotes, with its unit");
        const auto duration = parse_duration(text);
        if (!duration) {
            wrong_value(place, excerpt(text), "is not a duration",
                        fmt::format("Write a whole number and one of ms, s, min, h, d: {}",
                                    assignment(place.setting)));
        }
        *target = std::chrono::milliseconds(in_range<int64_t>(place, excerpt(text), duration->count()));
    }
    void read_member(const Place& place, const toml::node& node, Choice& target) {
        read_choice(place, node, target);
    }
    void read_member(const Place& place, const toml::node& node, Operations* target) {
        *target = read_operations(place, node);
    }
    void read_member(const Place& place, const toml::node& node, std::optional<Operations>* target) {
        *target = read_operations(place, node);
    }
    void read_member(const Place& place, const toml::node& node, ByPrefix* target) {
        if (const auto all = node.value_exact<bool>()) {
            target->all = *all;
        } else {
            target->prefixes = read_list(place, node, "true, false, or a list of texts");
        }
    }

    void read_member(const Place& place, const toml::node& node, std::map<std::string, std::string>*) {
        if (!node.is_table()) wrong_type(place, node, "a section of properties");
        task_.origins.erase(place.path);
        read_properties(place, *node.as_table(), "");
    }

    // `linger.ms = 5` without quotes around the key is a table within a table for TOML; both spellings are
    // taken.
    void read_properties(const Place& place, const toml::table& table, const std::string& prefix) {
        for (const auto& [key, node] : table) {
            const std::string name = prefix + std::string(key.str());
            const Place at{place.setting, fmt::format("{}.{}", place.setting.path, name),
                           key.source().begin.line};
            if (node.is_table()) {
                read_properties(place, *node.as_table(), name + ".");
                continue;
            }
            read_property(at, name, node);
        }
    }

    void read_property(const Place& at, const std::string& name, const toml::node& node) {
        if (name.empty() || name.find_first_of(" \t\r\n") != name.npos || name.find('\0') != name.npos) {
            fail(ErrorCode::config_value, at.line,
                 fmt::format("{} is not a property's name", excerpt(at.path)), "",
                 "Property names have no spaces: \"linger.ms\" = 5");
        }
        if (const std::string reason = refused_kafka_property(name); !reason.empty()) {
            fail(ErrorCode::config_value, at.line, fmt::format("{} cannot be set here", at.path),
                 fmt::format("walferry sets it itself: {}.", reason), "Take the line out.");
        }
        if (task_.sink.kafka.contains(name)) {
            fail(ErrorCode::config_value, at.line, fmt::format("{} is set twice", at.path),
                 "It stands there with and without quotes around its name.", "Take one of the lines out.");
        }
        task_.origins[at.path].line = at.line;
        std::string value;
        if (const auto flag = node.value_exact<bool>()) {
            value = *flag ? "true" : "false";
        } else if (const auto number = node.value_exact<int64_t>()) {
            value = fmt::format("{}", *number);
        } else if (const auto fraction = node.value_exact<double>()) {
            value = fmt::format("{}", *fraction);
        } else {
            value = read_text(at, node, "a text, a number or a boolean");
        }
        if (name == "acks" || name == "request.required.acks") value = read_acks(at, value);
        task_.sink.kafka[name] = std::move(value);
    }

    std::string read_acks(const Place& at, const std::string& value) {
        if (value == "all" || value == "-1") return "all";
        if (value != "1") {
            fail(ErrorCode::config_value, at.line,
                 fmt::format("{} = {} is not allowed", at.path, excerpt(value)),
                 "Allowed: all (the same as -1) and 1. Without any acknowledgement no position could be "
                 "confirmed.",
                 "Take the line out to have \"all\".");
        }
        task_.sink.idempotent = false;
        task_.warnings.push_back(
            fmt::format("{}: {} = {}: a record that Kafka acknowledged can be lost when a broker fails, and "
                        "the producer is not "
                        "idempotent",
                        where(at.line), at.path, value));
        return value;
    }

    unsigned line_of(const std::string& path) const {
        const auto found = task_.origins.find(path);
        return found == task_.origins.end() ? 0 : found->second.line;
    }

    // A policy that stands at `path`, with what it needs.
    void check_policy(const std::string& path, std::string_view name, bool claim_check,
                      bool dead_letter) const {
        if (task_.sink.headers == Headers::none) {
            fail(ErrorCode::config_value, line_of(path),
                 fmt::format("{} = \"{}\" does not go with sink.headers = \"none\"", path, name),
                 "What stands in place of a record says so in its headers.",
                 "Take sink.headers out, or leave the policy at \"stop\".");
        }
        if (claim_check && task_.sink.claim_check_directory.empty()) {
            fail(ErrorCode::config_missing, line_of(path),
                 fmt::format("{} = \"claim-check\" needs sink.claim_check_directory", path),
                 "The values that are too large for Kafka are written to files below it.",
                 "Add to [sink]: claim_check_directory = \"/var/lib/walferry/claims\"");
        }
        const std::string& topic = task_.sink.dead_letter_topic;
        if (dead_letter && topic == task_.sink.topic) {
            fail(ErrorCode::config_value, line_of("sink.dead_letter_topic"),
                 fmt::format("sink.dead_letter_topic and sink.topic are both {}", excerpt(topic)),
                 "A reader of the topic could not tell the records that were set aside from the others.",
                 "Choose another topic for one of them.");
        }
    }

    // 0 stands for "ask the topic".
    void check_message_size(const std::string& path, Bytes size) const {
        constexpr uint64_t kSmallestMessage = 10 << 10;
        if (size.value == 0 || size.value >= kSmallestMessage) return;
        fail(ErrorCode::config_value, line_of(path), fmt::format("{} = {} is out of range", path, size.value),
             fmt::format("A message needs room for its key and headers: at least {}.",
                         format_bytes(kSmallestMessage)),
             "Raise it, or take it out to ask each topic.");
    }

    void check_policies() const {
        const SinkConfig& sink = task_.sink;
        check_message_size("sink.max_message_size", sink.max_message_size);
        if (sink.oversize != Oversize::stop) {
            check_policy("sink.oversize", text_of("sink.oversize"), sink.oversize == Oversize::claim_check,
                         sink.oversize == Oversize::dead_letter);
        }
        if (sink.unrenderable != Unrenderable::stop) {
            check_policy("sink.unrenderable", text_of("sink.unrenderable"), false,
                         sink.unrenderable == Unrenderable::dead_letter);
        }
        // A logical message has neither schema nor table.
        const bool messages = task_.source.messages.all || !task_.source.messages.prefixes.empty();
        const bool of_messages =
            sink.oversize == Oversize::dead_letter || sink.unrenderable == Unrenderable::dead_letter;
        if (messages && of_messages) {
            if (const std::string wrong = check_message_topic_template(sink.dead_letter_topic);
                !wrong.empty()) {
                fail(ErrorCode::config_value, line_of("sink.dead_letter_topic"),
                     fmt::format("sink.dead_letter_topic {}", wrong),
                     "source.messages streams logical messages, and the policy of [sink] is theirs too.",
                     "Choose a template without it, or set the policy in [[table]] entries.");
            }
        }
        for (size_t i = 0; i < task_.tables.size(); i++) {
            const TableConfig& table = task_.tables[i];
            const auto path = [&](const char* key) { return fmt::format("table[{}].{}", i, key); };
            check_message_size(path("max_message_size"), table.max_message_size);
            if (table.oversize.value_or(Oversize::stop) != Oversize::stop) {
                check_policy(path("oversize"), text_of("table.oversize", i),
                             *table.oversize == Oversize::claim_check,
                             *table.oversize == Oversize::dead_letter);
            }
            if (table.unrenderable.value_or(Unrenderable::stop) != Unrenderable::stop) {
                check_policy(path("unrenderable"), text_of("table.unrenderable", i), false,
                             *table.unrenderable == Unrenderable::dead_letter);
            }
        }
    }

    // The name of a choice as it stands in the file.
    std::string_view text_of(std::string_view path, size_t table = 0) const {
        const Setting& setting = *find_setting(path);
        TableConfig none;
        const Member member = setting.member(task_, task_.tables.empty() ? none : task_.tables[table]);
        const Choice& chosen = std::get<Choice>(member);
        return split(setting.allowed, '|')[chosen.get(chosen.where)];
    }

    // What no setting can tell alone.
    void check_together() const {
        check_policies();
        if (task_.retry.initial_delay > task_.retry.max_delay) {
            const unsigned line = std::max(line_of("retry.initial_delay"), line_of("retry.max_delay"));
            fail(ErrorCode::config_value, line,
                 fmt::format("retry.initial_delay ({}) is longer than retry.max_delay ({})",
                             format_duration(task_.retry.initial_delay),
                             format_duration(task_.retry.max_delay)),
                 "The pause grows from the first to the second.",
                 "Raise retry.max_delay or lower retry.initial_delay.");
        }
        if (task_.sink.kafka.contains("acks") && task_.sink.kafka.contains("request.required.acks")) {
            fail(ErrorCode::config_value, line_of("sink.kafka.request.required.acks"),
                 "sink.kafka has both acks and request.required.acks", "They are two names of one property.",
                 "Take one of the lines out.");
        }
        if (task_.spool.outage && task_.spool.directory.empty()) {
            fail(ErrorCode::config_value, line_of("spool.outage"), "spool.outage needs spool.directory",
                 "While Kafka is away the log below it is the only copy of what the server was told is safe.",
                 "Name a folder on a disk that outlives the process and is not shared with another machine.");
        }
        for (size_t i = 0; i < task_.tables.size(); i++) {
            std::vector<std::string> key = task_.tables[i].key;
            std::sort(key.begin(), key.end());
            if (const auto twice = std::adjacent_find(key.begin(), key.end()); twice != key.end()) {
                fail(ErrorCode::config_value, line_of(fmt::format("table[{}].key", i)),
                     fmt::format("table[{}].key has {} twice", i, excerpt(*twice)), "",
                     "Name each column once.");
            }
            const auto& mine = task_.tables[i].operations;
            const Operations& all = task_.source.operations;
            if (!mine || ((all.insert || !mine->insert) && (all.update || !mine->update) &&
                          (all.remove || !mine->remove) && (all.truncate || !mine->truncate)))
                continue;
            fail(ErrorCode::config_value, line_of(fmt::format("table[{}].operations", i)),
                 fmt::format("table[{}].operations has an operation that source.operations leaves out", i),
                 "A table can only take away from what the source streams.",
                 "Add the operation to source.operations, or take it out here.");
        }
    }

    void derive() {
        if (task_.source.slot.empty()) task_.source.slot = slot_from_name(task_.name);
    }

    TaskConfig& task_;
    std::string file_;
};

}  // namespace

TaskConfig parse_task(std::string_view text, std::string_view file_name) {
    TaskConfig task;
    task.file = file_name;
    if (text.find_first_not_of(" \t\r\n") == text.npos) {
        throw Error(ErrorCode::config_missing, fmt::format("{}: The task file is empty", file_name), "",
                    std::string(kSmallest));
    }
    const toml::table root = parse_toml(text, file_name);
    Reader(task, file_name).read(root);
    return task;
}

}  // namespace walferry
