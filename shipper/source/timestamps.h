// Conversion between PostgreSQL's timestamps (microseconds since 2000-01-01 00:00:00 UTC, as the replication
// protocol and timestamptz carry them) and unix time. Pure functions; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>

namespace walferry {

// Microseconds from 1970-01-01 to 2000-01-01; leap seconds count in neither calendar.
inline constexpr int64_t kPostgresEpochMicros = 946'684'800'000'000;

// PostgreSQL's 'infinity' and '-infinity' (the two ends of int64) stay at the ends; any other value that has
// no place in the other calendar saturates.
constexpr int64_t unix_micros(int64_t postgres_micros) {
    constexpr int64_t lowest = std::numeric_limits<int64_t>::min();
    constexpr int64_t highest = std::numeric_limits<int64_t>::max();
    if (postgres_micros == lowest) return lowest;
    if (postgres_micros > highest - kPostgresEpochMicros) return highest;
    return postgres_micros + kPostgresEpochMicros;
}

constexpr int64_t postgres_micros(int64_t unix_micros) {
    constexpr int64_t lowest = std::numeric_limits<int64_t>::min();
    constexpr int64_t highest = std::numeric_limits<int64_t>::max();
    if (unix_micros == highest) return highest;
    if (unix_micros < lowest + kPostgresEpochMicros) return lowest;
    return unix_micros - kPostgresEpochMicros;
}

// Milliseconds since 1970-01-01 UTC by the system's clock.
inline int64_t unix_ms_now() {
    using std::chrono::duration_cast;
    using std::chrono::milliseconds;
    return duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

inline int64_t postgres_micros_now() {
    using std::chrono::duration_cast;
    using std::chrono::microseconds;
    const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
    return postgres_micros(duration_cast<microseconds>(since_epoch).count());
}

}  // namespace walferry
