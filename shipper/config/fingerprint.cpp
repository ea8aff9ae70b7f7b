#include "config/fingerprint.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "common/wire/crc32c.h"
#include "config/settings.h"

namespace walferry {
namespace {

// What decides how, and not what.
constexpr std::array<std::string_view, 11> kOther = {
    "sink.brokers",         "sink.kafka",       "sink.queue_bytes",      "sink.delivery",
    "sink.commit_interval", "sink.commit_rows", "sink.commit_bytes",     "sink.progress_topic",
    "sink.create_topics",   "sink.headers",     "sink.topic_replication"};

}  // namespace

std::string config_fingerprint(const TaskConfig& config) {
    TaskConfig copy = config;
    std::string text;
    const auto append = [&](std::string_view prefix, TableConfig& table) {
        for (const Setting& setting : settings()) {
            if (!setting.path.starts_with(prefix) || setting.secret ||
                std::find(kOther.begin(), kOther.end(), setting.path) != kOther.end())
                continue;
            text += fmt::format("{}={}\n", setting.path, format_value(setting, copy, table));
        }
    };
    TableConfig none;
    append("sink.", none);
    append("source.tables", none);
    append("source.operations", none);
    append("source.publish_via_root", none);
    append("source.origin", none);
    append("source.messages", none);
    for (TableConfig& table : copy.tables) append("table.", table);
    return fmt::format("{:08x}", wire::crc32c(0, reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

}  // namespace walferry
