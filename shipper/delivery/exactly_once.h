// Exactly once: whole transactions of the source and one progress record in each transaction of Kafka.
//
// A producer that commits cannot produce, and a commit takes 20 ms and more. So there are two in turn: B
// begins to produce when Kafka has all of A's messages, which keeps their order within each partition, and B
// is committed only after A has been, so that what is committed has no holes. A transaction of Kafka ends at
// the end of one of the source, after sink.commit_interval at the earliest; only one that is so large that
// its time runs out is divided, and then the progress record says how much of it is there.
#pragma once

#include <chrono>
#include <optional>
#include <vector>

#include <unistd.h>

#include "delivery/delivery.h"
#include "sink/transaction.h"

namespace walferry {

class ExactlyOnce final : public Delivery {
 public:
    explicit ExactlyOnce(const TaskConfig& config);
    ~ExactlyOnce() override;

    // The producers that an instance of the task has.
    static std::vector<SinkOptions> producers(const TaskConfig& config);

    void poll(std::chrono::milliseconds wait) override;
    void tick(const Frontier& frontier, bool now) override;
    void within_group(const Frontier& frontier, const Wait& wait) override;
    std::optional<Clock::time_point> next_tick() const override;
    int wake_fd() const override { return wake_fd_; }
    bool settled() const override;
    void divide(const Frontier& frontier) override;
    std::chrono::milliseconds commit_waits_for() const override;

 protected:
    bool exactly_once() const override { return true; }
    void start_group(const Wait& wait) override;
    void finish_group(const Frontier& frontier) override;
    void write_base() override;

 private:
    void begin_transaction();
    // Ends the active producer's transaction with a progress record.
    void close(const Frontier& frontier);
    void close_within(Frontier part);
    // Goes on with what has been waited for.
    void advance();
    bool due(const Frontier& frontier);
    // When the open transaction is to end, unless it has become large by then.
    Clock::time_point due_at() const;

    Committer committer_;
    int wake_fd_ = -1;  // an epoll: readable when one of the others is

    bool open_ = false;                             // the active producer has a transaction
    bool closing_ = false;                          // it takes no more: its messages are being acknowledged
    std::optional<ProgressRecord> closing_record_;  // its record
    std::optional<ProgressRecord> committing_;      // of the other producer, whose commit is under way
    std::chrono::milliseconds stays_open_{};        // interval_, or longer while the task is behind
    Clock::time_point opened_at_;
    Clock::time_point closed_at_;
    Clock::time_point commit_began_;
    std::chrono::milliseconds longest_;  // that a transaction may be open
    std::chrono::milliseconds interval_;
    std::chrono::milliseconds idle_interval_;
};

}  // namespace walferry
