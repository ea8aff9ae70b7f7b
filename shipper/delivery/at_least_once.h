// At least once, with read-back: one idempotent producer. A progress record follows once Kafka has everything
// before it; what stands in the topics after it is found there by the next start. Of a large transaction the
// record says how much is there, so that the next start neither looks for that nor renders it.
#pragma once

#include <chrono>
#include <deque>
#include <optional>

#include "delivery/delivery.h"

namespace walferry {

class AtLeastOnce final : public Delivery {
 public:
    explicit AtLeastOnce(const TaskConfig& config);

    void poll(std::chrono::milliseconds wait) override;
    void tick(const Frontier& frontier, bool now) override;
    void within_group(const Frontier& frontier, const Wait& wait) override;
    bool settled() const override;

 protected:
    bool exactly_once() const override { return false; }
    void start_group(const Wait&) override {}
    void finish_group(const Frontier&) override {}
    void write_base() override;

 private:
    // Everything acknowledged so far has a position that a record covers which has come as far as this.
    struct Offsets {
        Lsn produced;
        std::optional<ProgressRecord::Open> open;
        PartitionOffsets ends;
    };
    // What of the open transaction stands before this group.
    struct Part {
        uint32_t group;
        ProgressRecord::Open open;
    };
    // Of the transaction after tracker_.confirmed(), what Kafka has.
    std::optional<ProgressRecord::Open> acknowledged_part() const;
    bool covered(const Offsets& offsets) const;
    void renew_offsets(const Frontier& frontier);

    std::chrono::milliseconds interval_;
    std::optional<ProgressRecord> in_flight_;
    uint64_t records_produced_ = 0;
    Clock::time_point last_record_;
    uint64_t messages_at_last_ = 0;
    std::optional<Offsets> noted_;
    std::deque<Part> parts_;                    // not acknowledged yet
    std::optional<ProgressRecord::Open> part_;  // the last one that is
    uint64_t messages_at_part_ = 0;
};

}  // namespace walferry
