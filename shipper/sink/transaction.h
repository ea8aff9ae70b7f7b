// Kafka's transactions on a producer that has a transactional id (SinkOptions::transactional_id).
//
// fence() comes first: it makes every older producer with the same id unable to write, and ends what that one
// had left open. After an error of any of these the producer is of no more use: a new one takes its place,
// and fence() settles what became of the transaction. Nothing is ever committed twice.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "error/error.h"
#include "sink/kafka_sink.h"

namespace walferry {

// Waits at most SinkOptions::request_timeout. `keep_going` is called now and then; false gives up
// (source_stopped).
void fence(KafkaSink& sink, const std::function<bool()>& keep_going);
// Local: takes no time.
void begin_transaction(KafkaSink& sink);
// Gives up what is open, at the end of the process; waits about a second at most. Throws nothing.
void abort_transaction(KafkaSink& sink) noexcept;

// Commits transactions in a thread of its own, one at a time, because a commit takes 20 ms and more.
//
// Thread contract: one thread uses it; it has a second one. Errors: Error, from finished().
class Committer {
 public:
    Committer();
    // Waits for a commit that is under way, at most about a second.
    ~Committer();
    Committer(const Committer&) = delete;
    Committer& operator=(const Committer&) = delete;

    // Of a producer whose messages are all acknowledged. The sink must live until the result is there.
    void commit(KafkaSink& sink);
    bool busy() const { return sink_ != nullptr; }
    // Whether the commit that was under way has succeeded: then the next one may begin. Throws when it
    // failed.
    bool finished();
    // Readable when finished() has something to say.
    int wake_fd() const { return wake_fd_; }

 private:
    void work();

    KafkaSink* sink_ = nullptr;  // being committed
    int wake_fd_ = -1;
    std::mutex mutex_;
    std::condition_variable changed_;
    rd_kafka_s* job_ = nullptr;  // guarded, as what follows
    bool done_ = false;
    bool end_ = false;
    struct Failure {
        int code;
        std::string text;
    };
    std::optional<Failure> failure_;
    std::thread thread_;
};

}  // namespace walferry
