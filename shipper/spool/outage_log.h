// The durable store for the time when Kafka is away: frames of committed transactions, in the order in which
// they come. Once sync() has returned, the source may be confirmed up to the position that it tells, and the
// server may drop its WAL: the log is then the only copy.
//
// What is promised after any crash: everything up to durable_end() is there and unchanged, or opening the log
// says why not and changes nothing. What was not synchronised is dropped at the next opening, even if it can
// be read: a failed write-back may have left it in memory only. It was never confirmed, so it comes again.
//
// On disk (outage_log_format.h): the file `state` and segments, each reserved before it is written. Writing
// is by system calls, so that a failing disk is an error and not a signal; reading maps one segment at a
// time. Which call makes what durable:
//   sync()     fdatasync of the segment; fsync of the folder if a segment was made; fdatasync of `state`,
//              whose newest slot then says how far the log is good
//   a full segment   fdatasync, before the next one is begun
//   release()  fdatasync of `state`, which says what the first segment is, and only then the removal;
//              files that a crash leaves behind are removed at the next opening
//
// A segment can be read without those before it: it begins with the session and its live relations.
//
// Thread contract: one thread, readers included. Errors: Error, outage_log_*.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include <boost/interprocess/mapped_region.hpp>

#include "common/types.h"
#include "common/wire/frame_reader.h"
#include "error/error.h"
#include "spool/files.h"
#include "spool/live_relations.h"
#include "spool/outage_log_format.h"

namespace walferry {

// Whose frames they are. System and slot are the same for all that is in the log at a time.
struct OutageLogSource {
    SystemId system;
    Timeline timeline;
    std::string slot;
    std::string database;

    friend bool operator==(const OutageLogSource&, const OutageLogSource&) = default;
};

struct OutageLogOptions {
    uint64_t segment_bytes = uint64_t(64) << 20;
    // fdatasync, or what a test puts in its place.
    int (*synchronise)(int file) = nullptr;
};

class OutageLog {
 public:
    // Opens the log in `folder`, or makes an empty one, folder included. Reads all of it once, at the disk's
    // speed. Errors: outage_log_in_use, _damaged, _other_source (another task's), _version, _failed.
    OutageLog(std::filesystem::path folder, std::string task, uint64_t limit, OutageLogOptions options = {});
    OutageLog(const OutageLog&) = delete;
    OutageLog& operator=(const OutageLog&) = delete;

    // Random, made with the log: tells it from another one in its place.
    const std::string& id() const { return id_text_; }
    // Of the last session in the log; none if it is empty.
    const std::optional<OutageLogSource>& source() const { return source_; }
    bool empty() const { return segments_.empty(); }
    // The log holds what ended after this position; end() if it is empty.
    Lsn begin() const;
    // End of the last whole transaction, and of the last that is synchronised. They never go back while the
    // log is open.
    Lsn end() const { return end_; }
    Lsn durable_end() const { return durable_end_; }
    uint64_t used_bytes() const { return used_; }
    uint64_t limit() const { return limit_; }
    // What was dropped at the opening because it was not synchronised.
    uint64_t dropped_bytes() const { return dropped_; }

    // What comes from now on belongs to a new session of the source: relation ids begin anew, and a
    // transaction that has not ended comes again from its first frame. `from`: where the session begins to
    // read; what ended before was never in an empty log. Error: outage_log_other_source.
    void begin_session(const OutageLogSource& source, Lsn from = Lsn{});

    // Every frame of a session goes, in order, either to observe() or to append(). Here come those that are
    // not logged: from before the outage, or of transactions in progress. The batch has been verified.
    void observe(const wire::FrameHeader& header, const wire::Batch& batch);

    // Whether a frame of that size can be appended: reserves the next segment if need be. False if the limit
    // or the disk forbids it; that is no error, the source just has to wait until there is room.
    bool has_room(uint64_t frame_bytes);
    // Why has_room() has just said no.
    const std::string& why_no_room() const { return why_no_room_; }

    // `end`: of the transaction, with its last frame; 0 with the others. Nothing has changed if it throws
    // outage_log_full. The frame must verify, and transactions come in the order of their ends.
    void append(std::span<const uint8_t> frame, Lsn end);

    // Nothing more ended before `end`, which is after end(); between two transactions. It takes a small frame
    // without records, so that the log says itself how far it speaks.
    void advance(Lsn end);

    // Makes everything durable that was appended. Returns durable_end(). After an error (outage_log_failed)
    // nothing more is taken: what the system has not written it may forget, and a second try would succeed
    // without it. Reading goes on.
    Lsn sync();

    // Everything that ended at or before `up_to` is safe elsewhere: gives back the segments of which that
    // holds for all, the one being written if it holds for the whole log. Returns the bytes.
    uint64_t release(Lsn up_to);

    struct Item {
        enum class Kind : uint8_t {
            session,    // `source` says whose: forget the relations known so far
            relations,  // take in the relations that `frame` brings, and nothing else of it
            frame,      // as it was appended
        };
        Kind kind;
        const OutageLogSource* source;
        std::span<const uint8_t> frame;
        Lsn end;      // as appended
        bool known;   // the relations in `frame` were told by an earlier item
        bool synced;  // is durable
    };

    // Goes through the log from its first segment on, and goes on with what is appended meanwhile. What is
    // released before it was read is passed over, at a session item. The log must outlive it.
    class Reader {
     public:
        explicit Reader(const OutageLog& log) : log_(log) {}
        // The next item, valid until the next call; nullopt: nothing more for the moment. A frame lies 7
        // bytes before a multiple of 8. Throws outage_log_damaged.
        std::optional<Item> next();

     private:
        bool move_to_segment();

        const OutageLog& log_;
        boost::interprocess::mapped_region region_;
        bool mapped_ = false;
        uint64_t segment_ = 0;  // mapped, or to be mapped next
        uint64_t at_ = 0;
        uint64_t next_entry_ = 0;
        bool follows_ = false;  // has read what comes before the segment
        bool rest_ = false;     // is in the rest of a transaction of which the beginning was released
        OutageLogSource source_;
    };

 private:
    struct Segment {
        uint64_t number;
        uint64_t bytes;  // of the file
        uint64_t used;   // where the last entry ends
        uint64_t first_entry;
        Lsn previous_end;
        Lsn first_end;  // of the transactions that end in it; 0: none does
        Lsn last_end;
        bool continues = false;  // a transaction that has begun before goes on in it
        bool whole = true;       // none goes on in the next segment
    };
    struct Introduction;
    struct Scan;

    std::filesystem::path path_of(uint64_t segment) const;
    Error failed(const std::string& what, const std::filesystem::path& path, const std::string& why) const;
    Error failed(const std::string& what, const std::filesystem::path& path, int error) const;
    static Error damaged(const std::filesystem::path& path, const std::string& why);

    void make_folder() const;
    void take_lock();
    std::set<uint64_t> find_segments() const;
    void create_state();
    void read_state();
    void write_state(outage_log::StateSlot next);
    outage_log::SegmentHeader read_header(uint64_t number) const;
    void verify(const std::set<uint64_t>& found);
    void drop_what_is_behind(const Scan& scan, const std::set<uint64_t>& found);

    void check_usable() const;
    void synchronise(int file, const std::filesystem::path& path);
    void synchronise_folder();
    void write_at(int file, const std::filesystem::path& path, uint64_t at, std::span<const uint8_t> head,
                  std::span<const uint8_t> body);
    std::vector<Introduction> introduction(bool new_segment) const;
    bool reserve(uint64_t frame_bytes);
    bool begin_segment(uint64_t room);
    void end_segment();
    void tell_again(const wire::FrameReader& frame);
    void follow(const wire::FrameReader& frame);
    void put(outage_log::EntryType type, uint8_t flags, std::span<const uint8_t> payload, Lsn end);
    Lsn needed_until(size_t segment) const;

    std::filesystem::path folder_;
    std::string task_;
    uint64_t limit_;
    OutageLogOptions options_;
    FileHandle lock_;
    FileHandle folder_file_;
    FileHandle state_file_;
    outage_log::StateSlot state_{};
    std::string id_text_;

    std::deque<Segment> segments_;
    FileHandle tail_;  // the last segment, if it is being written
    uint64_t write_back_from_ = 0;
    bool folder_synchronised_ = true;
    uint64_t used_ = 0;
    uint64_t next_entry_ = 1;
    uint64_t next_segment_ = 1;
    Lsn end_;
    Lsn durable_end_;
    bool whole_ = true;  // no transaction is open
    bool failed_ = false;
    uint64_t dropped_ = 0;
    std::string why_no_room_;

    std::optional<OutageLogSource> source_;   // of the last session that was written
    std::optional<OutageLogSource> session_;  // that has begun
    uint32_t session_number_ = 0;
    bool session_written_ = false;
    bool introduced_ = false;  // the segment being written says the session
    LiveRelations relations_;
    std::set<uint32_t> unwritten_;  // relations that no entry tells yet
    // Relations that a logged frame has retired, and that transactions in progress may use: told again when
    // one of them is logged.
    std::set<uint32_t> withheld_;
};

}  // namespace walferry
