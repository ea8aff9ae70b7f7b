// Throughput of the outage log in frames of 64 KiB, synchronised every 100 ms, beside plain writes of the
// same amount: the disk's limit. Not part of `make check`:
//   cmake --build BUILD --target spool_bench && BUILD/spool_bench [folder [GB]]
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/wire/frame_writer.h"
#include "error/error.h"
#include "spool/outage_log.h"

namespace {

using namespace walferry;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr size_t kFrameBytes = size_t(64) << 10;
constexpr std::chrono::milliseconds kInterval{100};

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

void report(const char* name, uint64_t bytes, double seconds) {
    std::printf("%-44s %8.0f MB/s  (%.2f s)\n", name, double(bytes) / 1e6 / seconds, seconds);
}

OwnFrame make_frame() {
    std::vector<uint8_t> values(kFrameBytes - 256);
    for (size_t i = 0; i < values.size(); i++) values[i] = uint8_t(i * 2654435761u >> 13);
    const wire::Record record(0, 1, 0, wire::Operation::Insert, wire::kAfter);
    wire::FrameParts parts;
    parts.first = parts.last = true;
    parts.records = &record;
    parts.record_count = 1;
    parts.values = values.data();
    parts.value_bytes = values.size();
    OwnFrame frame(wire::frame_bound(parts));
    const size_t size = wire::write_frame(parts, frame.data());
    frame.resize(size);
    wire::seal(frame.data(), size);
    return frame;
}

// So that what follows comes from the disk.
void forget_cached(const fs::path& folder) {
    for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
        const FileHandle file(::open(entry.path().c_str(), O_RDONLY | O_CLOEXEC));
        if (file) (void)::posix_fadvise(file.get(), 0, 0, POSIX_FADV_DONTNEED);
    }
}

// Calls `write` until `bytes` are written, and `sync` every 100 ms and at the end.
template <typename Write, typename Sync>
void measure_writing(const char* name, uint64_t bytes, size_t size, Write&& write, Sync&& sync) {
    const auto start = Clock::now();
    auto synced = start;
    double longest = 0;
    const auto timed_sync = [&] {
        const auto before = Clock::now();
        sync();
        longest = std::max(longest, seconds_since(before));
        synced = Clock::now();
    };
    for (uint64_t written = 0; written < bytes; written += size) {
        write();
        if (Clock::now() - synced >= kInterval) timed_sync();
    }
    timed_sync();
    report(name, bytes, seconds_since(start));
    std::printf("%-44s %8.0f ms\n", "  longest sync", longest * 1e3);
}

int bench(const fs::path& folder, uint64_t bytes) {
    const OwnFrame frame = make_frame();
    const auto content = frame.bytes();

    const fs::path plain = folder / "plain";
    {
        const FileHandle file(::open(plain.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600));
        const auto stop = [&] {
            std::perror(plain.c_str());
            std::exit(1);
        };
        if (!file) stop();
        measure_writing(
            "plain write, fdatasync every 100 ms", bytes, content.size(),
            [&] {
                if (::write(file.get(), content.data(), content.size()) != ssize_t(content.size())) stop();
            },
            [&] {
                if (::fdatasync(file.get()) != 0) stop();
            });
    }
    {
        forget_cached(folder);
        const FileHandle file(::open(plain.c_str(), O_RDONLY | O_CLOEXEC));
        std::vector<uint8_t> buffer(size_t(1) << 20);
        const auto start = Clock::now();
        while (::read(file.get(), buffer.data(), buffer.size()) > 0) continue;
        report("plain read, from the disk", bytes, seconds_since(start));
    }
    fs::remove(plain);

    const fs::path log_folder = folder / "log";
    fs::remove_all(log_folder);
    uint64_t row = 0;
    {
        OutageLog log(log_folder, "bench", bytes * 2);
        log.begin_session({SystemId{1}, Timeline{1}, "slot", "bench"});
        measure_writing(
            "outage log, sync every 100 ms", bytes, content.size(),
            [&] { log.append(content, Lsn{++row * 8}); }, [&] { log.sync(); });
    }
    const auto read_all = [&](const OutageLog& log) {
        OutageLog::Reader reader(log);
        uint64_t frames = 0;
        while (const auto item = reader.next()) frames += item->kind == OutageLog::Item::Kind::frame;
        if (frames != row) {
            std::printf("%llu frames of %llu\n", static_cast<unsigned long long>(frames),
                        static_cast<unsigned long long>(row));
            std::exit(1);
        }
    };
    for (const bool cached : {false, true}) {
        if (!cached) forget_cached(log_folder);
        auto start = Clock::now();
        OutageLog log(log_folder, "bench", bytes * 2);
        report(cached ? "open and verify, cached" : "open and verify, from the disk", bytes,
               seconds_since(start));
        if (!cached) forget_cached(log_folder);
        start = Clock::now();
        read_all(log);
        report(cached ? "read and verify, cached" : "read and verify, from the disk", bytes,
               seconds_since(start));
    }
    fs::remove_all(log_folder);
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    std::printf("%-44s %8ld MB\n", "largest resident size", usage.ru_maxrss / 1024);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const fs::path folder = argc > 1 ? argv[1] : "/var/tmp";
    const uint64_t gigabytes = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 2;
    const fs::path own = folder / ("walferry-spool-bench." + std::to_string(::getpid()));
    try {
        fs::create_directories(own);
        const int result = bench(own, gigabytes << 30);
        fs::remove_all(own);
        return result;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        fs::remove_all(own);
        return 1;
    }
}
