// Blocks and entries of the outage log's files: how they are made, read and verified. Of use to the log
// alone.
#pragma once

#include <array>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "error/error.h"
#include "spool/outage_log.h"
#include "spool/outage_log_format.h"

namespace walferry::outage_log {

inline constexpr const char* kStateFile = "state";

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
bool read_block(int file, uint64_t at, Block* block);

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
const char* read_entry(const uint8_t* base, uint64_t used, const Place& place, uint64_t number, Entry* entry);

std::vector<uint8_t> write_source(const OutageLogSource& source);
// False if the payload cannot be one.
bool read_source(std::span<const uint8_t> payload, OutageLogSource* source);

std::string text_of(const LogId& id);
// As PostgreSQL writes it.
std::string text_of(Lsn lsn);

// Something was called in a way that it must not be.
Error misused(const std::string& what);

}  // namespace walferry::outage_log
