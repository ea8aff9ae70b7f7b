#include "progress/progress_record.h"

#include <algorithm>
#include <ctime>

#include <nlohmann/json.hpp>

#include "error/error.h"
#include "position/lsn_text.h"

namespace walferry {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kFormat = 1;
constexpr size_t kGapsKept = 16;

Error format_error(const std::string& from, const std::string& why) {
    return {
        ErrorCode::progress_format, "The progress record in " + from + " cannot be read", why,
        "Nothing else may write to the progress topic. If a record of before stands in it, write that one "
        "again under the task's name; or start once with --accept-gap, which goes on from the slot's own "
        "position."};
}

Lsn lsn_of(const Json& json, const char* name) {
    const auto lsn = parse_lsn(json.at(name).get_ref<const std::string&>());
    if (!lsn) throw std::invalid_argument(std::string(name) + " is not an LSN");
    return *lsn;
}

uint64_t number_of(const std::string& text) {
    size_t end = 0;
    const uint64_t value = std::stoull(text, &end);
    if (end != text.size()) throw std::invalid_argument("a number was expected");
    return value;
}

Json offsets_json(const PartitionOffsets& offsets) {
    Json topics = Json::object();
    for (const auto& [topic, partitions] : offsets) {
        Json& list = topics[topic] = Json::array();
        for (const auto& [partition, offset] : partitions) list.push_back({partition, offset});
    }
    return topics;
}

PartitionOffsets offsets_of(const Json& json) {
    PartitionOffsets offsets;
    for (const auto& [topic, partitions] : json.items()) {
        for (const Json& pair : partitions) {
            const auto partition = pair.at(0).get<int32_t>();
            const auto offset = pair.at(1).get<int64_t>();
            if (partition < 0 || offset < 0) throw std::invalid_argument("a negative offset");
            offsets[topic][partition] = offset;
        }
    }
    return offsets;
}

// In JSON, with what separates it from the next; names of topics need no escapes.
size_t json_bytes(const PartitionOffsets::value_type& topic) {
    size_t bytes = topic.first.size() + std::string_view("\"\":[],").size();
    for (const auto& [partition, offset] : topic.second)
        bytes += std::to_string(partition).size() + std::to_string(offset).size() +
                 std::string_view("[,],").size();
    return bytes;
}

ProgressRecord from_json(const Json& json) {
    ProgressRecord record;
    record.task = json.at("task").get<std::string>();
    const std::string state = json.at("state").get<std::string>();
    if (state != "streaming" && state != "creating") throw std::invalid_argument("an unknown state");
    record.state = state == "creating" ? ProgressRecord::State::creating : ProgressRecord::State::streaming;
    record.exactly_once = json.at("delivery").get<std::string>() == "exactly-once";
    record.tail = json.at("tail").get<bool>();
    record.epoch = json.at("epoch").get<uint64_t>();
    record.sequence = json.at("sequence").get<uint64_t>();
    record.instance = json.at("instance").get<std::string>();
    record.generation = json.at("generation").get<uint64_t>();
    record.system = SystemId{number_of(json.at("system").get_ref<const std::string&>())};
    record.timeline = Timeline{json.at("timeline").get<uint32_t>()};
    record.server_started = json.value("server_started", "");
    record.database = json.at("database").get<std::string>();
    record.slot = json.at("slot").get<std::string>();
    record.position = lsn_of(json, "position");
    record.reread = lsn_of(json, "reread");
    if (const auto open = json.find("open"); open != json.end()) {
        record.open = ProgressRecord::Open{lsn_of(*open, "commit"), Ordinal{open->at("next").get<uint64_t>()},
                                           open->value("deleted", false)};
    }
    if (const auto offsets = json.find("offsets"); offsets != json.end())
        record.offsets = offsets_of(*offsets);
    record.schemas = json.value("schemas", record.schemas);
    record.config = json.value("config", "");
    record.spool = json.value("spool", "");
    record.version = json.value("version", "");
    record.time = json.value("time", "");
    if (const auto gaps = json.find("gaps"); gaps != json.end()) {
        for (const Json& gap : *gaps) {
            record.gaps.push_back({gap.at("reason").get<std::string>(), lsn_of(gap, "from"),
                                   lsn_of(gap, "to"), gap.at("time").get<std::string>()});
        }
    }
    return record;
}

}  // namespace

std::string to_json(const ProgressRecord& record) {
    Json json;
    json["format"] = kFormat;
    json["task"] = record.task;
    json["state"] = record.state == ProgressRecord::State::creating ? "creating" : "streaming";
    json["delivery"] = record.exactly_once ? "exactly-once" : "at-least-once";
    json["tail"] = record.tail;
    json["epoch"] = record.epoch;
    json["sequence"] = record.sequence;
    json["instance"] = record.instance;
    json["generation"] = record.generation;
    json["system"] = std::to_string(record.system.value);
    json["timeline"] = record.timeline.value;
    if (!record.server_started.empty()) json["server_started"] = record.server_started;
    json["database"] = record.database;
    json["slot"] = record.slot;
    json["position"] = lsn_text(record.position);
    json["reread"] = lsn_text(record.reread);
    if (record.open) {
        json["open"] = {{"commit", lsn_text(record.open->commit)}, {"next", record.open->next.value}};
        if (record.open->deleted) json["open"]["deleted"] = true;
    }
    if (!record.offsets.empty()) json["offsets"] = offsets_json(record.offsets);
    if (!record.schemas.empty()) json["schemas"] = record.schemas;
    json["config"] = record.config;
    if (!record.spool.empty()) json["spool"] = record.spool;
    if (!record.gaps.empty()) {
        Json& gaps = json["gaps"] = Json::array();
        const size_t first = record.gaps.size() < kGapsKept ? 0 : record.gaps.size() - kGapsKept;
        for (size_t i = first; i < record.gaps.size(); ++i) {
            const AcceptedGap& gap = record.gaps[i];
            gaps.push_back({{"reason", gap.reason},
                            {"from", lsn_text(gap.from)},
                            {"to", lsn_text(gap.to)},
                            {"time", gap.time}});
        }
    }
    json["version"] = record.version;
    json["time"] = record.time;
    // A name that is not UTF-8 must not make the record fail.
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void bound_offsets(PartitionOffsets& offsets, size_t most_bytes, const OffsetChanges& changes) {
    struct Topic {
        uint64_t changed;
        size_t bytes;
        PartitionOffsets::iterator place;
    };
    size_t bytes = 0;
    for (const auto& topic : offsets) bytes += json_bytes(topic);
    if (bytes <= most_bytes) return;
    std::vector<Topic> topics;
    topics.reserve(offsets.size());
    for (auto place = offsets.begin(); place != offsets.end(); ++place) {
        const auto changed = changes.find(place->first);
        topics.push_back({changed == changes.end() ? 0 : changed->second, json_bytes(*place), place});
    }
    std::stable_sort(topics.begin(), topics.end(),
                     [](const Topic& a, const Topic& b) { return a.changed < b.changed; });
    for (const Topic& topic : topics) {
        if (bytes <= most_bytes) break;
        bytes -= topic.bytes;
        offsets.erase(topic.place);
    }
}

ProgressRecord parse_progress_record(std::string_view text, const std::string& from) {
    Json json;
    try {
        json = Json::parse(text);
        const int format = json.at("format").get<int>();
        if (format > kFormat || format < 1) {
            throw Error(ErrorCode::progress_version,
                        "The progress record in " + from + " has format " + std::to_string(format),
                        "This walferry reads format " + std::to_string(kFormat) +
                            "; the record is of version " + json.value("version", "?") + ".",
                        "Use that version or a later one.");
        }
        return from_json(json);
    } catch (const nlohmann::json::exception& exception) {
        throw format_error(from, exception.what());
    } catch (const std::logic_error& exception) {  // of the conversions above
        throw format_error(from, exception.what());
    }
}

ProgressRecord combined(const ProgressRecord& a, const ProgressRecord& b) {
    const ProgressRecord& newer = later(a, b) ? a : b;
    const ProgressRecord& older = later(a, b) ? b : a;
    if (newer.generation != older.generation) return newer.generation > older.generation ? newer : older;
    // A part of the transaction after the position counts, too.
    const auto behind = [](const ProgressRecord& one, const ProgressRecord& other) {
        if (one.position != other.position) return one.position < other.position;
        const uint64_t mine = one.open ? one.open->next.value : 0;
        return mine < (other.open ? other.open->next.value : 0);
    };
    if (!behind(newer, older)) return newer;
    ProgressRecord result = older;
    result.epoch = newer.epoch;
    result.sequence = newer.sequence;
    result.offsets = newer.offsets;
    result.exactly_once = newer.exactly_once;
    result.tail = newer.tail || older.tail;
    return result;
}

std::string utc_now() {
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    gmtime_r(&now, &parts);
    char text[32];
    const size_t length = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return {text, length};
}

}  // namespace walferry
