// At least once, with read-back: one idempotent producer. A progress record follows once Kafka has everything
// before it; what stands in the topics after it is found there by the next start.
#pragma once

#include <chrono>
#include <optional>

#include "delivery/delivery.h"

namespace walferry {

class AtLeastOnce final : public Delivery {
 public:
    explicit AtLeastOnce(const TaskConfig& config);

    void poll(std::chrono::milliseconds wait) override;
    void tick(const Frontier& frontier, bool now) override;
    bool settled() const override;

 protected:
    bool exactly_once() const override { return false; }
    void start_group(const Wait&) override {}
    void finish_group(const Frontier&) override {}
    void write_base() override;

 private:
    // Everything acknowledged so far has a position before `bound`.
    struct Offsets {
        Lsn bound;
        PartitionOffsets ends;
    };
    void note_offsets(const Frontier& frontier);

    std::chrono::milliseconds interval_;
    std::optional<ProgressRecord> in_flight_;
    uint64_t records_produced_ = 0;
    Clock::time_point last_record_;
    uint64_t messages_at_last_ = 0;
    std::optional<Offsets> noted_;
};

}  // namespace walferry
