// Strong types for the identifiers that travel from the server to Kafka. Each is a distinct type, so that an
// LSN can never be passed where a transaction id or an ordinal is meant. All are trivially copyable, so they
// are safe inside the server and on the wire.
#pragma once

#include <cstdint>

namespace walferry {

template <typename Representation, typename Tag>
struct Strong {
    Representation value{};

    constexpr Strong() = default;
    constexpr explicit Strong(Representation v) : value(v) {}

    friend constexpr bool operator==(Strong a, Strong b) { return a.value == b.value; }
    friend constexpr bool operator!=(Strong a, Strong b) { return a.value != b.value; }
    friend constexpr bool operator<(Strong a, Strong b) { return a.value < b.value; }
    friend constexpr bool operator<=(Strong a, Strong b) { return a.value <= b.value; }
    friend constexpr bool operator>(Strong a, Strong b) { return a.value > b.value; }
    friend constexpr bool operator>=(Strong a, Strong b) { return a.value >= b.value; }
};

// A byte position in the write-ahead log; 0 means "none" (PostgreSQL's InvalidXLogRecPtr).
using Lsn = Strong<uint64_t, struct LsnTag>;
using Xid = Strong<uint32_t, struct XidTag>;
using Oid32 = Strong<uint32_t, struct OidTag>;
// Place of a change within its transaction, counted from 0 over everything the server decoded for that
// transaction, filtered rows included; the same after every restart.
using Ordinal = Strong<uint64_t, struct OrdinalTag>;
using Timeline = Strong<uint32_t, struct TimelineTag>;
using SystemId = Strong<uint64_t, struct SystemIdTag>;

// Names one change in the history of one cluster. All rows of one COPY share an LSN, so a bare LSN never
// does.
struct Position {
    SystemId system;
    Timeline timeline;
    Lsn commit;
    Ordinal ordinal;
};

}  // namespace walferry
