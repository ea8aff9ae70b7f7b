#include "oversize/claim_check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "error/error.h"

namespace walferry {
namespace {

namespace fs = std::filesystem;

Error failed(std::string_view what, const fs::path& path, int error) {
    return {ErrorCode::claim_check_failed, fmt::format("{} {}", what, path.string()), std::strerror(error),
            "Make room, or give the shipper the right to write below sink.claim_check_directory. The record "
            "comes again meanwhile."};
}

class File {
 public:
    explicit File(int descriptor) : descriptor_(descriptor) {}
    ~File() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    File(const File&) = delete;
    File& operator=(const File&) = delete;

    int get() const { return descriptor_; }
    // The error, 0 if there was none: some file systems tell only here that nothing was written.
    int close() { return ::close(std::exchange(descriptor_, -1)) == 0 ? 0 : errno; }

 private:
    int descriptor_;
};

// 0, or the error.
int write_all(int descriptor, std::string_view value) {
    while (!value.empty()) {
        const ssize_t written = ::write(descriptor, value.data(), value.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return errno;
        value.remove_prefix(static_cast<size_t>(written));
    }
    return ::fsync(descriptor) == 0 ? 0 : errno;
}

void sync_directory(const fs::path& path) {
    const File directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.get() < 0 || ::fsync(directory.get()) != 0)
        throw failed("Cannot make durable the folder", path, errno);
}

// Makes the folder and those above it, down from `root`, durably.
void make_folders(const fs::path& root, const fs::path& relative) {
    fs::path folder = root;
    for (const fs::path& step : relative) {
        const fs::path parent = folder;
        folder /= step;
        if (::mkdir(folder.c_str(), 0777) == 0) {
            sync_directory(parent);
        } else if (errno != EEXIST) {
            throw failed("Cannot make the folder", folder, errno);
        }
    }
}

}  // namespace

std::string claim_name(std::string_view position) {
    const size_t timeline = position.find(':');
    const size_t lsn = position.find(':', timeline + 1);
    const size_t low = position.find('/', lsn + 1);
    const size_t ordinal = position.find(':', low + 1);
    return fmt::format("{}-{}/{:0>8}{:0>8}-{}", position.substr(0, timeline),
                       position.substr(timeline + 1, lsn - timeline - 1),
                       position.substr(lsn + 1, low - lsn - 1), position.substr(low + 1, ordinal - low - 1),
                       position.substr(ordinal + 1));
}

ClaimCheck::ClaimCheck(std::string directory, const std::string& task)
    : directory_(std::move(directory)), task_(task) {
    const File opened(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const int error = opened.get() < 0 || ::access(directory_.c_str(), W_OK | X_OK) != 0 ? errno : 0;
    if (error == 0) return;
    throw Error(ErrorCode::config_value, "sink.claim_check_directory cannot be used: " + directory_,
                std::strerror(error),
                "Make the folder, and give the user that runs walferry the right to write to it.");
}

std::string ClaimCheck::store(std::string_view position, std::string_view value) const {
    std::string relative = task_ + "/" + claim_name(position);
    const fs::path path = fs::path(directory_) / relative;
    const fs::path folder = path.parent_path();
    make_folders(directory_, fs::path(relative).parent_path());

    const fs::path unfinished = path.string() + ".unfinished";
    File file(::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (file.get() < 0) throw failed("Cannot make the file", unfinished, errno);
    int error = write_all(file.get(), value);
    if (const int at_close = file.close(); error == 0) error = at_close;
    if (error == 0 && ::rename(unfinished.c_str(), path.c_str()) != 0) error = errno;
    if (error != 0) {
        ::unlink(unfinished.c_str());  // a full disk needs the room
        throw failed("Cannot write the file", path, error);
    }
    sync_directory(folder);
    return relative;
}

}  // namespace walferry
