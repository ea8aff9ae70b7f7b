// Which message of the source's history a record is: what the header `walferry.position` says.
//
//   <system identifier>:<timeline>:<commit LSN>:<ordinal>[.<part>]
//
// The part is there where one change makes several messages: `.1` and `.2` are the DELETE and the INSERT of a
// change of the message key, `.c0`, `.c1`, … the chunks of a message that was split.
// Pure functions; any thread.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string_view>

#include "common/types.h"

namespace walferry {

// A message within the history of one cluster; ordered as the messages are produced.
struct MessagePosition {
    Lsn commit;
    uint64_t ordinal = 0;
    uint32_t part = 0;  // 0: the whole; 1 and 2; chunks from kFirstChunk on

    static constexpr uint32_t kFirstChunk = 16;

    friend bool operator==(const MessagePosition&, const MessagePosition&) = default;
    friend bool operator<(const MessagePosition& a, const MessagePosition& b) {
        if (a.commit != b.commit) return a.commit < b.commit;
        return a.ordinal != b.ordinal ? a.ordinal < b.ordinal : a.part < b.part;
    }
};

struct HistoricPosition {
    SystemId system;
    Timeline timeline;
    MessagePosition message;
};

// Nothing unless the whole text is one.
std::optional<HistoricPosition> parse_position(std::string_view text);

}  // namespace walferry
