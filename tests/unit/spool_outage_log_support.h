// What the tests of the outage log share: frames, a reader that takes them in, and the files on disk.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common_wire_support.h"
#include "record/frame_walker.h"
#include "spool/outage_log.h"
#include "spool_test_folder.h"

namespace walferry::test {

namespace fs = std::filesystem;
using wire::test::FrameBuilder;
using Bytes = std::vector<uint8_t>;
using Kind = OutageLog::Item::Kind;

inline constexpr uint64_t kRoom = uint64_t(1) << 30;
inline constexpr uint64_t kSegment = 64 << 10;
inline const OutageLogOptions kSmall{.segment_bytes = kSegment};
// Where it is not the disk that is tested.
inline const OutageLogOptions kUnsynced{.segment_bytes = kSegment, .synchronise = [](int) { return 0; }};
inline const OutageLogSource kSource{SystemId{7001}, Timeline{1}, "slot", "shop"};

inline ErrorCode error_of(const std::function<void()>& action) {
    try {
        action();
    } catch (const Error& error) {
        return error.code();
    }
    ADD_FAILURE() << "no error";
    return ErrorCode::internal;
}

// A frame of one row of relation `id`, whose text says `row` and is `size` bytes long.
struct FrameOf {
    uint32_t id = 1;
    int32_t row = 0;
    size_t size = 20;
    bool define = false;
    bool session = false;
    std::vector<uint32_t> retire = {};
    wire::FrameKind kind = wire::FrameKind::transaction;

    wire::test::Frame make() const {
        const std::vector<wire::ColumnParts> columns = wire::test::example_columns();
        const std::string name = "t" + std::to_string(id);
        const wire::SessionParts parts{"0.1.0", 150020, "shop", "UTF8"};
        FrameBuilder builder;
        builder.parts.kind = kind;
        if (session) builder.parts.session = &parts;
        if (define) builder.add(wire::test::relation(id, name.c_str(), columns));
        for (const uint32_t retired : retire) builder.retire(retired);
        builder.add(wire::Operation::Insert, id, wire::kAfter,
                    wire::test::little_endian(uint32_t(row), 4) +
                        wire::test::sized(std::string(size, char('a' + row % 26))));
        const wire::Run run{1, 742, 1};
        if (wire::in_progress(kind)) {
            builder.parts.runs = &run;
            builder.parts.run_count = 1;
        }
        return builder.build();
    }
};

inline void append(OutageLog& log, const FrameOf& frame, Lsn end) {
    const wire::test::Frame bytes = frame.make();
    log.append({bytes.data(), bytes.size()}, end);
}

inline void observe(OutageLog& log, const FrameOf& frame) {
    const wire::test::Frame bytes = frame.make();
    wire::FrameReader reader;
    ASSERT_TRUE(reader.open(bytes.data(), bytes.size()).ok());
    log.observe(reader.header(), reader.batch());
}

// What a user of the log does: one walker per session, relations where they are told, rows of frames.
class Consumer {
 public:
    explicit Consumer(const OutageLog& log) : reader_(log) {}

    // Takes what there is; returns whether there was anything.
    bool take() {
        bool any = false;
        while (const auto item = reader_.next()) {
            any = true;
            if (item->kind == Kind::session) {
                walker_.emplace();
                sessions.push_back(*item->source);
                continue;
            }
            EXPECT_EQ((reinterpret_cast<uintptr_t>(item->frame.data()) + 7) % 8, 0u);
            if (!walker_) {
                ADD_FAILURE() << "a frame without a session";
                return any;
            }
            if (item->known)
                walker_->reopen(item->frame);
            else
                walker_->open(item->frame, *this);
            if (item->kind == Kind::relations) {
                ++heads;
                continue;
            }
            if (walker_->header().kind == wire::FrameKind::transaction) {
                walker_->visit(Ordinal{}, 0, *this);
                walker_->retire(1);
                walker_->release(1);
            } else {
                Ordinal next;
                walker_->visit_in_progress(walker_->transaction(), 0, {}, Ordinal{}, next, *this);
            }
            frames.emplace_back(item->frame.begin(), item->frame.end());
            ends.push_back(item->end);
            synced += item->synced;
        }
        return any;
    }

    void on_relation(FrameWalker<int>::Entry& entry) { relations.push_back(entry.schema.table); }
    void on_row(FrameWalker<int>::Entry& entry, const Row& row) {
        EXPECT_EQ(row.after[0].size, 4u);
        rows.push_back(int32_t(wire::load_u32(row.after[0].data)));
        EXPECT_EQ(entry.schema.server_version, server_version);
    }
    void on_message(const LogicalMessage&) {}

    std::vector<OutageLogSource> sessions;
    std::vector<std::string> relations;
    std::vector<int32_t> rows;
    std::vector<Bytes> frames;
    std::vector<Lsn> ends;
    size_t heads = 0;
    size_t synced = 0;
    uint32_t server_version = 150020;

 private:
    OutageLog::Reader reader_;
    std::optional<FrameWalker<int>> walker_;
};

inline std::vector<int32_t> rows_of(const OutageLog& log) {
    Consumer consumer(log);
    consumer.take();
    return consumer.rows;
}

inline std::vector<int32_t> numbers(int32_t from, int32_t to) {
    std::vector<int32_t> all;
    for (int32_t i = from; i < to; i++) all.push_back(i);
    return all;
}

// `count` transactions of one frame each, the row's number times 10 being the end.
inline void write_rows(OutageLog& log, int32_t from, int32_t to, size_t size = 1000) {
    for (int32_t row = from; row < to; row++) {
        append(log, {.row = row, .size = size, .define = row == from, .session = row == from},
               Lsn{uint64_t(row + 1) * 10});
    }
}

inline std::map<std::string, std::string> content_of(const fs::path& folder) {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(folder)) {
        std::ostringstream text;
        text << std::ifstream(entry.path(), std::ios::binary).rdbuf();
        if (entry.path().filename() != "lock") files[entry.path().filename().string()] = text.str();
    }
    return files;
}

inline void restore(const fs::path& folder, const std::map<std::string, std::string>& files) {
    for (const auto& entry : fs::directory_iterator(folder)) fs::remove(entry.path());
    for (const auto& [name, text] : files) std::ofstream(folder / name, std::ios::binary) << text;
}

inline std::vector<fs::path> segments_in(const TestFolder& folder) {
    std::vector<fs::path> files = folder.files(".segment");
    std::sort(files.begin(), files.end());
    return files;
}

inline void flip(const fs::path& path, uint64_t at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(std::streamoff(at));
    const char byte = char(file.get() ^ 0x10);
    file.seekp(std::streamoff(at));
    file.put(byte);
}

}  // namespace walferry::test
