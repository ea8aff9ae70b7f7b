// A message that stands in place of another, and how large a broker takes a message for.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace walferry {

struct NamedHeader {
    const char* name;
    std::string value;
};

// Key and value are views into what it was made from, unless `owned` holds the value.
struct SubstituteMessage {
    std::string_view key;  // null: none
    std::string_view value;
    std::string position;
    std::vector<NamedHeader> headers;  // besides position and origin
    std::string owned;

    std::string_view content() const { return owned.empty() ? value : std::string_view(owned); }
};

// Batch and record of Kafka's format 2, everything but key, value and headers; no number is shorter on the
// wire than counted here.
constexpr size_t kRecordEnvelope = 61 + 32;
// The same with a position header.
constexpr size_t kPlainEnvelope = 256;

// At most so many bytes are the message in a batch of its own, before compression. `origin`: of the header
// with the name of the replication origin; empty: none.
size_t message_size(const SubstituteMessage& message, std::string_view origin);

}  // namespace walferry
