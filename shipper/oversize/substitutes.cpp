#include "oversize/substitutes.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "error/error.h"
#include "oversize/chunks.h"

namespace walferry {
namespace {

constexpr char kPolicy[] = "walferry.policy";
constexpr char kReason[] = "walferry.reason";
constexpr char kCode[] = "walferry.code";
constexpr char kSize[] = "walferry.size";
constexpr char kChecksum[] = "walferry.checksum";
constexpr char kChunk[] = "walferry.chunk";
constexpr char kClaim[] = "walferry.claim";
constexpr char kTopic[] = "walferry.topic";
constexpr char kSchema[] = "walferry.schema";
constexpr char kTable[] = "walferry.table";
constexpr char kError[] = "walferry.error";
constexpr char kValue[] = "walferry.value";
constexpr char kKey[] = "walferry.key";

// A chunk smaller than this is not worth its headers.
constexpr size_t kSmallestChunk = 1024;

const char* reason_of(Cause cause) {
    switch (cause) {
        case Cause::too_large:
            return "oversize";
        case Cause::bad_value:
            return "unrenderable";
        case Cause::left_out:
            return "left-out";
    }
    return "";
}

SubstituteMessage begin(const Unsendable& record, const char* policy) {
    SubstituteMessage message;
    message.key = record.key;
    message.position = record.position;
    message.headers.push_back({kPolicy, policy});
    return message;
}

void tell_cause(const Unsendable& record, SubstituteMessage& message) {
    message.headers.push_back({kReason, reason_of(record.cause)});
    message.headers.push_back({kCode, std::string(code_of(record.cause))});
    // The size of what is left of a value would only mislead.
    if (record.cause == Cause::too_large)
        message.headers.push_back({kSize, std::to_string(record.value.size())});
}

std::string describe(const Unsendable& record) {
    nlohmann::ordered_json text;
    if (record.table.data() != nullptr) {
        text["schema"] = record.schema;
        text["table"] = record.table;
    }
    text["topic"] = record.topic;
    text["position"] = record.position;
    text["reason"] = reason_of(record.cause);
    text["code"] = code_of(record.cause);
    if (record.cause == Cause::too_large) {
        text["size"] = record.value.size();
        text["checksum"] = checksum_text(record.value);
    }
    text["error"] = record.explanation;
    return text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void set_header(SubstituteMessage& message, const char* name, const char* value) {
    for (NamedHeader& header : message.headers) {
        if (std::string_view(header.name) != name) continue;
        header.value = value;
        return;
    }
    message.headers.push_back({name, value});
}

}  // namespace

std::string_view code_of(Cause cause) {
    switch (cause) {
        case Cause::too_large:
            return info(ErrorCode::kafka_message_too_large).code;
        case Cause::bad_value:
            return info(ErrorCode::record_value).code;
        case Cause::left_out:
            break;
    }
    return info(ErrorCode::record_oversize).code;
}

std::vector<SubstituteMessage> chunk_messages(const Unsendable& record, size_t limit) {
    SubstituteMessage empty = begin(record, "split");
    empty.headers.push_back({kSize, std::to_string(record.value.size())});
    empty.headers.push_back({kChecksum, checksum_text(record.value)});
    // Room for the longest number of a chunk, in its header and in its position.
    const std::string longest = std::to_string(record.value.size());
    empty.headers.push_back({kChunk, longest + "/" + longest});
    empty.position += ".c" + longest;
    const size_t around = message_size(empty, record.origin);
    if (around + kSmallestChunk > limit) return {};

    const uint64_t count = chunk_count(record.value.size(), limit - around);
    std::vector<SubstituteMessage> messages(count, empty);
    for (uint64_t i = 0; i < count; ++i) {
        messages[i].value = chunk(record.value, i, count);
        messages[i].position = chunk_position(record.position, i, count);
        messages[i].headers.back().value = fmt::format("{}/{}", i + 1, count);
    }
    return messages;
}

SubstituteMessage claim_message(const Unsendable& record, std::string_view key_only, std::string_view path) {
    SubstituteMessage message = begin(record, "claim-check");
    message.value = key_only;
    message.headers.push_back({kClaim, std::string(path)});
    message.headers.push_back({kSize, std::to_string(record.value.size())});
    message.headers.push_back({kChecksum, checksum_text(record.value)});
    return message;
}

SubstituteMessage key_only_message(const Unsendable& record, std::string_view key_only) {
    SubstituteMessage message = begin(record, "key-only");
    message.value = key_only;
    tell_cause(record, message);
    return message;
}

SubstituteMessage dead_letter_message(const Unsendable& record, size_t limit) {
    SubstituteMessage message = begin(record, "dead-letter");
    tell_cause(record, message);
    message.headers.push_back({kTopic, std::string(record.topic)});
    if (record.table.data() != nullptr) {
        message.headers.push_back({kSchema, std::string(record.schema)});
        message.headers.push_back({kTable, std::string(record.table)});
    }
    message.headers.push_back({kError, std::string(record.explanation)});
    if (record.value.data() != nullptr) {
        message.value = record.value;
        set_header(message, kValue, record.cause == Cause::left_out ? "partial" : "whole");
        if (message_size(message, record.origin) <= limit) return message;
    }
    set_header(message, kValue, "described");
    message.owned = describe(record);
    message.value = {};
    if (message_size(message, record.origin) > limit && record.key.data() != nullptr) {
        message.key = {};
        set_header(message, kKey, "left-out");
    }
    return message;
}

}  // namespace walferry
