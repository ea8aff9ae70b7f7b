#include "run/logging.h"

#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <ctime>
#include <memory>
#include <mutex>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <spdlog/formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include "config/text.h"

namespace walferry {
namespace {

using Json = nlohmann::ordered_json;

// spdlog has no fields. Its formatter runs within the call that logs, on the same thread, so they reach it
// this way.
thread_local const LogFields* current_fields = nullptr;

std::string_view level_name(spdlog::level::level_enum level) {
    switch (level) {
        case spdlog::level::trace:
        case spdlog::level::debug:
            return "debug";
        case spdlog::level::info:
            return "info";
        case spdlog::level::warn:
            return "warning";
        default:
            return "error";
    }
}

// In UTC, as RFC 3339 has it.
std::string timestamp(spdlog::log_clock::time_point time) {
    using namespace std::chrono;
    const auto ms = duration_cast<milliseconds>(time.time_since_epoch()).count();
    const std::time_t seconds = ms / 1000;
    std::tm parts{};
    gmtime_r(&seconds, &parts);
    return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                       parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, ms % 1000);
}

// JSON itself leaves some of the control characters that a terminal obeys as they are.
std::string dump(const Json& json) {
    return printable(json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

void append(spdlog::memory_buf_t& out, std::string_view text) {
    out.append(text.data(), text.data() + text.size());
}

class JsonFormatter final : public spdlog::formatter {
 public:
    void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
        Json line;
        line["ts"] = timestamp(message.time);
        line["level"] = level_name(message.level);
        line["msg"] = std::string_view(message.payload.data(), message.payload.size());
        if (current_fields != nullptr && current_fields->size() > 0) {
            Json& fields = line["fields"] = Json::object();
            for (const LogField& field : *current_fields)
                std::visit([&](auto value) { fields[std::string(field.key)] = value; }, field.value);
        }
        append(out, dump(line));
        append(out, "\n");
    }

    std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(); }
};

std::string field_text(const LogField& field) {
    if (const auto* text = std::get_if<std::string_view>(&field.value)) {
        const bool is_plain = !text->empty() && text->find_first_of(" =\"") == text->npos;
        return is_plain ? printable(*text) : dump(*text);
    }
    return std::visit([](auto value) { return fmt::format("{}", value); }, field.value);
}

class TextFormatter final : public spdlog::formatter {
 public:
    void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
        const std::string_view text(message.payload.data(), message.payload.size());
        append(out, fmt::format("{} {:<7} ", timestamp(message.time), level_name(message.level)));
        append(out, printable(text));
        if (current_fields != nullptr) {
            for (const LogField& field : *current_fields)
                append(out, fmt::format(" {}={}", field.key, field_text(field)));
        }
        append(out, "\n");
    }

    std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<TextFormatter>(); }
};

// One write per line, so that lines of several threads and processes do not mix.
class DescriptorSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
    explicit DescriptorSink(int descriptor) : descriptor_(descriptor), terminal_(::isatty(descriptor) == 1) {}

 protected:
    void sink_it_(const spdlog::details::log_msg& message) override {
        spdlog::memory_buf_t line;
        // The live line of run/progress_report.h may stand there.
        if (terminal_) append(line, "\r\x1b[K");
        formatter_->format(message, line);
        const char* at = line.data();
        size_t left = line.size();
        while (left > 0) {
            const ssize_t written = ::write(descriptor_, at, left);
            if (written < 0 && errno == EINTR) continue;
            if (written <= 0) return;
            at += written;
            left -= static_cast<size_t>(written);
        }
    }
    void flush_() override {}

 private:
    int descriptor_;
    bool terminal_;
};

spdlog::level::level_enum to_spdlog(LogLevel level) {
    switch (level) {
        case LogLevel::debug:
            return spdlog::level::debug;
        case LogLevel::info:
            return spdlog::level::info;
        case LogLevel::warning:
            return spdlog::level::warn;
        case LogLevel::error:
            return spdlog::level::err;
    }
    return spdlog::level::info;
}

void log(spdlog::level::level_enum level, std::string_view message, const LogFields& fields) {
    current_fields = &fields;
    spdlog::log(level, spdlog::string_view_t(message.data(), message.size()));
    current_fields = nullptr;
}

void log(spdlog::level::level_enum level, const Error& error) {
    const std::string_view code = info(error.code()).code;
    if (error.why().empty()) {
        log(level, error.happened(), {{"code", code}, {"remedy", error.remedy()}});
    } else {
        log(level, error.happened(), {{"code", code}, {"why", error.why()}, {"remedy", error.remedy()}});
    }
}

}  // namespace

bool logs_are_text(const LogConfig& config, int descriptor) {
    return config.format == LogFormat::text ||
           (config.format == LogFormat::automatic && ::isatty(descriptor) == 1);
}

void set_up_logging(const LogConfig& config, int descriptor) {
    const bool is_text = logs_are_text(config, descriptor);
    auto logger = std::make_shared<spdlog::logger>("walferry", std::make_shared<DescriptorSink>(descriptor));
    if (is_text) {
        logger->set_formatter(std::make_unique<TextFormatter>());
    } else {
        logger->set_formatter(std::make_unique<JsonFormatter>());
    }
    logger->set_level(to_spdlog(config.level));
    // The default handler writes to standard error too, which is what has just failed.
    logger->set_error_handler([](const std::string&) {});
    spdlog::set_default_logger(std::move(logger));
}

void log_debug(std::string_view message, LogFields fields) {
    log(spdlog::level::debug, message, fields);
}
void log_info(std::string_view message, LogFields fields) {
    log(spdlog::level::info, message, fields);
}
void log_warning(std::string_view message, LogFields fields) {
    log(spdlog::level::warn, message, fields);
}
void log_error(std::string_view message, LogFields fields) {
    log(spdlog::level::err, message, fields);
}
void log_error(const Error& error) {
    log(spdlog::level::err, error);
}
void log_warning(const Error& error) {
    log(spdlog::level::warn, error);
}

}  // namespace walferry
