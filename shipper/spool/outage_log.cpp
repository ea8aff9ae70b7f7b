#include "spool/outage_log.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "fail_point/fail_point.h"
#include "common/wire/frame.h"
#include "common/wire/frame_writer.h"
#include "spool/outage_log_codec.h"

namespace walferry {
namespace {

namespace fs = std::filesystem;
using namespace outage_log;

// The system is asked to write in portions of this size.
constexpr uint64_t kWriteBack = uint64_t(8) << 20;

bool is_want_of_room(int error) {
    return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

}  // namespace

struct OutageLog::Introduction {
    EntryType type;
    uint8_t flags;
    std::vector<uint8_t> own;       // of a session
    std::optional<OwnFrame> frame;  // of relations

    std::span<const uint8_t> payload() const { return frame ? frame->bytes() : std::span(own); }
};

Error OutageLog::failed(const std::string& what, const fs::path& path, const std::string& why) const {
    return {ErrorCode::outage_log_failed, what + " " + path.string(), why,
            "Everything up to " + text_of(durable_end_) +
                " is safe in the outage log, and nothing later was confirmed to the server. Mend the disk or "
                "its permissions, and start again: the log is verified then."};
}

Error OutageLog::failed(const std::string& what, const fs::path& path, int error) const {
    return failed(what, path, std::strerror(error));
}

Error OutageLog::damaged(const fs::path& path, const std::string& why) {
    return {ErrorCode::outage_log_damaged, "The outage log is damaged: " + path.string(), why,
            "It holds changes that the server may have no longer. Nothing was changed: keep a copy of the "
            "folder, look at its disk, and put back what is missing if you can. Without it, move the folder "
            "away and load the tables again."};
}

Lsn OutageLog::begin() const {
    if (segments_.empty()) return end_;
    if (segments_.front().continues) {
        for (const Segment& segment : segments_) {
            if (segment.first_end != Lsn{}) return segment.first_end;
        }
    }
    return segments_.front().previous_end;
}

void OutageLog::begin_session(const OutageLogSource& source, Lsn from) {
    if (source_ && !empty() && (source_->system != source.system || source_->slot != source.slot)) {
        throw Error(
            ErrorCode::outage_log_other_source,
            "The outage log " + folder_.string() + " holds changes of slot " + source_->slot +
                " of the cluster " + std::to_string(source_->system.value),
            "The task reads slot " + source.slot + " of the cluster " + std::to_string(source.system.value) +
                " now.",
            "Let the shipper drain the log with the old setting first, or move the folder away if its "
            "changes are not wanted.");
    }
    if (empty() && end_ < from) end_ = durable_end_ = from;
    session_ = source;
    ++session_number_;
    session_written_ = introduced_ = false;
    relations_.clear();
    unwritten_.clear();
    withheld_.clear();
}

void OutageLog::observe(const wire::FrameHeader& header, const wire::Batch& batch) {
    if (batch.relations() != nullptr) {
        for (const wire::Relation* relation : *batch.relations()) {
            relations_.add(*relation);
            unwritten_.insert(relation->id());
        }
    }
    relations_.follow(header, batch);
    const auto is_gone = [&](uint32_t id) { return !relations_.knows(id); };
    std::erase_if(unwritten_, is_gone);
    std::erase_if(withheld_, is_gone);
}

void OutageLog::check_usable() const {
    if (failed_)
        throw failed("The outage log takes nothing more:", folder_, "A write to it has failed before.");
}

// On return the newest state is on disk. A second copy follows, to be written by the system in its own time:
// the slot that is to be overwritten next is always the third, so one that is on disk stays whole.
void OutageLog::write_state(StateSlot next) {
    const fs::path path = folder_ / kStateFile;
    next.number = state_.number + 1;
    const Block block = make_block(next, kStateMagic);
    const uint64_t turn = 2 * next.number;
    write_at(state_file_.get(), path, turn % kStateSlots * kStateSlotBytes, block, {});
    synchronise(state_file_.get(), path);
    write_at(state_file_.get(), path, (turn + 1) % kStateSlots * kStateSlotBytes, block, {});
    state_ = next;
}

void OutageLog::synchronise(int file, const fs::path& path) {
    WALFERRY_FAIL_POINT("spool_sync");
    const int result = options_.synchronise != nullptr ? options_.synchronise(file) : ::fdatasync(file);
    if (result == 0) return;
    failed_ = true;
    throw failed("Cannot synchronise", path, errno);
}

void OutageLog::synchronise_folder() {
    const int file = folder_file_.get();
    const int result = options_.synchronise != nullptr ? options_.synchronise(file) : ::fsync(file);
    if (result != 0) {
        failed_ = true;
        throw failed("Cannot synchronise", folder_, errno);
    }
    folder_synchronised_ = true;
}

void OutageLog::write_at(int file, const fs::path& path, uint64_t at, std::span<const uint8_t> head,
                         std::span<const uint8_t> body) {
    while (!head.empty() || !body.empty()) {
        const std::array<iovec, 2> parts{iovec{const_cast<uint8_t*>(head.data()), head.size()},
                                         iovec{const_cast<uint8_t*>(body.data()), body.size()}};
        const ssize_t written = ::pwritev(file, parts.data(), int(parts.size()), static_cast<off_t>(at));
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) {
            failed_ = true;
            throw failed("Cannot write", path, written < 0 ? errno : EIO);
        }
        at += static_cast<uint64_t>(written);
        const size_t of_head = std::min(head.size(), static_cast<size_t>(written));
        head = head.subspan(of_head);
        body = body.subspan(static_cast<size_t>(written) - of_head);
    }
}

// What has to be written before the next frame: who speaks, and the relations that were not told yet.
std::vector<OutageLog::Introduction> OutageLog::introduction(bool new_segment) const {
    std::vector<Introduction> entries;
    if (new_segment || !introduced_) {
        const uint8_t again = session_written_ ? kAgain : 0;
        entries.push_back({EntryType::session, again, write_source(*session_), {}});
        if (!relations_.empty()) {
            std::set<uint32_t> without = withheld_;
            if (session_written_) without.insert(unwritten_.begin(), unwritten_.end());
            entries.push_back({EntryType::relations, again, {}, relations_.frame_of_all(without)});
        }
        if (!session_written_) return entries;
    }
    if (!unwritten_.empty())
        entries.push_back({EntryType::relations, 0, {}, relations_.frame_of(unwritten_)});
    return entries;
}

bool OutageLog::has_room(uint64_t frame_bytes) {
    check_usable();
    if (!session_) throw misused("A frame for the outage log before its session");
    return reserve(frame_bytes);
}

bool OutageLog::reserve(uint64_t frame_bytes) {
    const auto room_with = [&](bool new_segment) {
        uint64_t room = entry_room(frame_bytes);
        if (!new_segment && introduced_ && unwritten_.empty()) return room;
        for (const Introduction& entry : introduction(new_segment))
            room += entry_room(entry.payload().size());
        return room;
    };
    if (tail_ && segments_.back().bytes - segments_.back().used >= room_with(false)) return true;
    return begin_segment(kSegmentHeaderBytes + room_with(true));
}

bool OutageLog::begin_segment(uint64_t room) {
    // The segment that is ended gives back what it has not used.
    const uint64_t used = tail_ ? used_ - (segments_.back().bytes - segments_.back().used) : used_;
    const uint64_t left = limit_ > used ? limit_ - used : 0;
    if (left < room) {
        why_no_room_ =
            "It holds " + std::to_string(used) + " bytes, and may take " + std::to_string(limit_) + ".";
        return false;
    }
    const uint64_t bytes = std::max(room, std::min(left, options_.segment_bytes));
    const fs::path path = path_of(next_segment_);
    FileHandle file(::open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
    const int error = file ? reserve_room(file.get(), bytes) : errno;
    if (error != 0) {
        if (file) ::unlink(path.c_str());
        if (!is_want_of_room(error)) throw failed("Cannot make the segment", path, error);
        why_no_room_ = "Its disk has no room for another " + std::to_string(bytes) +
                       " bytes: " + std::strerror(error) + ".";
        return false;
    }
    if (tail_) end_segment();
    SegmentHeader header{};
    header.log_id = state_.log_id;
    header.number = next_segment_;
    header.first_entry = next_entry_;
    header.previous_bytes = segments_.empty() ? 0 : segments_.back().used;
    header.previous_end = end_.value;
    header.continues = whole_ ? 0 : 1;
    write_at(file.get(), path, 0, make_block(header, kSegmentMagic), {});
    segments_.push_back({.number = next_segment_,
                         .bytes = bytes,
                         .used = kSegmentHeaderBytes,
                         .first_entry = next_entry_,
                         .previous_end = end_,
                         .first_end = {},
                         .last_end = {},
                         .continues = !whole_});
    ++next_segment_;
    used_ += bytes;
    tail_ = std::move(file);
    write_back_from_ = 0;
    folder_synchronised_ = introduced_ = false;
    return true;
}

// The next segment says that this one is complete, so it has to be on disk before.
void OutageLog::end_segment() {
    Segment& segment = segments_.back();
    const fs::path path = path_of(segment.number);
    synchronise(tail_.get(), path);
    if (!folder_synchronised_) synchronise_folder();
    if (::ftruncate(tail_.get(), static_cast<off_t>(segment.used)) != 0) {
        failed_ = true;
        throw failed("Cannot shorten the file", path, errno);
    }
    used_ -= segment.bytes - segment.used;
    segment.bytes = segment.used;
    tail_.reset();
}

void OutageLog::put(EntryType type, uint8_t flags, std::span<const uint8_t> payload, Lsn end) {
    Segment& segment = segments_.back();
    std::array<uint8_t, kEntryHeaderBytes> head{};
    EntryHeader header{.checksum = 0,
                       .size = static_cast<uint32_t>(payload.size()),
                       .number = next_entry_,
                       .end = end.value,
                       .session = session_number_,
                       // A frame that comes here has been verified, or was sealed here.
                       .payload_checksum = type == EntryType::session ? payload_checksum(type, payload)
                                                                      : wire::load_u32(payload.data() + 3)};
    std::memcpy(head.data(), &header, sizeof(header));
    head[sizeof(header)] = static_cast<uint8_t>(static_cast<uint8_t>(type) | flags);
    header.checksum = entry_checksum({state_.log_id, segment.number, segment.used}, head.data());
    std::memcpy(head.data(), &header.checksum, sizeof(header.checksum));
    write_at(tail_.get(), path_of(segment.number), segment.used, head, payload);
    segment.used += entry_room(payload.size());
    ++next_entry_;
    if (segment.used - write_back_from_ < kWriteBack) return;
    // The disk begins while the next frames come; an error of it is told by the next sync().
    (void)::sync_file_range(tail_.get(), static_cast<off64_t>(write_back_from_),
                            static_cast<off64_t>(segment.used - write_back_from_), SYNC_FILE_RANGE_WRITE);
    write_back_from_ = segment.used;
}

void OutageLog::append(std::span<const uint8_t> frame, Lsn end) {
    check_usable();
    if (!session_) throw misused("A frame for the outage log before its session");
    wire::FrameReader reader;
    const wire::FrameStatus status = reader.open(frame.data(), frame.size());
    if (!status.ok())
        throw misused(std::string("A frame for the outage log does not verify: ") +
                      wire::describe(status.error));
    if (end != Lsn{} && end <= end_)
        throw misused("A transaction for the outage log ends at " + text_of(end) + ", before the last one");
    const auto* relations = reader.batch().relations();
    bool known = false;
    if (relations != nullptr) {
        for (const wire::Relation* relation : *relations) known = known || relations_.knows(relation->id());
        for (const wire::Relation* relation : *relations) {
            if (!known || relations_.knows(relation->id())) continue;
            relations_.add(*relation);
            unwritten_.insert(relation->id());
        }
    }
    tell_again(reader);
    if (!reserve(frame.size())) {
        throw Error(ErrorCode::outage_log_full, "The outage log " + folder_.string() + " is full",
                    why_no_room_,
                    "The server keeps its WAL from here on. Bring Kafka back, or make room for the log.");
    }
    if (!introduced_ || !unwritten_.empty()) {
        for (const Introduction& entry : introduction(false))
            put(entry.type, entry.flags, entry.payload(), {});
        unwritten_.clear();
        introduced_ = session_written_ = true;
        source_ = session_;
    }
    put(EntryType::frame, known ? kKnown : 0, frame, end);
    Segment& segment = segments_.back();
    segment.whole = whole_ = end != Lsn{};
    if (whole_) {
        end_ = segment.last_end = end;
        if (segment.first_end == Lsn{}) segment.first_end = end;
    }
    if (relations != nullptr && !known) {
        for (const wire::Relation* relation : *relations) relations_.add(*relation);
    }
    follow(reader);
}

// The frame was sent before those that are in the log already, and may use what one of them has retired.
void OutageLog::tell_again(const wire::FrameReader& frame) {
    if (withheld_.empty() || !wire::in_progress(frame.header().kind)) return;
    for (size_t i = 0, count = frame.record_count(); i < count; i++) {
        const uint32_t id = frame.record(i).relation();
        if (withheld_.erase(id) != 0) unwritten_.insert(id);
    }
}

void OutageLog::follow(const wire::FrameReader& frame) {
    const wire::Batch& batch = frame.batch();
    relations_.follow(frame.header(), batch);
    if (batch.retired() != nullptr) withheld_.insert(batch.retired()->begin(), batch.retired()->end());
    std::erase_if(withheld_, [&](uint32_t id) { return !relations_.knows(id); });
}

void OutageLog::advance(Lsn end) {
    wire::FrameParts parts;
    parts.kind = wire::FrameKind::transaction;
    parts.first = parts.last = true;
    parts.transaction = wire::Transaction(end.value, end.value, 0, 0, 0, 0, 0);
    OwnFrame frame(wire::frame_bound(parts));
    const size_t size = wire::write_frame(parts, frame.data());
    frame.resize(size);
    wire::seal(frame.data(), size);
    append(frame.bytes(), end);
}

Lsn OutageLog::sync() {
    check_usable();
    if (!tail_) return durable_end_;
    const Segment& segment = segments_.back();
    if (state_.mark_segment == segment.number && state_.mark_offset == segment.used) return durable_end_;
    synchronise(tail_.get(), path_of(segment.number));
    if (!folder_synchronised_) synchronise_folder();
    StateSlot state = state_;
    state.mark_segment = segment.number;
    state.mark_offset = segment.used;
    state.mark_entry = next_entry_;
    state.mark_end = end_.value;
    write_state(state);
    return durable_end_ = end_;
}

// Where the last transaction ends that has a frame in it; the largest LSN if it has not ended.
Lsn OutageLog::needed_until(size_t segment) const {
    if (segments_[segment].whole) {
        const Lsn last = segments_[segment].last_end;
        return last == Lsn{} ? segments_[segment].previous_end : last;
    }
    for (size_t later = segment + 1; later < segments_.size(); later++) {
        if (segments_[later].first_end != Lsn{}) return segments_[later].first_end;
    }
    return Lsn{UINT64_MAX};
}

uint64_t OutageLog::release(Lsn up_to) {
    check_usable();
    size_t count = 0;
    if (whole_ && end_ <= up_to) {
        count = segments_.size();
    } else {
        while (count + 1 < segments_.size() && needed_until(count) <= up_to) ++count;
    }
    if (count == 0) return 0;
    const bool all = count == segments_.size();
    StateSlot state = state_;
    state.first_segment = all ? next_segment_ : segments_[count].number;
    if (state.mark_segment < state.first_segment) {
        state.mark_segment = state.first_segment;
        state.mark_offset = 0;
        state.mark_entry = all ? next_entry_ : segments_[count].first_entry;
        state.mark_end = all ? end_.value : segments_[count].previous_end.value;
    }
    write_state(state);
    durable_end_ = std::max(durable_end_, Lsn{state_.mark_end});
    if (all) {
        tail_.reset();
        introduced_ = false;
        source_.reset();
    }
    uint64_t released = 0;
    for (; count > 0; count--) {
        // A file that stays behind is removed at the next opening.
        ::unlink(path_of(segments_.front().number).c_str());
        released += segments_.front().bytes;
        segments_.pop_front();
    }
    used_ -= released;
    return released;
}

}  // namespace walferry
