// The relations that later frames of a session may use, kept in the form in which they travel, so that a
// frame with all of them can be made at any time. Thread contract: one thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "common/types.h"
#include "common/wire/frame_reader.h"

namespace walferry {

// A frame in memory of its own, where frame_reader.h wants it: 7 bytes before a multiple of 8.
class OwnFrame {
 public:
    explicit OwnFrame(size_t bound) : bytes_(bound + 1) {}

    uint8_t* data() { return bytes_.data() + 1; }
    void resize(size_t size) { bytes_.resize(size + 1); }
    std::span<const uint8_t> bytes() const { return std::span(bytes_).subspan(1); }

 private:
    std::vector<uint8_t> bytes_;
};

class LiveRelations {
 public:
    // A new session: ids begin anew.
    void clear();

    bool knows(uint32_t id) const { return relations_.contains(id); }
    // Whether the session, or a relation of it, has been told.
    bool empty() const { return relations_.empty() && !session_; }

    // Takes in one relation, in place of one with the same id.
    void add(const wire::Relation& relation);
    // Takes in what a frame says about its session, and which transactions are in progress after it; forgets
    // what it retires as soon as no transaction in progress can use that. Its relations are for add().
    void follow(const wire::FrameHeader& header, const wire::Batch& batch);

    // A frame without records that tells the session and all relations but those in `without`.
    OwnFrame frame_of_all(const std::set<uint32_t>& without = {}) const;
    // A frame without records that tells those relations of `ids` that are still alive.
    OwnFrame frame_of(const std::set<uint32_t>& ids) const;

 private:
    struct Block {
        std::vector<uint8_t> bytes;  // as write_relation() made it
        uint32_t table;              // where the table starts in it
    };
    struct Session {
        std::string plugin_version;
        uint32_t server_version;
        std::string database;
        std::string encoding;
    };

    static OwnFrame make_frame(const std::vector<const Block*>& blocks, const Session* session);

    std::map<uint32_t, Block> relations_;
    std::vector<uint32_t> retired_;
    std::set<uint32_t> in_progress_;  // transactions
    std::optional<Session> session_;
};

}  // namespace walferry
