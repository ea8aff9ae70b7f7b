// Frames on disk, in mapped files (Boost.Interprocess). Each chain has files of its own, so that a chain
// which is done with gives its room back at once. Room is reserved before it is written, so that a full disk
// is an error and not a signal; only the end of a chain that grows, and the file that is being read, are
// mapped.
//
// What lies here has not been confirmed to the source: after a crash it comes again, so nothing is
// synchronised, and what another process has left behind is removed.
//
// Thread contract: one thread. Errors: Error, spool_full and spool_failed; spool_damaged from a reader.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <boost/interprocess/mapped_region.hpp>

#include "spool/files.h"

namespace walferry {

class Spool {
 public:
    // `folder`: where the spool makes a folder of its own at the first use; empty: one for this user below
    // /var/tmp. `name`: of the task. `limit`: bytes of all files together.
    Spool(std::filesystem::path folder, std::string name, uint64_t limit);
    // Removes its folder with everything in it.
    ~Spool();
    Spool(const Spool&) = delete;
    Spool& operator=(const Spool&) = delete;

    uint64_t used() const { return used_; }
    uint64_t limit() const { return limit_; }

 private:
    friend class SpoolChain;

    void open();
    void sweep(const std::filesystem::path& base) const;
    // Makes a file of that many bytes; returns its number.
    uint64_t create_file(uint64_t bytes);
    void remove_file(uint64_t number, uint64_t bytes) noexcept;
    std::filesystem::path path_of(uint64_t number) const;

    std::filesystem::path folder_;
    std::filesystem::path own_folder_;  // empty until the first use
    std::string name_;
    FileHandle lock_;
    uint64_t limit_;
    uint64_t used_ = 0;
    uint64_t next_number_ = 0;
};

class SpoolChain {
 public:
    // The spool must outlive the chain.
    explicit SpoolChain(Spool& spool) : spool_(&spool) {}
    ~SpoolChain() { clear(); }
    SpoolChain(SpoolChain&& other) noexcept;
    SpoolChain& operator=(SpoolChain&&) = delete;

    void append(std::span<const uint8_t> frame);
    uint64_t frames() const { return frames_; }

    // Goes through the frames in the order in which they were appended. The chain must outlive it and not
    // grow meanwhile.
    class Reader {
     public:
        explicit Reader(const SpoolChain& chain) : chain_(chain) {}
        // The next frame, valid until the next call; lies 7 bytes before a multiple of 8, as frame_reader.h
        // asks for. Whether its bytes are what was appended is for its checksum to say.
        std::optional<std::span<const uint8_t>> next();

     private:
        const SpoolChain& chain_;
        boost::interprocess::mapped_region region_;
        size_t file_ = 0;  // the file that is mapped, plus one
        uint64_t at_ = 0;
    };

 private:
    struct File {
        uint64_t number;
        uint64_t capacity;
        uint64_t size;
    };

    void clear() noexcept;

    Spool* spool_;
    std::vector<File> files_;
    boost::interprocess::mapped_region tail_;  // of the last file
    uint64_t frames_ = 0;
};

}  // namespace walferry
