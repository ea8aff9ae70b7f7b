// The frame: 7 bytes in front of a flatbuffer. Seven, because the payload of a replication message starts 25
// bytes into the buffers of both sides, and 25 + 7 = 32 keeps the flatbuffer aligned without a copy.
//
//   offset  size  what
//   0       1     magic, 'W'
//   1       1     version of the wire format
//   2       1     kind (low four bits) and flags (high four bits)
//   3       4     CRC-32C, little endian, over bytes 0..2 and everything from byte 7 on
//   7       -     flatbuffer `Batch`
//
// Used inside the server and outside: no allocation, no exceptions, no static constructors.
#pragma once

#include <cstddef>
#include <cstdint>

namespace walferry::wire {

constexpr uint8_t kMagic = 'W';
constexpr uint8_t kVersion = 1;  // the newest; the plugin writes any from kOldestVersion on
constexpr uint8_t kOldestVersion = 1;
constexpr size_t kHeaderSize = 7;
constexpr uint32_t kNoRelation = UINT32_MAX;

// Numbers are on the wire and never reused. 9 is reserved for snapshot rows; no plugin writes it yet.
enum class FrameKind : uint8_t {
    transaction = 1,        // rows of one committed transaction
    message = 2,            // a logical message outside any transaction
    stream = 3,             // rows of a transaction that is not yet committed
    stream_commit = 4,      // such a transaction was committed
    stream_abort = 5,       // it, or one of its subtransactions, was rolled back
    prepare = 6,            // it was prepared (two-phase commit); may bring the last rows
    commit_prepared = 7,    // a prepared transaction was committed
    rollback_prepared = 8,  // or rolled back
    snapshot = 9,
};

enum FrameFlag : uint8_t {
    kFirst = 0x10,  // first frame of its transaction
    kLast = 0x20,   // last frame of its transaction: end_lsn may be confirmed once it is safe
};

// Frames whose records belong to a transaction that is not committed yet, in runs.
inline bool in_progress(FrameKind kind) {
    return kind == FrameKind::stream || kind == FrameKind::prepare;
}

// Bits of Record.images for row operations.
enum ImageFlag : uint8_t {
    kBefore = 0x01,
    kAfter = 0x02,
    kBeforeKeyOnly = 0x04,  // the before image holds the replica identity's columns only
    kBeforeNulls = 0x08,    // the image begins with a null bitmap
    kAfterNulls = 0x10,
    kBeforeUnchanged = 0x20,  // then an "unchanged" bitmap: values not logged (TOAST) or left out
    kAfterUnchanged = 0x40,
    kOversize = 0x80,  // values that do not fit into a frame were left out and are marked as unchanged
};

// Bits of Record.images for a truncate.
enum TruncateFlag : uint8_t { kCascade = 0x01, kRestartIdentity = 0x02 };

struct FrameHeader {
    uint8_t version;
    FrameKind kind;
    bool first;
    bool last;
};

inline uint32_t load_u32(const uint8_t* p) {
    return uint32_t(p[0]) | uint32_t(p[1]) << 8 | uint32_t(p[2]) << 16 | uint32_t(p[3]) << 24;
}

inline void store_u32(uint8_t* p, uint32_t v) {
    p[0] = uint8_t(v);
    p[1] = uint8_t(v >> 8);
    p[2] = uint8_t(v >> 16);
    p[3] = uint8_t(v >> 24);
}

// Fills bytes 0..2; the checksum is stored by seal().
inline void store_header(uint8_t* frame, FrameKind kind, bool first, bool last) {
    frame[0] = kMagic;
    frame[1] = kVersion;
    frame[2] = uint8_t(uint8_t(kind) | (first ? kFirst : 0) | (last ? kLast : 0));
}

// Lengths up to 127 take one byte, then seven bits a byte, lowest first.
constexpr size_t kMaxVarint32 = 5;

inline uint8_t* store_varint(uint8_t* p, uint32_t v) {
    while (v >= 0x80) {
        *p++ = uint8_t(v | 0x80);
        v >>= 7;
    }
    *p++ = uint8_t(v);
    return p;
}

// Returns the byte after the number, or nullptr if it does not end before `end` or exceeds 32 bits.
inline const uint8_t* load_varint(const uint8_t* p, const uint8_t* end, uint32_t* v) {
    uint32_t result = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
        if (p == end) return nullptr;
        uint8_t byte = *p++;
        if (shift == 28 && byte > 0x0f) return nullptr;
        result |= uint32_t(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *v = result;
            return p;
        }
    }
    return nullptr;
}

}  // namespace walferry::wire
