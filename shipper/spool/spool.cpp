#include "spool/spool.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "common/wire/frame.h"
#include "error/error.h"

namespace walferry {
namespace {

namespace bip = boost::interprocess;
namespace fs = std::filesystem;

// A chain's first file, and the size up to which they double: small transactions take little, and no more
// than one file of the largest size is mapped for each chain.
constexpr uint64_t kFirstFile = uint64_t(1) << 20;
constexpr uint64_t kLargestFile = uint64_t(8) << 20;
// In front of each frame: its size and the complement of that; then one byte, so that frames lie as their
// reader wants.
constexpr size_t kFrameHeader = 9;
constexpr const char* kLockFile = "lock";
constexpr const char* kSuffix = ".frames";

uint64_t room_for(uint64_t frame) {
    return (kFrameHeader + frame + 7) / 8 * 8;
}

Error failed(const std::string& what, const fs::path& path, const std::string& why) {
    return {ErrorCode::spool_failed, what + " " + path.string(), why,
            "Until the next start large transactions come after their commit, and the server keeps them "
            "meanwhile. Make room, "
            "or set spool.directory to a folder that the shipper may write to; source.streaming = false does "
            "without."};
}

Error failed(const std::string& what, const fs::path& path, int error) {
    return failed(what, path, std::strerror(error));
}

Error damaged(const fs::path& path, const std::string& why) {
    return {ErrorCode::spool_damaged, "The spool file " + path.string() + " is damaged", why,
            "The transaction is read again from the server. Look at the disk below spool.directory."};
}

// The folder under /var/tmp has a name that anybody may have taken before us.
fs::path private_folder() {
    fs::path folder = "/var/tmp/walferry-" + std::to_string(geteuid());
    if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST)
        throw failed("Cannot make the folder", folder, errno);
    struct stat status {};
    if (lstat(folder.c_str(), &status) != 0) throw failed("Cannot look at the folder", folder, errno);
    if (!S_ISDIR(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 077) != 0) {
        throw failed("The shipper does not trust the folder", folder,
                     "It must be a folder of the user that runs the shipper, with mode 0700.");
    }
    return folder;
}

// Only what a spool makes: a folder that a user has put other things into stays.
void remove_spool_folder(const fs::path& folder) noexcept {
    std::error_code ignored;
    for (const fs::directory_entry& entry : fs::directory_iterator(folder, ignored)) {
        if (entry.path().extension() == kSuffix) ::unlink(entry.path().c_str());
    }
    ::unlink((folder / kLockFile).c_str());
    ::rmdir(folder.c_str());
}

bip::mapped_region map_frames(const fs::path& path, bip::mode_t mode) {
    return map_file(path, mode, [](const fs::path& file, const std::string& why) {
        return failed("Cannot map", file, why);
    });
}

}  // namespace

Spool::Spool(fs::path folder, std::string name, uint64_t limit)
    : folder_(std::move(folder)), name_(std::move(name)), limit_(limit) {}

Spool::~Spool() {
    if (!own_folder_.empty()) remove_spool_folder(own_folder_);
}

void Spool::open() {
    fs::path base = folder_;
    if (base.empty()) {
        base = private_folder();
    } else {
        std::error_code error;
        fs::create_directories(base, error);
        if (error) throw failed("Cannot make the folder", base, error.message());
    }
    handle_file_signals();
    sweep(base);
    const fs::path own = base / (name_ + "." + std::to_string(getpid()));
    if (mkdir(own.c_str(), 0700) != 0 && errno != EEXIST) throw failed("Cannot make the folder", own, errno);
    FileHandle lock(open_lock_file(own / kLockFile));
    if (!lock) throw failed("Cannot write in the folder", own, errno);
    if (const int error = try_lock(lock.get())) throw failed("Another process holds the folder", own, error);
    lock_ = std::move(lock);
    own_folder_ = own;
}

// What a process of this task that did not end well has left: nobody holds its lock any more.
void Spool::sweep(const fs::path& base) const {
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(base, error)) {
        const std::string name = entry.path().filename().string();
        const bool ours = name.size() > name_.size() + 1 && name.compare(0, name_.size(), name_) == 0 &&
                          name[name_.size()] == '.' &&
                          name.find_first_not_of("0123456789", name_.size() + 1) == std::string::npos;
        if (!ours || !fs::exists(entry.path() / kLockFile, error)) continue;
        const FileHandle lock(open_lock_file(entry.path() / kLockFile));
        if (lock && try_lock(lock.get()) == 0) remove_spool_folder(entry.path());
    }
}

fs::path Spool::path_of(uint64_t number) const {
    return own_folder_ / (std::to_string(number) + kSuffix);
}

uint64_t Spool::create_file(uint64_t bytes) {
    if (used_ + bytes > limit_) {
        throw Error(ErrorCode::spool_full,
                    "The spool is full: it may take " + std::to_string(limit_) + " bytes",
                    "The transactions in progress on the server are larger than that together.",
                    "Until the next start large transactions come after their commit, and the server keeps "
                    "them meanwhile. "
                    "Raise spool.size if its disk has room.");
    }
    if (own_folder_.empty()) open();
    const uint64_t number = next_number_++;
    const fs::path path = path_of(number);
    FileHandle file(::open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
    if (!file) throw failed("Cannot make the file", path, errno);
    const int error = reserve_room(file.get(), bytes);
    file.reset();
    if (error != 0) {
        ::unlink(path.c_str());
        throw failed("Cannot reserve room for the file", path, error);
    }
    used_ += bytes;
    return number;
}

void Spool::remove_file(uint64_t number, uint64_t bytes) noexcept {
    ::unlink(path_of(number).c_str());
    used_ -= bytes;
}

SpoolChain::SpoolChain(SpoolChain&& other) noexcept
    : spool_(other.spool_),
      files_(std::exchange(other.files_, {})),
      tail_(std::move(other.tail_)),
      frames_(std::exchange(other.frames_, 0)) {}

void SpoolChain::clear() noexcept {
    tail_ = bip::mapped_region();
    for (const File& file : files_) spool_->remove_file(file.number, file.capacity);
    files_.clear();
}

void SpoolChain::append(std::span<const uint8_t> frame) {
    const uint64_t room = room_for(frame.size());
    if (files_.empty() || files_.back().capacity - files_.back().size < room) {
        const uint64_t regular =
            files_.empty() ? kFirstFile : std::min(files_.back().capacity * 2, kLargestFile);
        const uint64_t capacity = std::max(regular, room);
        files_.reserve(files_.size() + 1);
        const uint64_t number = spool_->create_file(capacity);
        files_.push_back({number, capacity, 0});
        tail_ = map_frames(spool_->path_of(number), bip::read_write);
    }
    File& file = files_.back();
    uint8_t* p = static_cast<uint8_t*>(tail_.get_address()) + file.size;
    const auto size = static_cast<uint32_t>(frame.size());
    wire::store_u32(p, size);
    wire::store_u32(p + 4, ~size);
    p[8] = 0;
    if (!frame.empty()) std::memcpy(p + kFrameHeader, frame.data(), frame.size());
    file.size += room;
    ++frames_;
}

std::optional<std::span<const uint8_t>> SpoolChain::Reader::next() {
    while (file_ == 0 || at_ == chain_.files_[file_ - 1].size) {
        if (file_ == chain_.files_.size()) return std::nullopt;
        ++file_;
        at_ = 0;
        region_ = map_frames(chain_.spool_->path_of(chain_.files_[file_ - 1].number), bip::read_only);
        region_.advise(bip::mapped_region::advice_sequential);
    }
    const File& file = chain_.files_[file_ - 1];
    const auto fault = [&](const std::string& why) {
        return damaged(chain_.spool_->path_of(file.number), why);
    };
    if (region_.get_size() < file.size) throw fault("It is shorter than what was written to it.");
    const auto* p = static_cast<const uint8_t*>(region_.get_address()) + at_;
    const uint32_t size = wire::load_u32(p);
    if (wire::load_u32(p + 4) != ~size || file.size - at_ < room_for(size)) {
        throw fault("There is no frame at byte " + std::to_string(at_) + ".");
    }
    at_ += room_for(size);
    return std::span<const uint8_t>(p + kFrameHeader, size);
}

}  // namespace walferry
