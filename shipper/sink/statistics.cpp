#include "sink/statistics.h"

#include <string>

#include <nlohmann/json.hpp>

namespace walferry {
namespace {

using Json = nlohmann::json;

// The document is {..., "brokers": {NAME: {"nodeid": N, "state": "UP", "toppars": {...}}}, "topics": {...},
// ...}. Handlers return false to stop.
class BrokerReader {
 public:
    BrokerCount count;

    bool key(std::string& name) {
        if (depth_ == 1) {
            if (in_brokers_) return false;  // past them
            in_brokers_ = name == "brokers";
        }
        if (depth_ == 3) key_ = name;
        return true;
    }
    bool start_object(size_t) {
        ++depth_;
        if (in_brokers_ && depth_ == 3) node_id_ = -1, up_ = false;
        return true;
    }
    bool end_object() {
        if (in_brokers_ && depth_ == 3 && node_id_ >= 0) {
            ++count.known;
            if (up_) ++count.up;
        }
        --depth_;
        return true;
    }
    bool number_integer(int64_t value) { return number(value); }
    bool number_unsigned(uint64_t value) { return number(static_cast<int64_t>(value)); }
    bool string(std::string& value) {
        // UPDATE: up, with a metadata refresh under way.
        if (in_brokers_ && depth_ == 3 && key_ == "state") up_ = value == "UP" || value == "UPDATE";
        return true;
    }
    bool start_array(size_t) { return ++depth_, true; }
    bool end_array() { return --depth_, true; }
    bool null() { return true; }
    bool boolean(bool) { return true; }
    bool number_float(double, const std::string&) { return true; }
    bool binary(Json::binary_t&) { return true; }
    bool parse_error(size_t, const std::string&, const nlohmann::detail::exception&) { return false; }

 private:
    bool number(int64_t value) {
        if (in_brokers_ && depth_ == 3 && key_ == "nodeid") node_id_ = value;
        return true;
    }

    int depth_ = 0;
    bool in_brokers_ = false;
    std::string key_;
    int64_t node_id_ = -1;
    bool up_ = false;
};

}  // namespace

BrokerCount parse_brokers(std::string_view statistics_json) {
    BrokerReader reader;
    Json::sax_parse(statistics_json.begin(), statistics_json.end(), &reader);
    return reader.count;
}

}  // namespace walferry
