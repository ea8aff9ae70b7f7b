#include "spool/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <string_view>

#include "error/error.h"

namespace walferry {
namespace {

void on_bus_error(int) {
    constexpr std::string_view kLine =
        "{\"level\":\"error\",\"msg\":\"A mapped file of the spool or of the outage log cannot be read or "
        "written: its disk failed, or it was cut from outside\",\"fields\":{\"code\":\"WF4202\",\"remedy\":"
        "\"Look at the disk below spool.directory and start again: what was in progress comes again from "
        "the server, and an outage log that has lost something says so at its start\"}}\n";
    (void)!::write(STDERR_FILENO, kLine.data(), kLine.size());
    ::_exit(info(ErrorCode::spool_failed).exit_status);
}

}  // namespace

void FileHandle::reset() noexcept {
    if (file_ >= 0) ::close(std::exchange(file_, -1));
}

int reserve_room(int file, uint64_t bytes) {
    int error = 0;
    do {
        error = posix_fallocate(file, 0, static_cast<off_t>(bytes));
    } while (error == EINTR);
    return error;
}

int open_lock_file(const std::filesystem::path& path) {
    return ::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int try_lock(int file) {
    return flock(file, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
}

void handle_file_signals() {
    std::signal(SIGBUS, on_bus_error);
    std::signal(SIGXFSZ, SIG_IGN);
}

}  // namespace walferry
