// Which message of the source's history a record is: what the header `walferry.position` says.
//
//   <system identifier>:<timeline>:<commit LSN>:<ordinal>[.1|.2][.c<chunk>]
//
// `.1` and `.2` are the DELETE and the INSERT of a change of the message key. `.c1`, `.c2`, … are the chunks
// of a message that was split, but for the last one, which has the message's own position: so where that
// stands in a topic the message is there whole.
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
    uint32_t part = 0;             // 0: the whole change; 1 or 2
    uint32_t chunk = kWholeChunk;  // from 1 on

    // Of the last chunk, and of a message that was not split.
    static constexpr uint32_t kWholeChunk = UINT32_MAX;

    friend bool operator==(const MessagePosition&, const MessagePosition&) = default;
    friend bool operator<(const MessagePosition& a, const MessagePosition& b) {
        if (a.commit != b.commit) return a.commit < b.commit;
        if (a.ordinal != b.ordinal) return a.ordinal < b.ordinal;
        return a.part != b.part ? a.part < b.part : a.chunk < b.chunk;
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
