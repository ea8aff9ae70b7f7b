// Counters of one task since its start; never reset.
#pragma once

#include <cstdint>

namespace walferry {

struct Counters {
    uint64_t rows = 0;
    uint64_t transactions = 0;
    uint64_t message_bytes = 0;  // keys and values produced
    int64_t last_commit_unix_ms = 0;
    // Records in whose place something else was sent, by policy.
    uint64_t dead_letters = 0;
    uint64_t split = 0;
    uint64_t claim_checks = 0;
    uint64_t key_only = 0;
};

}  // namespace walferry
