// The seeds of tests/fuzz/frame_fuzz.cpp. The folder holds exactly what this file makes; after a change of
// the format run this test with WALFERRY_WRITE_CORPUS=1 to write it anew.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>

#include "common_wire_support.h"
#include "tests/fuzz/frame_walk.h"

namespace walferry::wire::test {
namespace {

namespace fs = std::filesystem;

struct Seed {
    std::vector<uint8_t> bytes;
    FrameError error;  // of the frame as it is
    size_t rows;
};

std::map<std::string, Seed> make_seeds() {
    std::map<std::string, Seed> seeds;
    auto add = [&seeds](const char* name, const Frame& frame, size_t rows) {
        seeds[name] = {frame.bytes(), FrameError::none, rows};
    };
    add("insert", example_frame(), 1);

    SessionParts session = {"0.1.0", 150020, "shop", "UTF8"};
    FrameBuilder opening;
    opening.parts.session = &session;
    opening.retire(1).retire(2);
    add("session", opening.build(), 0);

    const char* labels[] = {"sad", "happy"};
    std::vector<ColumnParts> columns = example_columns();
    std::vector<ColumnParts> moods = {column("mood", ValueClass::Output, 1)};
    moods[0].enum_labels = labels;
    moods[0].enum_label_count = 2;
    RelationParts leaf = relation(2, "moods", moods);
    leaf.leaf_schema = "parts";
    leaf.leaf_table = "moods_1";
    FrameBuilder changes;
    changes.add(relation(1, "t", columns)).add(leaf);
    changes.add(Operation::Update, 1, kBefore | kBeforeKeyOnly | kAfter | kAfterUnchanged,
                little_endian(42, 4) + "\x02" + little_endian(43, 4));
    changes.add(Operation::Update, 1, kBefore | kAfter | kAfterNulls,
                example_row() + "\x02" + little_endian(42, 4));
    changes.add(Operation::Delete, 2, kBefore, sized("sad"));
    changes.add(Operation::Delete, 1, 0, "");
    add("update_delete", changes.build(), 4);

    std::vector<ColumnParts> all;
    std::string row;
    for (int c = 0; c <= int(ValueClass::MAX); c++) {
        all.push_back(column("c", ValueClass(c)));
        uint32_t size = fixed_size(ValueClass(c));
        row += size ? std::string(size, char(c)) : sized("value");
    }
    FrameBuilder classes;
    classes.add(relation(1, "all_classes", all)).add(Operation::Read, 1, kAfter, row);
    add("all_classes", classes.build(), 1);

    FrameBuilder message;
    message.parts.kind = FrameKind::message;
    message.add(Operation::Message, kNoRelation, 0, sized("prefix") + "content");
    add("message", message.build(), 1);

    FrameBuilder truncate;
    truncate.add(relation(1, "t", columns));
    truncate.add(Operation::Truncate, 1, kCascade | kRestartIdentity, "");
    add("truncate", truncate.build(), 1);

    // Transactions in progress: a block with a subtransaction that sent nothing, and what may end them.
    const Run runs[] = {Run(2, 742, 2), Run(3, 743, 0)};
    FrameBuilder block;
    block.parts.kind = FrameKind::stream;
    block.parts.transaction = Transaction(0, 0, 0, 0, 742, 0, 0);
    block.parts.runs = runs;
    block.parts.run_count = 2;
    block.add(relation(1, "t", columns));
    block.add(Operation::Insert, 1, kAfter, example_row()).add(Operation::Delete, 1, 0, "");
    add("stream", block.build(), 2);

    FrameBuilder abort;
    abort.parts.kind = FrameKind::stream_abort;
    abort.parts.transaction = Transaction(0, 0, 0, 0, 742, 0, 0);
    abort.parts.aborted_xid = 743;
    add("stream_abort", abort.build(), 0);

    const std::pair<const char*, FrameKind> endings[] = {{"stream_commit", FrameKind::stream_commit},
                                                         {"prepare", FrameKind::prepare},
                                                         {"commit_prepared", FrameKind::commit_prepared},
                                                         {"rollback_prepared", FrameKind::rollback_prepared}};
    for (const auto& [name, kind] : endings) {
        FrameBuilder ending;
        ending.parts.kind = kind;
        if (kind != FrameKind::stream_commit) ending.parts.gid = "gid";
        add(name, ending.build(), 0);
    }

    // Verifies, but its rows and its relation do not make sense.
    columns[1].key_position = 1;
    FrameBuilder hostile;
    hostile.add(relation(1, "t", columns));
    hostile.add(Operation::Insert, 1, kAfter, little_endian(42, 4) + "\xff\xff\xff\xff\x0f");
    hostile.add(Operation::Insert, 9, kBefore, "");
    add("senseless", hostile.build(), 0);

    // Verifies, but its rows begin in a wrong order, and beyond the values.
    FrameBuilder places;
    places.add(relation(1, "t", example_columns()));
    for (int i = 0; i < 4; i++) places.add(Operation::Insert, 1, kAfter, example_row());
    places.records()[1] = Record(24, 1, 1, Operation::Insert, kAfter);
    places.records()[3] = Record(UINT32_MAX, 1, 3, Operation::Insert, kAfter);
    add("wrong_places", places.build(), 0);

    Seed flipped = {example_frame().bytes(), FrameError::bad_checksum, 0};
    flipped.bytes.back() ^= 1;
    seeds["bad_checksum"] = flipped;
    Seed cut = {example_frame().bytes(), FrameError::bad_checksum, 0};
    cut.bytes.resize(100);
    seeds["truncated"] = cut;
    return seeds;
}

const fs::path kFolder = fs::path(WALFERRY_SOURCE_DIR) / "tests/fuzz/corpus/frame_fuzz";

TEST(Corpus, HoldsExactlyTheSeedsMadeHere) {
    std::map<std::string, Seed> seeds = make_seeds();
    if (getenv("WALFERRY_WRITE_CORPUS")) {
        for (const auto& [name, seed] : seeds) {
            std::ofstream out(kFolder / name, std::ios::binary);
            out.write(reinterpret_cast<const char*>(seed.bytes.data()), std::streamsize(seed.bytes.size()));
        }
    }
    size_t files = 0;
    for (const fs::directory_entry& entry : fs::directory_iterator(kFolder)) {
        std::string name = entry.path().filename().string();
        std::ifstream in(entry.path(), std::ios::binary);
        std::vector<uint8_t> bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
        ASSERT_TRUE(seeds.count(name)) << name;
        EXPECT_EQ(bytes, seeds[name].bytes) << name;
        EXPECT_LT(bytes.size(), 2048u) << name;
        files++;
    }
    EXPECT_EQ(files, seeds.size());
}

TEST(Corpus, ReadsAsExpected) {
    for (const auto& [name, seed] : make_seeds()) {
        Frame frame(seed.bytes.data(), seed.bytes.size());
        Walk walk = walk_frame(frame.data(), frame.size());
        EXPECT_EQ(walk.error, seed.error) << name;
        EXPECT_EQ(walk.rows, seed.rows) << name;
    }
}

}  // namespace
}  // namespace walferry::wire::test
