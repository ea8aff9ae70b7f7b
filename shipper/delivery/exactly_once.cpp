#include "delivery/exactly_once.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "fail_point/fail_point.h"

namespace walferry {
namespace {

using std::chrono::milliseconds;

// While the task is so far behind, latency counts for less than the commits' cost. With few messages it is
// slow for another reason, or the clocks differ.
constexpr int64_t kBehindMs = 1000;
constexpr uint64_t kManyMessages = 10'000;
constexpr int kBehindFactor = 10;
// Between two transactions nothing is produced until Kafka has all of the first one's messages: the farther
// behind, the seldomer. commit_rows and commit_bytes bound it.
constexpr int kBehindPart = 2;
// Part of transaction.timeout.ms that a transaction may be open: the rest is for its commit.
constexpr int kTimeoutPart = 2;
constexpr milliseconds kTransactionTimeout{60'000};
constexpr milliseconds kStep{20};

milliseconds transaction_timeout(const TaskConfig& config) {
    const auto found = config.sink.kafka.find("transaction.timeout.ms");
    if (found == config.sink.kafka.end()) return kTransactionTimeout;
    return milliseconds(std::strtoll(found->second.c_str(), nullptr, 10));
}

void watch(int epoll, int descriptor) {
    epoll_event event{};
    event.events = EPOLLIN;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) != 0)
        throw std::system_error(errno, std::generic_category(), "epoll_ctl");
}

}  // namespace

std::vector<SinkOptions> ExactlyOnce::producers(const TaskConfig& config) {
    std::vector<SinkOptions> producers(2, sink_options(config));
    for (size_t i = 0; i < producers.size(); ++i)
        producers[i].transactional_id = "walferry-" + config.name + "-" + std::to_string(i);
    return producers;
}

ExactlyOnce::ExactlyOnce(const TaskConfig& config)
    : Delivery(config, producers(config)),
      wake_fd_(epoll_create1(EPOLL_CLOEXEC)),
      longest_(transaction_timeout(config) / kTimeoutPart),
      interval_(std::min(config.sink.commit_interval, longest_)),
      idle_interval_(std::max<milliseconds>(interval_, milliseconds(config.source.status_interval_ms))) {
    if (wake_fd_ < 0) throw std::system_error(errno, std::generic_category(), "epoll_create1");
    for (const auto& sink : sinks_) watch(wake_fd_, sink->wake_fd());
    watch(wake_fd_, committer_.wake_fd());
}

ExactlyOnce::~ExactlyOnce() {
    // What is open would hide later messages from readers until its time is over.
    if (open_) abort_transaction(*active_);
    ::close(wake_fd_);
}

bool ExactlyOnce::settled() const {
    if (closing_ || committing_) return false;
    return in_group() || (!open_ && tracker_.confirmed() <= recorded_.position);
}

void ExactlyOnce::divide(const Frontier& frontier) {
    if (open_ && !closing_ && in_group()) close_within(frontier);
}

void ExactlyOnce::close_within(Frontier part) {
    // Nothing of the transaction is there yet: then it may as well never come, if its table is left out.
    if (part.open && part.open->next == Ordinal{} && !part.open->deleted) part.open.reset();
    close(part);
}

void ExactlyOnce::begin_transaction() {
    WALFERRY_FAIL_POINT("kafka_begin_transaction");
    walferry::begin_transaction(*active_);
    open_ = true;
    stays_open_ = interval_;
    opened_at_ = Clock::now();
    messages_ = bytes_ = 0;
}

void ExactlyOnce::start_group(const Wait& wait) {
    while (closing_) wait();
    if (!open_) begin_transaction();
}

// A transaction that is closed waits for the other producer's commit, and so does all that comes next: until
// that one is over, more may as well go into this one.
bool ExactlyOnce::due(const Frontier& frontier) {
    if (messages_ >= static_cast<uint64_t>(config_.sink.commit_rows) ||
        bytes_ >= config_.sink.commit_bytes.value)
        return true;
    stays_open_ = interval_;
    if (frontier.behind_ms > kBehindMs && messages_ >= kManyMessages)
        stays_open_ = std::max(interval_ * kBehindFactor, milliseconds(frontier.behind_ms) / kBehindPart);
    return Clock::now() >= due_at();
}

ExactlyOnce::Clock::time_point ExactlyOnce::due_at() const {
    // The last transaction of the source that comes into it is to find room for a while.
    return opened_at_ + (committing_ ? longest_ : std::min(stays_open_, longest_ / 2));
}

void ExactlyOnce::finish_group(const Frontier& frontier) {
    if (due(frontier)) close(frontier);
}

void ExactlyOnce::within_group(const Frontier& frontier, const Wait& wait) {
    if (Clock::now() - opened_at_ < longest_) return;
    close_within(frontier);
    while (closing_) wait();
    begin_transaction();
}

void ExactlyOnce::close(const Frontier& frontier) {
    ProgressRecord record = record_of(frontier);
    WALFERRY_FAIL_POINT("progress_before_produce");
    produce_record(record);
    closing_record_ = std::move(record);
    closing_ = true;
    closed_at_ = Clock::now();
    WALFERRY_FAIL_POINT("progress_after_produce");
    WALFERRY_FAIL_POINT("kafka_flush_before");
    advance();
}

void ExactlyOnce::advance() {
    if (committing_ && committer_.finished()) {
        recorded_ = std::move(*committing_);
        committing_.reset();
        WALFERRY_FAIL_POINT("kafka_commit_after");
    }
    if (!closing_ || committing_ || active_->queued_messages() > 0) return;
    WALFERRY_FAIL_POINT("kafka_commit_before");
    committer_.commit(*active_);
    commit_began_ = Clock::now();
    committing_ = std::exchange(closing_record_, std::nullopt);
    open_ = closing_ = false;
    active_index_ = 1 - active_index_;
    active_ = sinks_[active_index_].get();
}

milliseconds ExactlyOnce::commit_waits_for() const {
    if (!committing_) return milliseconds(0);
    return std::chrono::duration_cast<milliseconds>(Clock::now() - commit_began_);
}

void ExactlyOnce::poll(milliseconds wait) {
    if (wait.count() > 0) {
        std::array<epoll_event, 1> events{};
        static_cast<void>(epoll_wait(wake_fd_, events.data(), 1, static_cast<int>(wait.count())));
    }
    for (const auto& sink : sinks_) take(sink->poll());
    advance();
}

void ExactlyOnce::tick(const Frontier& frontier, bool now) {
    if (!begun()) return;
    advance();
    if (closing_ || in_group()) return;
    if (!open_) {
        const Lsn known = committing_ ? committing_->position : recorded_.position;
        const Lsn known_slot = committing_ ? committing_->confirmed() : recorded_.confirmed();
        const Lsn slot = std::min(frontier.produced, frontier.held);
        if (frontier.produced <= known && slot <= known_slot) return;
        if (!now && Clock::now() - closed_at_ < idle_interval_) return;
        begin_transaction();
        close(frontier);
    } else if (now || due(frontier)) {
        close(frontier);
    }
}

std::optional<Delivery::Clock::time_point> ExactlyOnce::next_tick() const {
    if (!open_ || closing_ || in_group()) return std::nullopt;
    return due_at();
}

void ExactlyOnce::write_base() {
    begin_transaction();
    produce_record(base());
    closing_record_ = base();
    closing_ = true;
    while (closing_ || committing_) {
        poll(kStep);
        if (!keep_going_()) {
            throw Error(ErrorCode::source_stopped, "Stopped while Kafka took no progress record",
                        active_->last_error(), "Nothing is lost: the next start goes on.");
        }
    }
}

}  // namespace walferry
