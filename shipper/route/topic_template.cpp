#include "route/topic_template.h"

#include <algorithm>
#include <array>
#include <utility>

#include "error/error.h"

namespace walferry {
namespace {

constexpr size_t kLongestTopic = 249;
constexpr std::string_view kCompactMark = "_xB32_";
constexpr const char* kPlaceholders = "{db}, {schema}, {table} and {name}";

// Not std::isalnum, which asks the locale.
bool legal(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
}

bool upper_hex(char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

bool starts_escape(std::string_view text, size_t at) {
    return text[at] == '_' && text.size() - at >= 4 && text[at + 1] == 'x' && upper_hex(text[at + 2]) &&
           upper_hex(text[at + 3]);
}

// RFC 4648 in lower case, without padding.
void append_base32(std::string& out, std::string_view bytes) {
    constexpr const char* kLetters = "abcdefghijklmnopqrstuvwxyz234567";
    unsigned bits = 0, waiting = 0;
    for (const char c : bytes) {
        bits = (bits << 8 | static_cast<unsigned char>(c)) & 0xFFF;
        for (waiting += 8; waiting >= 5; waiting -= 5) out += kLetters[bits >> (waiting - 5) & 31];
    }
    if (waiting > 0) out += kLetters[bits << (5 - waiting) & 31];
}

[[noreturn]] void refuse_template(std::string_view text, std::string why) {
    throw Error(ErrorCode::topic_template, "The topic template \"" + std::string(text) + "\" is not valid",
                std::move(why),
                std::string("Use letters, digits, '.', '_', '-' and the placeholders ") + kPlaceholders +
                    ", for example topic = \"{schema}.{table}\"");
}

}  // namespace

TopicTemplate::TopicTemplate(std::string_view text) : text_(text) {
    constexpr std::array<std::pair<std::string_view, Field>, 4> kFields{
        {{"db", Field::db}, {"schema", Field::schema}, {"table", Field::table}, {"name", Field::name}}};
    if (text.empty()) refuse_template(text, "it is empty");
    std::string literal;
    for (size_t at = 0; at < text.size(); ++at) {
        if (text[at] != '{') {
            if (!legal(text[at]))
                refuse_template(text, std::string("Kafka allows no '") + text[at] + "' in a topic's name");
            literal += text[at];
            continue;
        }
        const size_t end = text.find('}', at);
        if (end == std::string_view::npos) refuse_template(text, "a '{' has no '}'");
        const std::string_view placeholder = text.substr(at + 1, end - at - 1);
        const auto* field = std::find_if(kFields.begin(), kFields.end(),
                                         [&](const auto& known) { return known.first == placeholder; });
        if (field == kFields.end())
            refuse_template(text, "{" + std::string(placeholder) + "} is not a placeholder");
        parts_.push_back({std::exchange(literal, {}), field->second});
        at = end;
    }
    tail_ = std::move(literal);

    bool schema = false, table = false, apart = true;
    for (size_t i = 0; i < parts_.size(); ++i) {
        schema |= parts_[i].field == Field::schema;
        table |= parts_[i].field == Field::table;
        if (i == 0) continue;
        bool separated = false;
        for (const char c : parts_[i].literal) {
            if (c != '.' && c != '-') continue;
            separated = true;
            if (separators_.find(c) == std::string::npos) separators_ += c;
        }
        apart &= separated;
    }
    distinguishes_tables_ = schema && table && apart;
}

bool TopicTemplate::needs_escape(std::string_view value, size_t at) const {
    return !legal(value[at]) || separators_.find(value[at]) != std::string::npos || starts_escape(value, at);
}

void TopicTemplate::append_escaped(std::string& out, std::string_view value, bool compact) const {
    constexpr const char* kDigits = "0123456789ABCDEF";
    const size_t start = out.size();
    for (size_t at = 0; at < value.size(); ++at) {
        if (!needs_escape(value, at)) {
            out += value[at];
            continue;
        }
        const auto byte = static_cast<unsigned char>(value[at]);
        out += "_x";
        out += kDigits[byte >> 4];
        out += kDigits[byte & 0xF];
        out += '_';
    }
    if (!compact || out.size() - start <= kCompactMark.size() + (8 * value.size() + 4) / 5) return;
    out.resize(start);
    out += kCompactMark;
    append_base32(out, value);
}

std::string TopicTemplate::fill_in(const TopicNames& names, bool compact) const {
    std::string topic;
    for (const Part& part : parts_) {
        topic += part.literal;
        switch (part.field) {
            case Field::db:
                append_escaped(topic, names.db, compact);
                break;
            case Field::schema:
                append_escaped(topic, names.schema, compact);
                break;
            case Field::table:
                append_escaped(topic, names.table, compact);
                break;
            case Field::name:
                append_escaped(topic, names.name, compact);
                break;
        }
    }
    return topic + tail_;
}

std::string TopicTemplate::expand(const TopicNames& names) const {
    std::string topic = fill_in(names, false);
    if (topic.size() > kLongestTopic) topic = fill_in(names, true);
    const bool too_long = topic.size() > kLongestTopic;
    if (too_long || topic.empty() || topic == "." || topic == "..") {
        const std::string table = std::string(names.schema) + "." + std::string(names.table);
        throw Error(ErrorCode::topic_name, "Table " + table + " has no legal topic name",
                    too_long ? "the template \"" + text_ + "\" gives " + std::to_string(topic.size()) +
                                   " characters, Kafka allows " + std::to_string(kLongestTopic)
                             : "the template \"" + text_ + "\" gives \"" + topic + "\", which Kafka refuses",
                    "Name a topic for it: [[table]] match = \"" + table + "\", topic = \"...\"");
    }
    return topic;
}

}  // namespace walferry
