#include "delivery/at_least_once.h"

#include <algorithm>
#include <utility>

#include "fail_point/fail_point.h"

namespace walferry {
namespace {

// The tail that a start after a crash reads is what was produced in about two of these, or twice that many
// messages.
constexpr std::chrono::milliseconds kLongestInterval{500};
constexpr uint64_t kMostMessages = 100'000;

}  // namespace

AtLeastOnce::AtLeastOnce(const TaskConfig& config)
    : Delivery(config, {sink_options(config)}),
      interval_(std::min(kLongestInterval, std::chrono::milliseconds(config.source.status_interval_ms))) {
    active_->note_offsets(true);
}

bool AtLeastOnce::settled() const {
    return tracker_.outstanding() == 0 && !in_flight_ && tracker_.confirmed() <= recorded_.position;
}

void AtLeastOnce::write_base() {
    produce_record(base());
    ++records_produced_;
    while (active_->progress_records() < records_produced_) {
        poll(std::chrono::milliseconds(20));
        if (!keep_going_()) {
            throw Error(ErrorCode::source_stopped, "Stopped while Kafka took no progress record",
                        active_->last_error(), "Nothing is lost: the next start goes on.");
        }
    }
}

void AtLeastOnce::poll(std::chrono::milliseconds wait) {
    take(active_->poll(wait));
    for (; !parts_.empty() && tracker_.done_before(parts_.front().group); parts_.pop_front())
        part_ = parts_.front().open;
    if (in_flight_ && active_->progress_records() == records_produced_) {
        WALFERRY_FAIL_POINT("progress_acknowledged");
        recorded_ = std::move(*in_flight_);
        in_flight_.reset();
    }
}

void AtLeastOnce::within_group(const Frontier& frontier, const Wait&) {
    // What has brought nothing may as well not come again.
    const bool begun = frontier.open && (frontier.open->next != Ordinal{} || frontier.open->deleted);
    if (begun && messages_ != messages_at_part_) {
        messages_at_part_ = messages_;
        parts_.push_back({divide_group(), *frontier.open});
    }
    tick(frontier, false);
}

// A record that has come no further than the last one must not take back what that one says.
std::optional<ProgressRecord::Open> AtLeastOnce::acknowledged_part() const {
    const Lsn reached = tracker_.confirmed();
    if (part_ && reached <= part_->commit) return part_;
    return reached == recorded_.position ? recorded_.open : std::nullopt;
}

bool AtLeastOnce::covered(const Offsets& offsets) const {
    const Lsn reached = tracker_.confirmed();
    if (!offsets.open) return offsets.produced <= reached;
    if (offsets.open->commit < reached) return true;
    const std::optional<ProgressRecord::Open> part = acknowledged_part();
    // Past the change that may have been produced in part.
    return part && part->commit == offsets.open->commit && offsets.open->next < part->next;
}

// An offset serves as a place to begin reading once everything that stands before it is covered by the
// record: so what is noted now serves a record that comes later. What was found there, not written, stands
// before what is written now, so that has to be passed first. (recovering() lasts for as long as a topic may
// come that was not looked at: all of a backlog.)
void AtLeastOnce::renew_offsets(const Frontier& frontier) {
    if (noted_ && covered(*noted_)) {
        note_offsets(noted_->ends);
        noted_.reset();
    }
    if (noted_ || !past_what_was_found(frontier)) return;
    noted_.emplace();
    noted_->produced = frontier.produced;
    noted_->open = frontier.open;
    for (const auto& [topic, ends] : topics().offsets()) {
        for (size_t partition = 0; partition < ends.size(); ++partition) {
            if (ends[partition] >= 0) noted_->ends[topic][static_cast<int32_t>(partition)] = ends[partition];
        }
    }
}

void AtLeastOnce::tick(const Frontier& frontier, bool now) {
    if (!begun() || in_flight_) return;
    const Lsn reached = tracker_.confirmed();
    const Lsn slot = std::min(reached, frontier.held);
    const std::optional<ProgressRecord::Open> part = acknowledged_part();
    const bool further = part && (!recorded_.open || recorded_.open->next < part->next);
    if (reached <= recorded_.position && slot <= recorded_.confirmed() && !further) return;
    const Clock::time_point time = Clock::now();
    if (!now && time - last_record_ < interval_ && messages_ - messages_at_last_ < kMostMessages) return;
    last_record_ = time;
    messages_at_last_ = messages_;
    renew_offsets(frontier);
    // What else is open is found by reading back.
    ProgressRecord record = record_of({.produced = reached, .open = part, .held = frontier.held});
    WALFERRY_FAIL_POINT("progress_before_produce");
    produce_record(record);
    ++records_produced_;
    in_flight_ = std::move(record);
    WALFERRY_FAIL_POINT("progress_after_produce");
}

}  // namespace walferry
