// Dates, times and intervals as PostgreSQL writes them under DateStyle ISO, IntervalStyle postgres and
// TimeZone UTC. Each function writes at most kMaxTimeText characters and returns the end.
#pragma once

#include <cstdint>

namespace walferry {

constexpr int kMaxTimeText = 96;

constexpr int64_t kMicrosPerDay = 86'400'000'000;
constexpr int64_t kMicrosPerHour = 3'600'000'000;

// Days since 2000-01-01.
char* write_date(char* p, int32_t days);

// Microseconds since 2000-01-01 00:00; `separator` stands between date and time, `zone` (null: none) after
// the time.
char* write_timestamp(char* p, int64_t micros, char separator, const char* zone);

// Microseconds since midnight. Null if there is no such time of day.
char* write_time(char* p, int64_t micros);

// The same with a zone in seconds west of UTC. Null if there is no such time or zone.
char* write_timetz(char* p, int64_t micros, int32_t seconds_west);

// `infinities`: the server is PostgreSQL 17 or newer, where the ends of all three fields are the infinities.
char* write_interval(char* p, int64_t micros, int32_t days, int32_t months, bool infinities);

}  // namespace walferry
