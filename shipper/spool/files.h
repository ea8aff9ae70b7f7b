// What the stores of this folder share: descriptors, room on disk, locks, mapped files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>

#include <boost/interprocess/file_mapping.hpp>
#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/mapped_region.hpp>

namespace walferry {

// Owns a descriptor; -1 for none.
class FileHandle {
 public:
    FileHandle() = default;
    explicit FileHandle(int file) : file_(file) {}
    FileHandle(FileHandle&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
    FileHandle& operator=(FileHandle&& other) noexcept {
        std::swap(file_, other.file_);
        other.reset();
        return *this;
    }
    ~FileHandle() { reset(); }

    void reset() noexcept;
    int get() const { return file_; }
    explicit operator bool() const { return file_ >= 0; }

 private:
    int file_ = -1;
};

// Gives the file its room on disk. Returns 0 or the system's error.
int reserve_room(int file, uint64_t bytes);

// Opens a lock file, and makes it if it is missing; not locked yet. -1 with errno.
int open_lock_file(const std::filesystem::path& path);

// Takes the lock without waiting. Returns 0 or the system's error (EWOULDBLOCK: somebody else has it).
int try_lock(int file);

// A mapped file whose disk fails, or that somebody has cut, can only be told by a signal; and so, unless it
// is ignored, a file larger than the process may write. From here on the first ends the process with a line
// that names the cause, the second is an error of the call.
void handle_file_signals();

// Maps the whole file. What goes wrong is thrown as what `fail(path, why)` returns.
template <typename Fail>
boost::interprocess::mapped_region map_file(const std::filesystem::path& path,
                                            boost::interprocess::mode_t mode, Fail&& fail) {
    try {
        const boost::interprocess::file_mapping file(path.c_str(), mode);
        return {file, mode};
    } catch (const boost::interprocess::interprocess_exception& exception) {
        throw fail(path, std::string(exception.what()));
    }
}

}  // namespace walferry
