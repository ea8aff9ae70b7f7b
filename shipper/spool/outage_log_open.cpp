// What happens when the log is opened: everything before the mark is verified, what is behind it dropped.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <random>
#include <system_error>
#include <utility>

#include "spool/outage_log.h"
#include "spool/outage_log_codec.h"

namespace walferry {
namespace {

namespace bip = boost::interprocess;
namespace fs = std::filesystem;
using namespace outage_log;

constexpr const char* kLockFile = "lock";
constexpr const char* kNewStateFile = "state.new";
constexpr std::string_view kSuffix = ".segment";
constexpr size_t kNumberDigits = 16;

LogId random_id() {
    std::random_device random;
    LogId id;
    for (uint8_t& byte : id) byte = static_cast<uint8_t>(random());
    id[6] = static_cast<uint8_t>((id[6] & 0x0f) | 0x40);  // RFC 9562: version 4
    id[8] = static_cast<uint8_t>((id[8] & 0x3f) | 0x80);
    return id;
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

Error newer_version(const fs::path& path) {
    return {ErrorCode::outage_log_version, "The outage log was written by a newer release: " + path.string(),
            "This release would not understand all of it.",
            "Start the newer release again and let it drain the log; nothing was changed."};
}

}  // namespace

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

}  // namespace walferry
