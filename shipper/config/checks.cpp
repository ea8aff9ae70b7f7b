#include "config/checks.h"

#include <algorithm>
#include <array>
#include <charconv>

#include <fmt/format.h>

#include "common/match/pattern.h"

namespace walferry {
namespace {

bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}
bool is_upper(char c) {
    return c >= 'A' && c <= 'Z';
}
bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
bool is_topic_character(char c) {
    return is_lower(c) || is_upper(c) || is_digit(c) || c == '.' || c == '_' || c == '-';
}
char to_lower(char c) {
    return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c;
}

constexpr size_t kMaxName = 63;  // NAMEDATALEN - 1
constexpr size_t kMaxTopic = 249;
constexpr std::array<std::string_view, 4> kPlaceholders = {"db", "schema", "table", "name"};

std::string check_broker(std::string_view broker) {
    if (broker.empty()) return "has an empty entry";
    if (broker.find_first_of(" \t\r\n\"'") != broker.npos) return "has a space or a quote in it";
    std::string_view address = broker;
    if (const size_t scheme = address.find("://"); scheme != address.npos) address.remove_prefix(scheme + 3);
    std::string_view port;
    if (!address.empty() && address.front() == '[') {
        const size_t close = address.find(']');
        if (close == address.npos) return fmt::format("has an IPv6 address without its closing bracket");
        port = address.substr(close + 1);
        if (!port.empty() && port.front() != ':') return "has text after the closing bracket of an address";
        if (!port.empty()) port.remove_prefix(1);
    } else if (const size_t colon = address.find(':'); colon != address.npos) {
        if (colon == 0) return "has a port without a host";
        port = address.substr(colon + 1);
        if (port.empty()) return "has a host with a colon but no port";
    } else if (address.empty()) {
        return "has an empty host";
    }
    if (port.empty()) return "";
    int number = 0;
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
    if (error != std::errc() || end != port.data() + port.size() || number < 1 || number > 65535)
        return "has a port that is not a number from 1 to 65535";
    return "";
}

}  // namespace

std::string check_task_name(std::string_view text) {
    if (text.empty()) return "is empty";
    if (text.size() > kMaxName) return fmt::format("has {} characters, more than {}", text.size(), kMaxName);
    for (const char c : text) {
        if (!is_topic_character(c)) return "has a character that is no letter, digit, '_', '-' or '.'";
    }
    if (text.find_first_not_of("._-") == text.npos) return "has no letter or digit";
    return "";
}

std::string check_slot_name(std::string_view text) {
    if (text.empty()) return "is empty";
    if (text.size() > kMaxName) return fmt::format("has {} characters, more than {}", text.size(), kMaxName);
    for (const char c : text) {
        if (!is_lower(c) && !is_digit(c) && c != '_')
            return "has a character that is no lower-case letter, digit or '_'";
    }
    return "";
}

std::string check_not_empty(std::string_view text) {
    return text.empty() ? "is empty" : "";
}

std::string check_brokers(std::string_view text) {
    if (text.empty()) return "is empty";
    for (;;) {
        const size_t comma = text.find(',');
        if (std::string wrong = check_broker(text.substr(0, comma)); !wrong.empty()) return wrong;
        if (comma == text.npos) return "";
        text.remove_prefix(comma + 1);
    }
}

std::string check_topic_template(std::string_view text) {
    if (text.empty()) return "is empty";
    if (text == "." || text == "..") return "is a name that Kafka keeps for itself";
    size_t fixed = 0;
    for (size_t i = 0; i < text.size(); i++) {
        if (text[i] == '{') {
            const size_t close = text.find('}', i);
            if (close == text.npos) return "has a '{' without its '}'";
            const std::string_view name = text.substr(i + 1, close - i - 1);
            if (std::find(kPlaceholders.begin(), kPlaceholders.end(), name) == kPlaceholders.end())
                return fmt::format(
                    "has the unknown placeholder {{{}}}; known are {{db}}, {{schema}}, {{table}} and "
                    "{{name}}",
                    name);
            i = close;
        } else if (text[i] == '}') {
            return "has a '}' without its '{'";
        } else if (!is_topic_character(text[i])) {
            return "has a character that Kafka does not allow in a topic";
        } else {
            fixed++;
        }
    }
    if (fixed > kMaxTopic) return fmt::format("is longer than the {} characters of a topic", kMaxTopic);
    return "";
}

std::string check_message_topic_template(std::string_view text) {
    for (const std::string_view placeholder : {"{schema}", "{table}"}) {
        if (text.find(placeholder) != std::string_view::npos) {
            return fmt::format("has {}, but a logical message belongs to no table", placeholder);
        }
    }
    return check_topic_template(text);
}

std::string check_progress_topic_template(std::string_view text) {
    for (const std::string_view placeholder : {"{schema}", "{table}", "{db}"}) {
        if (text.find(placeholder) != std::string_view::npos) {
            return fmt::format("has {}, but the progress is that of the whole task", placeholder);
        }
    }
    if (text.find("{name}") == std::string_view::npos)
        return "has no {name}, but each task needs a progress topic of its own";
    return check_topic_template(text);
}

std::string check_optional_topic_template(std::string_view text) {
    return text.empty() ? "" : check_topic_template(text);
}

std::string check_pattern(std::string_view text) {
    TablePattern pattern;
    size_t offset = 0;
    const PatternError error = parse_pattern(text, pattern, offset);
    if (error == PatternError::none) return "";
    return fmt::format("is no pattern of tables: {} (at character {})", describe(error), offset + 1);
}

std::string check_positive_pattern(std::string_view text) {
    if (!text.empty() && text.front() == '!')
        return "starts with '!', which only a list of patterns can have";
    return check_pattern(text);
}

std::string check_optional_absolute_path(std::string_view text) {
    return text.empty() || text.starts_with('/') ? "" : "is no absolute path";
}

std::string slot_from_name(std::string_view name) {
    std::string slot(name);
    for (char& c : slot) c = c == '-' || c == '.' ? '_' : to_lower(c);
    return slot;
}

std::span<const RefusedProperty> refused_kafka_properties() {
    constexpr std::string_view kBrokers = "use `sink.brokers`";
    constexpr std::string_view kTimeout =
        "a record that timed out would be lost; `retry.connection_window` bounds the waiting";
    constexpr std::string_view kPointer = "it is a pointer, which no file can hold";
    static constexpr RefusedProperty kRefused[] = {
        {"bootstrap.servers", kBrokers},
        {"metadata.broker.list", kBrokers},
        {"transactional.id", "transactions belong to `sink.delivery`"},
        {"enable.idempotence", "it follows `acks`: on with `all`, off with 1"},
        {"message.timeout.ms", kTimeout},
        {"delivery.timeout.ms", kTimeout},
        {"delivery.report.only.error", "the confirmed position follows the reports of success"},
        {"partitioner", "use `sink.partition_by` and `sink.partition_hash`"},
        {"opaque", kPointer},
        {"interceptors", kPointer},
        {"default_topic_conf", kPointer},
        {"*_cb", kPointer},
    };
    return kRefused;
}

std::string refused_kafka_property(std::string_view property) {
    for (const RefusedProperty& refused : refused_kafka_properties()) {
        const bool is_suffix = refused.name.front() == '*';
        if (is_suffix ? property.ends_with(refused.name.substr(1)) : property == refused.name) {
            std::string reason(refused.reason);
            std::erase(reason, '`');
            return reason;
        }
    }
    return "";
}

bool is_secret_kafka_property(std::string_view property) {
    for (const std::string_view word :
         {"password", "secret", ".pem", "oauthbearer.config", "token", "jaas"}) {
        if (property.find(word) != property.npos) return true;
    }
    return false;
}

}  // namespace walferry
