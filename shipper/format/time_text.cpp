#include "format/time_text.h"

#include <cstring>
#include <limits>

#include "format/digits.h"

namespace walferry {
namespace {

constexpr int64_t kDaysTo2000 = 730'425;  // from 0000-03-01, where the year of the computation below begins

char* word(char* p, const char* text) {
    size_t length = std::strlen(text);
    std::memcpy(p, text, length);
    return p + length;
}

struct Civil {
    int64_t year;  // astronomical: 0 is 1 BC
    uint32_t month;
    uint32_t day;
};

// Proleptic Gregorian calendar; years are counted from March, so that the leap day is a year's last.
Civil civil_of(int64_t days) {
    constexpr int64_t kDaysPerEra = 146'097;  // 400 years
    days += kDaysTo2000;
    int64_t era = (days >= 0 ? days : days - (kDaysPerEra - 1)) / kDaysPerEra;
    auto day_of_era = static_cast<uint32_t>(days - era * kDaysPerEra);
    uint32_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t march_month = (5 * day_of_year + 2) / 153;
    uint32_t month = march_month < 10 ? march_month + 3 : march_month - 9;
    return {year_of_era + era * 400 + (month <= 2 ? 1 : 0), month,
            day_of_year - (153 * march_month + 2) / 5 + 1};
}

char* write_civil(char* p, const Civil& c) {
    int64_t year = c.year > 0 ? c.year : 1 - c.year;
    p = year < 10000 ? write_four(p, static_cast<uint32_t>(year)) : write_integer(p, year);
    *p++ = '-';
    p = write_two(p, c.month);
    *p++ = '-';
    return write_two(p, c.day);
}

// Six digits at most, trailing zeros left out.
char* write_fraction(char* p, uint32_t micros) {
    if (micros == 0) return p;
    *p++ = '.';
    p = write_two(p, micros / 10000);
    p = write_four(p, micros % 10000);
    while (p[-1] == '0') p--;
    return p;
}

// `micros` within a day, or its end.
char* write_clock(char* p, uint64_t micros) {
    auto seconds = static_cast<uint32_t>(micros / 1'000'000);
    p = write_two(p, seconds / 3600);
    *p++ = ':';
    p = write_two(p, seconds / 60 % 60);
    *p++ = ':';
    p = write_two(p, seconds % 60);
    return write_fraction(p, static_cast<uint32_t>(micros % 1'000'000));
}

}  // namespace

char* write_date(char* p, int32_t days) {
    if (days == std::numeric_limits<int32_t>::min()) return word(p, "-infinity");
    if (days == std::numeric_limits<int32_t>::max()) return word(p, "infinity");
    Civil c = civil_of(days);
    p = write_civil(p, c);
    return c.year > 0 ? p : word(p, " BC");
}

char* write_timestamp(char* p, int64_t micros, char separator, const char* zone) {
    if (micros == std::numeric_limits<int64_t>::min()) return word(p, "-infinity");
    if (micros == std::numeric_limits<int64_t>::max()) return word(p, "infinity");
    int64_t days = micros / kMicrosPerDay;
    int64_t rest = micros % kMicrosPerDay;
    if (rest < 0) {
        rest += kMicrosPerDay;
        days--;
    }
    Civil c = civil_of(days);
    p = write_civil(p, c);
    *p++ = separator;
    p = write_clock(p, static_cast<uint64_t>(rest));
    if (zone) p = word(p, zone);
    return c.year > 0 ? p : word(p, " BC");
}

char* write_time(char* p, int64_t micros) {
    if (micros < 0 || micros > kMicrosPerDay) return nullptr;
    return write_clock(p, static_cast<uint64_t>(micros));
}

char* write_timetz(char* p, int64_t micros, int32_t seconds_west) {
    constexpr int32_t kZoneLimit = 16 * 3600;  // PostgreSQL's TZDISP_LIMIT
    if (seconds_west <= -kZoneLimit || seconds_west >= kZoneLimit) return nullptr;
    p = write_time(p, micros);
    if (!p) return nullptr;
    *p++ = seconds_west > 0 ? '-' : '+';
    auto zone = static_cast<uint32_t>(seconds_west > 0 ? seconds_west : -seconds_west);
    p = write_two(p, zone / 3600);
    if (zone % 3600 == 0) return p;
    *p++ = ':';
    p = write_two(p, zone / 60 % 60);
    if (zone % 60 == 0) return p;
    *p++ = ':';
    return write_two(p, zone % 60);
}

char* write_interval(char* p, int64_t micros, int32_t days, int32_t months, bool infinities) {
    using Limit32 = std::numeric_limits<int32_t>;
    using Limit64 = std::numeric_limits<int64_t>;
    if (infinities) {
        if (months == Limit32::max() && days == Limit32::max() && micros == Limit64::max())
            return word(p, "infinity");
        if (months == Limit32::min() && days == Limit32::min() && micros == Limit64::min())
            return word(p, "-infinity");
    }

    bool empty = true;
    bool was_negative = false;
    auto part = [&](int32_t value, const char* unit) {
        if (value == 0) return;
        if (!empty) *p++ = ' ';
        if (was_negative && value > 0) *p++ = '+';
        p = word(write_integer(p, value), unit);
        if (value != 1) *p++ = 's';
        was_negative = value < 0;
        empty = false;
    };
    part(months / 12, " year");
    part(months % 12, " mon");
    part(days, " day");
    if (!empty && micros == 0) return p;

    if (!empty) *p++ = ' ';
    if (micros < 0) {
        *p++ = '-';
    } else if (was_negative) {
        *p++ = '+';
    }
    uint64_t magnitude =
        micros < 0 ? uint64_t(0) - static_cast<uint64_t>(micros) : static_cast<uint64_t>(micros);
    uint64_t hours = magnitude / kMicrosPerHour;
    auto seconds = static_cast<uint32_t>(magnitude % kMicrosPerHour / 1'000'000);
    p = hours < 100 ? write_two(p, static_cast<uint32_t>(hours)) : write_integer(p, hours);
    *p++ = ':';
    p = write_two(p, seconds / 60);
    *p++ = ':';
    p = write_two(p, seconds % 60);
    return write_fraction(p, static_cast<uint32_t>(magnitude % 1'000'000));
}

}  // namespace walferry
