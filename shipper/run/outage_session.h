// One connection to the source while Kafka is away, or has just come back: frames go to the outage log, and
// from there to Kafka. The source is confirmed what the log has made durable.
//
//   no pipeline       Kafka is away: another thread tries to reach it
//   a pipeline        the log is read from its first frame that Kafka may lack; what is recorded is released
//   an empty log      over: the pipeline goes on with a plain Session
//
// Transactions come whole and in commit order: without streaming and decoding at PREPARE.
//
// The stream is read all the time: what waits for Kafka either does so in another thread, or serves the
// stream meanwhile.
//
// Thread contract: one thread, but for those that wait for Kafka and that end a lost pipeline. Errors: Error;
// those of retry class `sink` are met here, by a new pipeline.
#pragma once

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <optional>

#include "config/task.h"
#include "record/frame_walker.h"
#include "run/kafka_watch.h"
#include "run/pipeline.h"
#include "run/progress_report.h"
#include "run/session_memory.h"
#include "run/start_check.h"
#include "source/backoff.h"
#include "source/replication_stream.h"
#include "spool/outage_log.h"

namespace walferry {

class OutageSession {
 public:
    // `pipeline`: one of which Kafka takes nothing any more, or null; the one that has drained the log when
    // run() returns.
    OutageSession(const TaskConfig& config, OutageLog& log, std::unique_ptr<Pipeline>& pipeline,
                  Counters& counters, ProgressReport& report, SessionMemory& memory,
                  const std::atomic<bool>& stop);
    ~OutageSession();
    OutageSession(const OutageSession&) = delete;
    OutageSession& operator=(const OutageSession&) = delete;

    // Until the log is empty and Kafka has everything, or `stop`.
    void run();

 private:
    using Clock = std::chrono::steady_clock;
    struct NoPreparation {};

    void require_same_history() const;
    bool serve_source(std::chrono::milliseconds wait);
    bool while_blocked();
    void take(std::span<const uint8_t> frame);
    void synchronise();
    void confirm(bool now);
    void look_for_kafka();
    void begin_pipeline();
    void drain();
    void deliver(const OutageLog::Item& item);
    void watch_kafka();
    void lose_pipeline(const Error& error);
    void end_pipeline();
    void tell();

    const TaskConfig& config_;
    OutageLog& log_;
    std::unique_ptr<Pipeline>& pipeline_;
    Counters& counters_;
    ProgressReport& report_;
    SessionMemory& memory_;
    const std::atomic<bool>& stop_;
    StartFacts facts_;
    std::unique_ptr<ReplicationStream> stream_;
    FrameWalker<NoPreparation> walker_;
    std::optional<OutageLog::Reader> reader_;
    std::future<std::unique_ptr<Pipeline>> kafka_;  // while it is looked for
    std::future<void> ending_;                      // of a pipeline that was lost
    KafkaWatch watch_;
    Backoff backoff_;
    Clock::time_point look_again_;
    Pipeline::WhileBlocked while_blocked_;
    std::chrono::milliseconds status_interval_;
    Clock::time_point next_status_;
    Clock::time_point next_sync_;
    Clock::time_point next_line_;
    bool continues_ = false;  // the log held something at the start
    bool unsynchronised_ = false;
    bool room_ = true;
    bool paused_ = false;  // Kafka has nearly caught up: nothing more goes into the log
    Lsn recorded_;         // by Kafka, since
    Clock::time_point recorded_at_;
    bool drained_ = false;
    bool mid_transaction_ = false;     // a transaction in the log lacks its end
    std::optional<OwnFrame> waiting_;  // a frame that has come, for which the log had no room
    Lsn seen_;                         // commit LSN of the last transaction that was begun
    Lsn received_;
    Lsn idle_to_;  // nothing that ends before is still to come
    Clock::time_point next_advance_;
    Lsn confirmed_;
};

}  // namespace walferry
