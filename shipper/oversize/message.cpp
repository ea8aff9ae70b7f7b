#include "oversize/message.h"

namespace walferry {
namespace {

// Name and value each have their length in front.
constexpr size_t kHeaderLengths = 10;
constexpr size_t kLongestOwnName = 32;  // "walferry.position", "walferry.origin"

}  // namespace

size_t message_size(const SubstituteMessage& message, std::string_view origin) {
    size_t size = kRecordEnvelope + message.key.size() + message.content().size();
    size += kHeaderLengths + kLongestOwnName + message.position.size();
    if (!origin.empty()) size += kHeaderLengths + kLongestOwnName + origin.size();
    for (const NamedHeader& header : message.headers)
        size += kHeaderLengths + std::string_view(header.name).size() + header.value.size();
    return size;
}

}  // namespace walferry
