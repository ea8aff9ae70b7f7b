#include "config/units.h"

#include <charconv>
#include <limits>
#include <span>

#include <fmt/format.h>

namespace walferry {
namespace {

struct Unit {
    std::string_view name;
    int64_t factor;
};

// From small to large.
constexpr Unit kDurations[] = {{"ms", 1}, {"s", 1000}, {"min", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};
constexpr Unit kSizes[] = {{"B", 1}, {"kB", 1 << 10}, {"MB", 1 << 20}, {"GB", 1 << 30}, {"TB", 1LL << 40}};

std::optional<int64_t> parse(std::string_view text, std::span<const Unit> units) {
    int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || number < 0) return std::nullopt;
    std::string_view rest(end, static_cast<size_t>(text.data() + text.size() - end));
    if (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
    for (const Unit& unit : units) {
        if (rest != unit.name) continue;
        if (number > std::numeric_limits<int64_t>::max() / unit.factor) return std::nullopt;
        return number * unit.factor;
    }
    return std::nullopt;
}

std::string format(int64_t number, std::span<const Unit> units) {
    const Unit* best = &units.front();
    for (const Unit& unit : units) {
        if (number != 0 && number % unit.factor == 0) best = &unit;
    }
    return fmt::format("{}{}", number / best->factor, best->name);
}

}  // namespace

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
    const auto number = parse(text, kDurations);
    if (!number) return std::nullopt;
    return std::chrono::milliseconds(*number);
}

std::optional<uint64_t> parse_bytes(std::string_view text) {
    const auto number = parse(text, kSizes);
    if (!number) return std::nullopt;
    return static_cast<uint64_t>(*number);
}

std::string format_duration(std::chrono::milliseconds duration) {
    return format(duration.count(), kDurations);
}
std::string format_bytes(uint64_t bytes) {
    return format(static_cast<int64_t>(bytes), kSizes);
}

}  // namespace walferry
