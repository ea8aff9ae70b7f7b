// Durations and sizes as people write them.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace walferry {

// "500ms", "30s", "10min", "12h", "7d"; nothing when it is not of that form or does not fit.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);
// "64MB": B, kB, MB, GB, TB with PostgreSQL's factor of 1024.
std::optional<uint64_t> parse_bytes(std::string_view text);

// In the largest unit that gives a whole number.
std::string format_duration(std::chrono::milliseconds duration);
std::string format_bytes(uint64_t bytes);

}  // namespace walferry
