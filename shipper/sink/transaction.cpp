#include "sink/transaction.h"

#include <cerrno>
#include <chrono>
#include <memory>
#include <system_error>
#include <utility>

#include <librdkafka/rdkafka.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sink/errors.h"

namespace walferry {
namespace {

struct DestroyError {
    void operator()(rd_kafka_error_t* error) const { rd_kafka_error_destroy(error); }
};
using KafkaError = std::unique_ptr<rd_kafka_error_t, DestroyError>;

constexpr int kSliceMs = 500;

}  // namespace

void fence(KafkaSink& sink, const std::function<bool()>& keep_going) {
    const auto deadline = std::chrono::steady_clock::now() + sink.options().request_timeout;
    while (true) {
        const KafkaError error(rd_kafka_init_transactions(sink.handle(), kSliceMs));
        if (!error) return;
        const rd_kafka_resp_err_t code = rd_kafka_error_code(error.get());
        if (!keep_going()) {
            throw Error(ErrorCode::source_stopped, "Stopped while Kafka's coordinator was asked", "",
                        "Nothing is lost: the next start goes on.");
        }
        // A call that timed out goes on in the background; the next one takes it up.
        const bool again = rd_kafka_error_is_retriable(error.get()) != 0;
        if (!again || std::chrono::steady_clock::now() >= deadline)
            throw transaction_error(code, rd_kafka_error_string(error.get()), sink.options());
    }
}

void begin_transaction(KafkaSink& sink) {
    const KafkaError error(rd_kafka_begin_transaction(sink.handle()));
    if (error)
        throw transaction_error(rd_kafka_error_code(error.get()), rd_kafka_error_string(error.get()),
                                sink.options());
}

void abort_transaction(KafkaSink& sink) noexcept {
    constexpr std::chrono::milliseconds kLongest{1000};
    const auto deadline = std::chrono::steady_clock::now() + kLongest;
    sink.purge();
    // The abort would wait for reports that nobody takes.
    while (sink.queued_messages() > 0 && std::chrono::steady_clock::now() < deadline) {
        try {
            static_cast<void>(sink.poll(std::chrono::milliseconds(20)));
        } catch (const Error&) {
            break;  // a producer that failed has nothing to abort: the next one's fence() does
        }
    }
    const KafkaError ignored(rd_kafka_abort_transaction(sink.handle(), static_cast<int>(kLongest.count())));
}

Committer::Committer() : wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    if (wake_fd_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    thread_ = std::thread([this] { work(); });
}

Committer::~Committer() {
    {
        const std::lock_guard lock(mutex_);
        end_ = true;
    }
    changed_.notify_all();
    thread_.join();
    close(wake_fd_);
}

void Committer::commit(KafkaSink& sink) {
    {
        const std::lock_guard lock(mutex_);
        job_ = sink.handle();
        done_ = false;
    }
    sink_ = &sink;
    changed_.notify_all();
}

bool Committer::finished() {
    if (sink_ == nullptr) return true;
    uint64_t wakes;
    static_cast<void>(!read(wake_fd_, &wakes, sizeof wakes));
    std::optional<Failure> failure;
    {
        const std::lock_guard lock(mutex_);
        if (!done_) return false;
        failure = std::exchange(failure_, std::nullopt);
    }
    const KafkaSink& sink = *std::exchange(sink_, nullptr);
    if (failure)
        throw transaction_error(static_cast<rd_kafka_resp_err_t>(failure->code), failure->text,
                                sink.options());
    return true;
}

void Committer::work() {
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, [this] { return end_ || job_ != nullptr; });
        if (job_ == nullptr) return;
        rd_kafka_t* const producer = job_;
        lock.unlock();
        // In slices, so that the process can end meanwhile.
        const KafkaError error(rd_kafka_commit_transaction(producer, kSliceMs));
        lock.lock();
        // Retriable: the same call again finds out what became of it.
        if (error && rd_kafka_error_is_retriable(error.get()) != 0 && !end_) continue;
        if (error) {
            failure_ = {.code = rd_kafka_error_code(error.get()), .text = rd_kafka_error_string(error.get())};
        }
        job_ = nullptr;
        done_ = true;
        constexpr uint64_t kOne = 1;
        static_cast<void>(!write(wake_fd_, &kOne, sizeof kOne));
        if (end_) return;
    }
}

}  // namespace walferry
