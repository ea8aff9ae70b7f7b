#include "spool/outage_log_codec.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "common/wire/frame.h"

namespace walferry::outage_log {

bool read_block(int file, uint64_t at, Block* block) {
    block->fill(0);
    size_t size = 0;
    while (size < block->size()) {
        const ssize_t got =
            ::pread(file, block->data() + size, block->size() - size, static_cast<off_t>(at + size));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return false;
        if (got == 0) return true;
        size += static_cast<size_t>(got);
    }
    return true;
}

std::string text_of(const LogId& id) {
    constexpr const char* kDigits = "0123456789abcdef";
    std::string text;
    for (size_t i = 0; i < id.size(); i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += kDigits[id[i] >> 4];
        text += kDigits[id[i] & 0x0f];
    }
    return text;
}

std::string text_of(Lsn lsn) {
    std::array<char, 32> text{};
    const int size = std::snprintf(text.data(), text.size(), "%X/%X", static_cast<unsigned>(lsn.value >> 32),
                                   static_cast<unsigned>(lsn.value & 0xffffffff));
    return {text.data(), static_cast<size_t>(size)};
}

const char* read_entry(const uint8_t* base, uint64_t used, const Place& place, uint64_t number,
                       Entry* entry) {
    const uint64_t left = used - place.offset;
    if (left < kEntryHeaderBytes) return "An entry is cut off.";
    const uint8_t* p = base + place.offset;
    EntryHeader header{};
    std::memcpy(&header, p, sizeof(header));
    if (header.checksum != entry_checksum(place, p)) return "An entry's header is not what was written.";
    if (header.number != number) return "An entry is not the one that has to follow.";
    if (entry_room(header.size) > left) return "An entry is longer than the room it has.";
    const uint8_t* payload = p + kEntryHeaderBytes;
    const uint8_t type = p[sizeof(EntryHeader)];
    *entry = {static_cast<EntryType>(type & kTypeBits),
              static_cast<uint8_t>(type & ~kTypeBits),
              {payload, header.size},
              Lsn{header.end},
              header.session,
              place.offset + entry_room(header.size)};
    const bool is_frame = entry->type == EntryType::frame || entry->type == EntryType::relations;
    if (!is_frame && entry->type != EntryType::session) return "An entry is of no known type.";
    if (is_frame && header.size < wire::kHeaderSize) return "A frame is too short.";
    if (header.payload_checksum != payload_checksum(entry->type, entry->payload) ||
        (is_frame && header.payload_checksum != wire::load_u32(payload + 3))) {
        return "An entry's content is not what was written.";
    }
    if (!std::all_of(payload + header.size, base + entry->next, [](uint8_t byte) { return byte == 0; }))
        return "Bytes between two entries are not what was written.";
    return nullptr;
}

std::vector<uint8_t> write_source(const OutageLogSource& source) {
    const SessionEntry fixed{source.system.value, source.timeline.value,
                             static_cast<uint32_t>(source.slot.size())};
    std::vector<uint8_t> bytes(sizeof(fixed));
    std::memcpy(bytes.data(), &fixed, sizeof(fixed));
    bytes.insert(bytes.end(), source.slot.begin(), source.slot.end());
    bytes.insert(bytes.end(), source.database.begin(), source.database.end());
    return bytes;
}

bool read_source(std::span<const uint8_t> payload, OutageLogSource* source) {
    SessionEntry fixed{};
    if (payload.size() < sizeof(fixed)) return false;
    std::memcpy(&fixed, payload.data(), sizeof(fixed));
    const auto names = payload.subspan(sizeof(fixed));
    if (fixed.slot_size > names.size()) return false;
    const auto* text = reinterpret_cast<const char*>(names.data());
    *source = {SystemId{fixed.system}, Timeline{fixed.timeline}, std::string(text, fixed.slot_size),
               std::string(text + fixed.slot_size, names.size() - fixed.slot_size)};
    return true;
}

Error misused(const std::string& what) {
    return {ErrorCode::internal, what, "", "Please report it, with the lines logged before."};
}

}  // namespace walferry::outage_log
