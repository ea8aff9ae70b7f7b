#include "spool/outage_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <random>
#include <system_error>
#include <utility>

#include "fail_point/fail_point.h"
#include "common/wire/frame.h"
#include "common/wire/frame_writer.h"

namespace walferry {
namespace {

namespace bip = boost::interprocess;
namespace fs = std::filesystem;
using namespace outage_log;

constexpr const char* kLockFile = "lock";
constexpr const char* kStateFile = "state";
constexpr const char* kNewStateFile = "state.new";
constexpr std::string_view kSuffix = ".segment";
constexpr size_t kNumberDigits = 16;
// The system is asked to write in portions of this size.
constexpr uint64_t kWriteBack = uint64_t(8) << 20;

using Block = std::array<uint8_t, kSegmentHeaderBytes>;
static_assert(kSegmentHeaderBytes == kStateSlotBytes);

// A block of one page that begins with what `value` holds and is zero behind it.
template <typename T>
Block make_block(T value, uint64_t magic) {
    static_assert(sizeof(T) <= sizeof(Block) && std::has_unique_object_representations_v<T>);
    value.envelope = {magic, kVersion, 0};
    Block block{};
    std::memcpy(block.data(), &value, sizeof(value));
    seal_block(block);
    return block;
}

enum class BlockFault { none, damaged, newer };

template <typename T>
BlockFault open_block(const Block& block, uint64_t magic, T* value) {
    Envelope envelope{};
    std::memcpy(&envelope, block.data(), sizeof(envelope));
    if (envelope.magic != magic || envelope.checksum != block_checksum(block)) return BlockFault::damaged;
    if (envelope.version > kVersion) return BlockFault::newer;
    std::memcpy(value, block.data(), sizeof(*value));
    return BlockFault::none;
}

// What lies at that place of the file; zeros behind its end. False with errno.
bool read_block(int file, uint64_t at, Block* block) {
    block->fill(0);
    size_t size = 0;
    while (size < block->size()) {
        const ssize_t got =
            ::pread(file, block->data() + size, block->size() - size, static_cast<off_t>(at + size));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return false;
        if (got == 0) return true;
        size += static_cast<size_t>(got);
    }
    return true;
}

LogId random_id() {
    std::random_device random;
    LogId id;
    for (uint8_t& byte : id) byte = static_cast<uint8_t>(random());
    id[6] = static_cast<uint8_t>((id[6] & 0x0f) | 0x40);  // RFC 9562: version 4
    id[8] = static_cast<uint8_t>((id[8] & 0x3f) | 0x80);
    return id;
}

std::string text_of(const LogId& id) {
    constexpr const char* kDigits = "0123456789abcdef";
    std::string text;
    for (size_t i = 0; i < id.size(); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += kDigits[id[i] >> 4];
        text += kDigits[id[i] & 0x0f];
    }
    return text;
}

// As PostgreSQL writes it.
std::string text_of(Lsn lsn) {
    std::array<char, 32> text{};
    const int size = std::snprintf(text.data(), text.size(), "%X/%X", static_cast<unsigned>(lsn.value >> 32),
                                   static_cast<unsigned>(lsn.value & 0xffffffff));
    return {text.data(), static_cast<size_t>(size)};
}

struct Entry {
    EntryType type;
    uint8_t flags;
    std::span<const uint8_t> payload;
    Lsn end;
    uint32_t session;
    uint64_t next;  // where the entry behind it begins
};

// Reads and verifies the entry at `place` in a segment that is mapped at `base` and has entries up to `used`.
// Returns what is wrong, or null.
const char* read_entry(const uint8_t* base, uint64_t used, const Place& place, uint64_t number,
                       Entry* entry) {
    const uint64_t left = used - place.offset;
    if (left < kEntryHeaderBytes) return "An entry is cut off.";
    const uint8_t* p = base + place.offset;
    EntryHeader header{};
    std::memcpy(&header, p, sizeof(header));
    if (header.checksum != entry_checksum(place, p)) return "An entry's header is not what was written.";
    if (header.number != number) return "An entry is not the one that has to follow.";
    if (entry_room(header.size) > left) return "An entry is longer than the room it has.";
    const uint8_t* payload = p + kEntryHeaderBytes;
    const uint8_t type = p[sizeof(EntryHeader)];
    *entry = {static_cast<EntryType>(type & kTypeBits),
              static_cast<uint8_t>(type & ~kTypeBits),
              {payload, header.size},
              Lsn{header.end},
              header.session,
              place.offset + entry_room(header.size)};
    const bool is_frame = entry->type == EntryType::frame || entry->type == EntryType::relations;
    if (!is_frame && entry->type != EntryType::session) return "An entry is of no known type.";
    if (is_frame && header.size < wire::kHeaderSize) return "A frame is too short.";
    if (header.payload_checksum != payload_checksum(entry->type, entry->payload) ||
        (is_frame && header.payload_checksum != wire::load_u32(payload + 3))) {
        return "An entry's content is not what was written.";
    }
    if (!std::all_of(payload + header.size, base + entry->next, [](uint8_t byte) { return byte == 0; }))
        return "Bytes between two entries are not what was written.";
    return nullptr;
}

// Bytes from `from` to the last one that is not zero: what was reserved only does not count.
uint64_t content_behind(const fs::path& path, uint64_t from) {
    std::error_code error;
    if (fs::file_size(path, error) <= from || error) return 0;
    const bip::mapped_region region =
        map_file(path, bip::read_only, [](const fs::path& file, const std::string& why) {
            return Error(ErrorCode::outage_log_failed, "Cannot map " + file.string(), why, "");
        });
    const std::span bytes(static_cast<const uint8_t*>(region.get_address()), region.get_size());
    const auto last = std::find_if(bytes.rbegin(), bytes.rend() - static_cast<ptrdiff_t>(from),
                                   [](uint8_t byte) { return byte != 0; });
    return static_cast<uint64_t>(last.base() - bytes.begin()) - from;
}

std::vector<uint8_t> write_source(const OutageLogSource& source) {
    const SessionEntry fixed{source.system.value, source.timeline.value,
                             static_cast<uint32_t>(source.slot.size())};
    std::vector<uint8_t> bytes(sizeof(fixed));
    std::memcpy(bytes.data(), &fixed, sizeof(fixed));
    bytes.insert(bytes.end(), source.slot.begin(), source.slot.end());
    bytes.insert(bytes.end(), source.database.begin(), source.database.end());
    return bytes;
}

// False if the payload cannot be one.
bool read_source(std::span<const uint8_t> payload, OutageLogSource* source) {
    SessionEntry fixed{};
    if (payload.size() < sizeof(fixed)) return false;
    std::memcpy(&fixed, payload.data(), sizeof(fixed));
    const auto names = payload.subspan(sizeof(fixed));
    if (fixed.slot_size > names.size()) return false;
    const auto* text = reinterpret_cast<const char*>(names.data());
    *source = {SystemId{fixed.system}, Timeline{fixed.timeline}, std::string(text, fixed.slot_size),
               std::string(text + fixed.slot_size, names.size() - fixed.slot_size)};
    return true;
}

bool is_want_of_room(int error) {
    return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

Error misused(const std::string& what) {
    return {ErrorCode::internal, what, "", "Please report it, with the lines logged before."};
}

Error newer_version(const fs::path& path) {
    return {ErrorCode::outage_log_version, "The outage log was written by a newer release: " + path.string(),
            "This release would not understand all of it.",
            "Start the newer release again and let it drain the log; nothing was changed."};
}

}  // namespace

struct OutageLog::Introduction {
    EntryType type;
    uint8_t flags;
    std::vector<uint8_t> own;       // of a session
    std::optional<OwnFrame> frame;  // of relations

    std::span<const uint8_t> payload() const { return frame ? frame->bytes() : std::span(own); }
};

// What verifying has found, and where the last whole transaction ends.
struct OutageLog::Scan {
    std::deque<Segment> segments;
    uint64_t segment = 0;
    uint64_t offset = 0;  // 0: there is no whole transaction
    uint64_t next_entry = 0;
    Lsn end;
    std::optional<OutageLogSource> source;
    uint32_t session = 0;
};

OutageLog::OutageLog(fs::path folder, std::string task, uint64_t limit, OutageLogOptions options)
    : folder_(std::move(folder)), task_(std::move(task)), limit_(limit), options_(options) {
    if (task_.size() > sizeof(StateSlot::task)) throw misused("The task's name is too long");
    handle_file_signals();
    make_folder();
    take_lock();
    folder_file_ = FileHandle(::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder_file_) throw failed("Cannot open the folder", folder_, errno);
    const std::set<uint64_t> found = find_segments();
    const fs::path state = folder_ / kStateFile;
    state_file_ = FileHandle(::open(state.c_str(), O_RDWR | O_CLOEXEC));
    if (!state_file_ && errno != ENOENT) throw failed("Cannot open", state, errno);
    if (!state_file_ && !found.empty())
        throw damaged(state, "It is missing, although there are segments in its folder.");
    if (!state_file_) create_state();
    read_state();
    verify(found);
}

fs::path OutageLog::path_of(uint64_t segment) const {
    std::array<char, kNumberDigits + 1> text{};
    std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(segment));
    return folder_ / (std::string(text.data()) + std::string(kSuffix));
}

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

void OutageLog::make_folder() const {
    const fs::path full = fs::absolute(folder_).lexically_normal();
    fs::path made;
    for (const fs::path& part : full) {
        const fs::path parent = made;
        made /= part;
        if (part.empty() || ::mkdir(made.c_str(), 0700) != 0) {
            if (part.empty() || errno == EEXIST || fs::is_directory(made)) continue;
            throw failed("Cannot make the folder", made, errno);
        }
        const FileHandle above(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!above || ::fsync(above.get()) != 0) throw failed("Cannot synchronise the folder", parent, errno);
    }
}

void OutageLog::take_lock() {
    const fs::path path = folder_ / kLockFile;
    lock_ = FileHandle(open_lock_file(path));
    if (!lock_) throw failed("Cannot write in the folder", folder_, errno);
    const int error = try_lock(lock_.get());
    if (error == EWOULDBLOCK) {
        std::array<char, 16> text{};
        const ssize_t size = ::pread(lock_.get(), text.data(), text.size(), 0);
        throw Error(
            ErrorCode::outage_log_in_use, "Another process uses the outage log " + folder_.string(),
            size > 0 ? "It is process " + std::string(text.data(), static_cast<size_t>(size)) + "." : "",
            "A log belongs to one process at a time. If that is a shipper of the same task, this one "
            "goes on when it has ended; a task that waits on the same machine as a standby, or another "
            "task, needs a spool.directory of its own.");
    }
    if (error != 0) throw failed("Cannot lock", path, error);
    // For the message above only.
    const std::string pid = std::to_string(::getpid());
    (void)!::ftruncate(lock_.get(), 0);
    (void)!::pwrite(lock_.get(), pid.data(), pid.size(), 0);
}

std::set<uint64_t> OutageLog::find_segments() const {
    std::set<uint64_t> found;
    std::error_code error;
    for (fs::directory_iterator place(folder_, error), none; !error && place != none;
         place.increment(error)) {
        const std::string name = place->path().filename().string();
        if (name.size() != kNumberDigits + kSuffix.size() || !name.ends_with(kSuffix)) continue;
        uint64_t number = 0;
        const char* end = name.data() + kNumberDigits;
        if (std::from_chars(name.data(), end, number, 16).ptr == end && path_of(number).filename() == name)
            found.insert(number);
    }
    if (error) throw failed("Cannot read the folder", folder_, error.message());
    return found;
}

// All at once by its new name, so that a crash leaves a whole state or none.
void OutageLog::create_state() {
    StateSlot state{};
    state.log_id = random_id();
    state.number = 1;
    state.first_segment = state.mark_segment = state.mark_entry = 1;
    state.task_size = static_cast<uint32_t>(task_.size());
    std::memcpy(state.task, task_.data(), task_.size());
    const Block block = make_block(state, kStateMagic);
    const fs::path path = folder_ / kNewStateFile;
    FileHandle file(::open(path.c_str(), O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600));
    if (!file) throw failed("Cannot make the file", path, errno);
    for (size_t slot = 0; slot < kStateSlots; slot++)
        write_at(file.get(), path, slot * kStateSlotBytes, block, {});
    synchronise(file.get(), path);
    if (::rename(path.c_str(), (folder_ / kStateFile).c_str()) != 0)
        throw failed("Cannot rename the file", path, errno);
    synchronise_folder();
    state_file_ = std::move(file);
}

void OutageLog::read_state() {
    const fs::path path = folder_ / kStateFile;
    for (size_t slot = 0; slot < kStateSlots; slot++) {
        Block block;
        if (!read_block(state_file_.get(), slot * kStateSlotBytes, &block))
            throw failed("Cannot read", path, errno);
        StateSlot state{};
        const BlockFault fault = open_block(block, kStateMagic, &state);
        if (fault == BlockFault::newer) throw newer_version(path);
        if (fault == BlockFault::none && state.number > state_.number) state_ = state;
    }
    if (state_.number == 0) throw damaged(path, "None of its copies is what was written.");
    if (state_.task_size > sizeof(state_.task)) throw damaged(path, "Its task has no name.");
    const std::string task(state_.task, state_.task_size);
    if (task != task_) {
        throw Error(ErrorCode::outage_log_other_source,
                    "The outage log " + folder_.string() + " belongs to the task " + task, "",
                    "Give each task a folder of its own. If the task was renamed, start it by its old name "
                    "until the log is drained.");
    }
    id_text_ = text_of(state_.log_id);
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

SegmentHeader OutageLog::read_header(uint64_t number) const {
    const fs::path path = path_of(number);
    const FileHandle file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    Block block;
    if (!file || !read_block(file.get(), 0, &block)) throw failed("Cannot read", path, errno);
    SegmentHeader header{};
    const BlockFault fault = open_block(block, kSegmentMagic, &header);
    if (fault == BlockFault::newer) throw newer_version(path);
    if (fault != BlockFault::none) throw damaged(path, "Its header is not what was written.");
    if (header.log_id != state_.log_id || header.number != number)
        throw damaged(path, "It is not a segment of this log, or not the one that its name says.");
    return header;
}

// Everything before the mark must be as it was written. What is behind it does not count.
void OutageLog::verify(const std::set<uint64_t>& found) {
    Scan scan;
    const fs::path state_path = folder_ / kStateFile;
    std::vector<SegmentHeader> headers;
    if (state_.mark_offset != 0) {
        for (uint64_t number = state_.first_segment; number <= state_.mark_segment; number++) {
            if (!found.contains(number)) throw damaged(path_of(number), "The segment is missing.");
            headers.push_back(read_header(number));
        }
        if (headers.empty()) throw damaged(state_path, "It names no segment.");
    } else if (state_.first_segment != state_.mark_segment) {
        throw damaged(state_path, "It does not say how far the log is synchronised.");
    }
    uint64_t entry_number = headers.empty() ? state_.mark_entry : headers.front().first_entry;
    scan.end = headers.empty() ? Lsn{state_.mark_end} : Lsn{headers.front().previous_end};
    scan.next_entry = entry_number;
    for (size_t i = 0; i < headers.size(); i++) {
        const SegmentHeader& header = headers[i];
        const fs::path path = path_of(header.number);
        const bool last = i + 1 == headers.size();
        const uint64_t used = last ? state_.mark_offset : headers[i + 1].previous_bytes;
        if (header.first_entry != entry_number || Lsn{header.previous_end} != scan.end)
            throw damaged(path, "It does not follow the segment before it.");
        std::error_code error;
        const uint64_t bytes = fs::file_size(path, error);
        if (error) throw failed("Cannot read", path, error.message());
        if (bytes < used) throw damaged(path, "It is shorter than what was written to it.");
        Segment segment{.number = header.number,
                        .bytes = bytes,
                        .used = used,
                        .first_entry = header.first_entry,
                        .previous_end = scan.end,
                        .first_end = {},
                        .last_end = {},
                        .continues = header.continues != 0};
        bip::mapped_region region = map_file(
            path, bip::read_only,
            [&](const fs::path& file, const std::string& why) { return failed("Cannot map", file, why); });
        region.advise(bip::mapped_region::advice_willneed);
        const auto* base = static_cast<const uint8_t*>(region.get_address());
        uint64_t at = kSegmentHeaderBytes;
        while (at < used) {
            Entry entry{};
            const char* fault =
                read_entry(base, used, {state_.log_id, header.number, at}, entry_number, &entry);
            if (fault == nullptr && entry.type == EntryType::session) {
                OutageLogSource source;
                if (!read_source(entry.payload, &source)) fault = "A session's entry is malformed.";
                scan.source = std::move(source);
            }
            if (fault != nullptr)
                throw damaged(path, std::string(fault) + " (at byte " + std::to_string(at) + ")");
            at = entry.next;
            ++entry_number;
            scan.session = entry.session;
            if (entry.type != EntryType::frame) continue;
            segment.whole = entry.end != Lsn{};
            if (!segment.whole) continue;
            scan.segment = header.number;
            scan.offset = at;
            scan.next_entry = entry_number;
            scan.end = segment.last_end = entry.end;
            if (segment.first_end == Lsn{}) segment.first_end = entry.end;
        }
        scan.segments.push_back(segment);
    }
    if (entry_number != state_.mark_entry || scan.end != Lsn{state_.mark_end})
        throw damaged(state_path, "The log does not end where it says.");
    drop_what_is_behind(scan, found);
}

// Takes over what was verified, up to the end of the last whole transaction. Nothing behind it was confirmed.
void OutageLog::drop_what_is_behind(const Scan& scan, const std::set<uint64_t>& found) {
    segments_ = scan.segments;
    end_ = durable_end_ = scan.end;
    next_entry_ = scan.next_entry;
    session_number_ = scan.session;
    const uint64_t last = scan.offset == 0 ? state_.first_segment : scan.segment;
    if (last != state_.mark_segment || scan.offset != state_.mark_offset) {
        StateSlot state = state_;
        state.mark_segment = last;
        state.mark_offset = scan.offset;
        state.mark_entry = scan.next_entry;
        write_state(state);
    }
    next_segment_ = scan.offset == 0 ? last : last + 1;
    while (!segments_.empty() && segments_.back().number >= next_segment_) segments_.pop_back();
    // From the newest to the oldest, so that a crash leaves no hole.
    const std::vector<uint64_t> newest_first(found.rbegin(), found.rend());
    for (const uint64_t number : newest_first) {
        const bool behind = number >= next_segment_;
        if (!behind && number >= state_.first_segment) continue;
        if (behind) dropped_ += content_behind(path_of(number), 0);
        if (::unlink(path_of(number).c_str()) != 0)
            throw failed("Cannot remove the file", path_of(number), errno);
        if (behind) synchronise_folder();
    }
    if (!segments_.empty()) {
        Segment& segment = segments_.back();
        segment.used = scan.offset;
        segment.whole = true;
        source_ = scan.source;
        if (segment.bytes > segment.used) {
            dropped_ += content_behind(path_of(segment.number), segment.used);
            if (::truncate(path_of(segment.number).c_str(), static_cast<off_t>(segment.used)) != 0)
                throw failed("Cannot shorten the file", path_of(segment.number), errno);
            segment.bytes = segment.used;
        }
    }
    for (const Segment& segment : segments_) used_ += segment.bytes;
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

// False if there is none to read yet.
bool OutageLog::Reader::move_to_segment() {
    const auto& segments = log_.segments_;
    if (segments.empty()) return false;
    segment_ = std::max(segment_, segments.front().number);
    if (segment_ > segments.back().number) return false;
    const Segment& segment = segments[segment_ - segments.front().number];
    region_ = bip::mapped_region();
    region_ = map_file(log_.path_of(segment_), bip::read_only,
                       [this](const fs::path& file, const std::string& why) {
                           return log_.failed("Cannot map", file, why);
                       });
    region_.advise(bip::mapped_region::advice_willneed);
    at_ = kSegmentHeaderBytes;
    follows_ = next_entry_ == segment.first_entry;
    rest_ = !follows_ && segment.continues;
    next_entry_ = segment.first_entry;
    mapped_ = true;
    return true;
}

std::optional<OutageLog::Item> OutageLog::Reader::next() {
    for (;;) {
        if (!mapped_ && !move_to_segment()) return std::nullopt;
        const auto& segments = log_.segments_;
        if (segments.empty() || segment_ < segments.front().number) {
            mapped_ = false;  // released meanwhile
            continue;
        }
        const Segment& segment = segments[segment_ - segments.front().number];
        if (at_ == segment.used) {
            if (segment_ == segments.back().number) return std::nullopt;
            ++segment_;
            mapped_ = false;
            continue;
        }
        const auto fault = [&](const char* why) {
            return damaged(log_.path_of(segment_),
                           std::string(why) + " (at byte " + std::to_string(at_) + ")");
        };
        if (region_.get_size() < segment.used) throw fault("It is shorter than what was written to it.");
        Entry entry{};
        const auto* base = static_cast<const uint8_t*>(region_.get_address());
        const char* why =
            read_entry(base, segment.used, {log_.state_.log_id, segment_, at_}, next_entry_, &entry);
        if (why != nullptr) throw fault(why);
        const bool session = entry.type == EntryType::session;
        if (session && !read_source(entry.payload, &source_)) throw fault("A session's entry is malformed.");
        at_ = entry.next;
        ++next_entry_;
        if (follows_ && (entry.flags & kAgain) != 0) continue;
        if (session && (entry.flags & kAgain) == 0) rest_ = false;
        const bool of_rest = rest_ && entry.type == EntryType::frame;
        if (of_rest) {
            rest_ = entry.end == Lsn{};
            if ((entry.flags & kKnown) != 0) continue;
        }
        const StateSlot& state = log_.state_;
        const bool synced =
            segment_ < state.mark_segment || (segment_ == state.mark_segment && at_ <= state.mark_offset);
        if (session) return Item{Item::Kind::session, &source_, {}, {}, false, synced};
        const bool whole_frame = entry.type == EntryType::frame && !of_rest;
        return Item{whole_frame ? Item::Kind::frame : Item::Kind::relations,
                    nullptr,
                    entry.payload,
                    whole_frame ? entry.end : Lsn{},
                    (entry.flags & kKnown) != 0,
                    synced};
    }
}

}  // namespace walferry
