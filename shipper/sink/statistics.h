// What the sink knows about its own state, for metrics and the status line.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace walferry {

struct BrokerCount {
    uint32_t known = 0;  // with an id of their own; the addresses of the task file do not count
    uint32_t up = 0;
};

struct SinkStatistics {
    size_t queued_messages = 0;  // produced and not acknowledged
    size_t queued_bytes = 0;     // as counted against SinkOptions::queue_bytes
    uint64_t acknowledged_messages = 0;
    uint64_t acknowledged_bytes = 0;  // keys and values
    BrokerCount brokers;              // as of librdkafka's last statistics (statistics.interval.ms)
};

// Reads the broker states from librdkafka's statistics document and stops before its part per topic, which
// can be megabytes long. A document that is not as expected gives what was found up to there.
BrokerCount parse_brokers(std::string_view statistics_json);

}  // namespace walferry
