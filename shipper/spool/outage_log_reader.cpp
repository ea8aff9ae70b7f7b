// Reading: one segment after another, mapped.
#include <algorithm>
#include <string>

#include "spool/outage_log.h"
#include "spool/outage_log_codec.h"

namespace walferry {

namespace bip = boost::interprocess;
namespace fs = std::filesystem;
using namespace outage_log;

// False if there is none to read yet.
bool OutageLog::Reader::move_to_segment() {
    const auto& segments = log_.segments_;
    if (segments.empty()) return false;
    segment_ = std::max(segment_, segments.front().number);
    if (segment_ > segments.back().number) return false;
    const Segment& segment = segments[segment_ - segments.front().number];
    region_ = bip::mapped_region();
    region_ = map_file(log_.path_of(segment_), bip::read_only,
                       [this](const fs::path& file, const std::string& why) {
                           return log_.failed("Cannot map", file, why);
                       });
    region_.advise(bip::mapped_region::advice_willneed);
    at_ = kSegmentHeaderBytes;
    follows_ = next_entry_ == segment.first_entry;
    rest_ = !follows_ && segment.continues;
    next_entry_ = segment.first_entry;
    mapped_ = true;
    return true;
}

std::optional<OutageLog::Item> OutageLog::Reader::next() {
    for (;;) {
        if (!mapped_ && !move_to_segment()) return std::nullopt;
        const auto& segments = log_.segments_;
        if (segments.empty() || segment_ < segments.front().number) {
            mapped_ = false;  // released meanwhile
            continue;
        }
        const Segment& segment = segments[segment_ - segments.front().number];
        if (at_ == segment.used) {
            if (segment_ == segments.back().number) return std::nullopt;
            ++segment_;
            mapped_ = false;
            continue;
        }
        const auto fault = [&](const char* why) {
            return damaged(log_.path_of(segment_),
                           std::string(why) + " (at byte " + std::to_string(at_) + ")");
        };
        if (region_.get_size() < segment.used) throw fault("It is shorter than what was written to it.");
        Entry entry{};
        const auto* base = static_cast<const uint8_t*>(region_.get_address());
        const char* why =
            read_entry(base, segment.used, {log_.state_.log_id, segment_, at_}, next_entry_, &entry);
        if (why != nullptr) throw fault(why);
        const bool session = entry.type == EntryType::session;
        if (session && !read_source(entry.payload, &source_)) throw fault("A session's entry is malformed.");
        at_ = entry.next;
        ++next_entry_;
        if (follows_ && (entry.flags & kAgain) != 0) continue;
        if (session && (entry.flags & kAgain) == 0) rest_ = false;
        const bool of_rest = rest_ && entry.type == EntryType::frame;
        if (of_rest) {
            rest_ = entry.end == Lsn{};
            if ((entry.flags & kKnown) != 0) continue;
        }
        const StateSlot& state = log_.state_;
        const bool synced =
            segment_ < state.mark_segment || (segment_ == state.mark_segment && at_ <= state.mark_offset);
        if (session) return Item{Item::Kind::session, &source_, {}, {}, false, synced};
        const bool whole_frame = entry.type == EntryType::frame && !of_rest;
        return Item{whole_frame ? Item::Kind::frame : Item::Kind::relations,
                    nullptr,
                    entry.payload,
                    whole_frame ? entry.end : Lsn{},
                    (entry.flags & kKnown) != 0,
                    synced};
    }
}

}  // namespace walferry
