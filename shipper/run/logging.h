// Logs on standard error: lines of text on a terminal, JSON lines elsewhere. Set up once; from any thread
// afterwards. What cannot be written (disk full, closed pipe) is dropped: a log never stops the data.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string_view>
#include <variant>

#include "config/task.h"
#include "error/error.h"

namespace walferry {

struct LogField {
    std::string_view key;
    std::variant<std::string_view, int64_t, uint64_t, double, bool> value;

    LogField(std::string_view k, std::convertible_to<std::string_view> auto const& v)
        : key(k), value(std::string_view(v)) {}
    LogField(std::string_view k, bool v) : key(k), value(v) {}
    LogField(std::string_view k, std::floating_point auto v) : key(k), value(double(v)) {}
    LogField(std::string_view k, std::signed_integral auto v) : key(k), value(int64_t(v)) {}
    LogField(std::string_view k, std::unsigned_integral auto v) : key(k), value(uint64_t(v)) {}
};

using LogFields = std::initializer_list<LogField>;

// Replaces spdlog's default logger, so that whatever is logged through spdlog comes out in the same form.
// Writes to `descriptor`, which stays open and is not owned.
void set_up_logging(const LogConfig& config, int descriptor = 2);

// Whether lines are for people to read rather than JSON.
bool logs_are_text(const LogConfig& config, int descriptor = 2);

void log_debug(std::string_view message, LogFields fields = {});
void log_info(std::string_view message, LogFields fields = {});
void log_warning(std::string_view message, LogFields fields = {});
void log_error(std::string_view message, LogFields fields = {});
// The error's code, reason and remedy become fields.
void log_error(const Error& error);
void log_warning(const Error& error);

}  // namespace walferry
