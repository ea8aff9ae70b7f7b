// `walferry tail`: changes on the terminal, through a temporary slot, without Kafka.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace walferry {

struct TailOptions {
    enum class Format { automatic, pretty, canal_json };

    std::string dsn;
    std::vector<std::string> tables;  // patterns, see common/match/pattern.h; empty: every user table
    Format format = Format::automatic;
    uint64_t count = 0;  // stop after this many changes; 0: no limit
};

// Returns the exit status of the process; throws walferry::Error.
int run_tail(const TailOptions& options);

}  // namespace walferry
