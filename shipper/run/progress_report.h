// How it goes, for people: one live line on a terminal, a log line now and then elsewhere.
// Thread contract: one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "common/types.h"
#include "run/pipeline.h"

namespace walferry {

class ProgressReport {
 public:
    // `terminal`: standard error is one, so that a line can be overwritten.
    ProgressReport(const Counters& counters, bool terminal);
    ~ProgressReport();

    // A position that the server's log is known to have reached; the largest counts.
    void server_position(Lsn lsn) {
        if (server_ < lsn) server_ = lsn;
    }
    void confirmed(Lsn lsn) { confirmed_ = lsn; }
    // Writes what is due. Cheap when nothing is.
    void tick(const Pipeline& pipeline);
    // Ends the live line, so that a log line can follow.
    void clear();

 private:
    using Clock = std::chrono::steady_clock;

    const Counters& counters_;
    bool terminal_;
    bool line_shown_ = false;
    Clock::time_point last_;
    Counters at_last_;
    Lsn server_;
    Lsn confirmed_;
};

}  // namespace walferry
