// How the outage log lies on disk. All numbers are little endian.
//
// `state`: three slots. Each says how far the log is synchronised, and which segment is the first. They are
// written in turn, so that one of them is whole and on disk at every moment; that with the highest number
// counts.
//
// Segments, one after another by their numbers: a header of one page, then entries. An entry is its header, a
// frame (or what a session is), and zeros up to a multiple of 8; entries are numbered over the whole log. The
// header's checksum covers also where the entry stands, so that one that has come from elsewhere is noticed.
//
// Magic, version and checksum stay where they are in every version.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "common/wire/crc32c.h"

namespace walferry::outage_log {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the log is written as it lies in memory");

constexpr uint32_t kVersion = 1;
constexpr uint64_t kStateMagic = 0x45544154534f4657;    // "WFOSTATE"
constexpr uint64_t kSegmentMagic = 0x474553474f4c4657;  // "WFLOGSEG"
constexpr size_t kStateSlots = 3;
constexpr size_t kStateSlotBytes = 4096;
constexpr size_t kSegmentHeaderBytes = 4096;

using LogId = std::array<uint8_t, 16>;

struct Envelope {
    uint64_t magic;
    uint32_t version;
    uint32_t checksum;  // of everything else in the block
};

struct StateSlot {
    Envelope envelope;
    LogId log_id;
    uint64_t number;         // of this state, from 1
    uint64_t first_segment;  // older ones are of no use any more
    // Everything before this place is synchronised.
    uint64_t mark_segment;
    uint64_t mark_offset;  // in that segment; 0: nothing of it, it may be missing
    uint64_t mark_entry;   // number of the first entry behind it
    uint64_t mark_end;     // LSN where the last whole transaction before it ends
    uint32_t task_size;
    char task[1020];
};

struct SegmentHeader {
    Envelope envelope;
    LogId log_id;
    uint64_t number;
    uint64_t first_entry;     // number of its first entry
    uint64_t previous_bytes;  // where the last entry of the segment before it ends
    uint64_t previous_end;    // LSN where the last whole transaction before it ends
    uint64_t continues;       // 1: it goes on with a transaction that has begun before
};

enum class EntryType : uint8_t { session = 1, relations = 2, frame = 3 };

enum EntryFlag : uint8_t {
    kAgain = 0x10,  // repeats what was said before, for who begins to read with this segment
    kKnown = 0x20,  // the frame's relations were told before
};

constexpr uint8_t kTypeBits = 0x0f;

struct EntryHeader {
    uint32_t checksum;  // of the rest, and of the entry's place
    uint32_t size;      // of the payload
    uint64_t number;
    uint64_t end;  // LSN where the transaction ends whose last frame this is; 0 otherwise
    uint32_t session;
    uint32_t payload_checksum;
};
static_assert(sizeof(EntryHeader) == 32);

// EntryHeader, then one byte of type and flags: so a frame lies 7 bytes before a multiple of 8.
constexpr size_t kEntryHeaderBytes = sizeof(EntryHeader) + 1;

constexpr uint64_t entry_room(uint64_t payload) {
    return (kEntryHeaderBytes + payload + 7) / 8 * 8;
}

// A session's entry: these, then the slot's name and the database's.
struct SessionEntry {
    uint64_t system;
    uint32_t timeline;
    uint32_t slot_size;
};

// Of a block that begins with an Envelope.
inline uint32_t block_checksum(std::span<const uint8_t> block) {
    const size_t before = offsetof(Envelope, checksum);
    const uint32_t first = wire::crc32c(0, block.data(), before);
    return wire::crc32c(first, block.data() + sizeof(Envelope), block.size() - sizeof(Envelope));
}

inline void seal_block(std::span<uint8_t> block) {
    const uint32_t checksum = block_checksum(block);
    std::memcpy(block.data() + offsetof(Envelope, checksum), &checksum, sizeof(checksum));
}

// Where an entry stands.
struct Place {
    LogId log_id;
    uint64_t segment;
    uint64_t offset;
};
static_assert(sizeof(Place) == 32);

// `header`: kEntryHeaderBytes.
inline uint32_t entry_checksum(const Place& place, const uint8_t* header) {
    const uint32_t seed = wire::crc32c(0, reinterpret_cast<const uint8_t*>(&place), sizeof(place));
    return wire::crc32c(seed, header + sizeof(uint32_t), kEntryHeaderBytes - sizeof(uint32_t));
}

// A frame brings a checksum of its own.
inline uint32_t payload_checksum(EntryType type, std::span<const uint8_t> payload) {
    return type == EntryType::session ? wire::crc32c(0, payload.data(), payload.size())
                                      : wire::frame_checksum(payload.data(), payload.size());
}

}  // namespace walferry::outage_log
