// The messages that stand in place of a record, for each policy (docs/oversize.md). What does not fit is for
// the caller to find out, with message_size().
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "oversize/message.h"

namespace walferry {

// Why a record cannot be sent as it is.
enum class Cause : uint8_t {
    too_large,  // for its topic
    bad_value,  // a value cannot be rendered
    left_out,   // values did not fit into a frame
};

std::string_view code_of(Cause cause);  // "WF3005"

// The record. Texts whose data() is null are not known.
struct Unsendable {
    Cause cause = Cause::too_large;
    std::string_view schema, table;  // null for a logical message
    std::string_view topic;
    std::string_view position;
    std::string_view origin;       // empty: none
    std::string_view key;          // null: none
    std::string_view value;        // whole; of left_out the rest of it; of bad_value null
    std::string_view explanation;  // the error that it would be
};

// Chunks of at most `limit` bytes, headers included; none where key and headers leave no room for a value.
std::vector<SubstituteMessage> chunk_messages(const Unsendable& record, size_t limit);
// `key_only`: the message that holds the key columns only. `path`: where the value is.
SubstituteMessage claim_message(const Unsendable& record, std::string_view key_only, std::string_view path);
SubstituteMessage key_only_message(const Unsendable& record, std::string_view key_only);
// With the value if it is there and fits into `limit`, else with a description of the record; without the key
// where even so it does not fit.
SubstituteMessage dead_letter_message(const Unsendable& record, size_t limit);

}  // namespace walferry
