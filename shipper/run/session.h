// One connection to the source, from the precheck to its end: moves frames into the pipeline and confirmed
// positions back. Thread contract: one thread; `stop` may be set from anywhere. Errors: Error.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>

#include "config/task.h"
#include "run/kafka_watch.h"
#include "run/pipeline.h"
#include "run/promotion_watch.h"
#include "run/progress_report.h"
#include "run/session_memory.h"
#include "source/replication_stream.h"

namespace walferry {

class Session {
 public:
    // Connects, checks, waits while another shipper has the slot, makes it where it is missing, and starts
    // streaming where `pipeline`, or the progress record, left off.
    Session(const TaskConfig& config, Pipeline& pipeline, ProgressReport& report, SessionMemory& memory,
            const std::atomic<bool>& stop);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    // Streams until `stop`, then drains: the open transaction is finished and everything acknowledged,
    // confirmed, within shutdown.timeout. Throws Error when source or sink fail, and when the time was not
    // enough (kafka_not_drained).
    void run();

 private:
    using Clock = std::chrono::steady_clock;

    Lsn find_start(Connection& connection);
    Lsn begin_pipeline(Connection& connection);
    Lsn resume_pipeline(Connection& connection);
    void stream_until_stopped();
    void begin_drain();
    void finish_transaction();
    void drain();
    void deliver_rows_before();
    void take(const StreamEvent& event);
    void confirm(bool now);
    bool while_blocked();
    bool stay_alive();
    void check_silence();
    void check_kafka();
    void check_pace();
    void look_for_promotion();

    const TaskConfig& config_;
    Pipeline& pipeline_;
    ProgressReport& report_;
    SessionMemory& memory_;
    const std::atomic<bool>& stop_;
    std::unique_ptr<ReplicationStream> stream_;
    Pipeline::WhileBlocked while_blocked_;
    KafkaWatch kafka_;
    PromotionWatch promotion_;
    std::chrono::milliseconds status_interval_;
    Clock::time_point next_status_;
    bool streaming_ = false;  // the start is over
    bool draining_ = false;
    Clock::time_point finish_until_;             // while draining: when to give the open transaction up
    Clock::time_point drain_until_;              // and when to give up
    Clock::time_point pace_since_;               // Kafka's pace is judged from then on,
    Clock::duration blocked_before_{};           // and by how long it has held the pipeline up since
    std::optional<Clock::time_point> asked_at_;  // a reply was asked for and nothing heard since
    Lsn received_;
    Lsn confirmed_;  // last told to the server
};

}  // namespace walferry
