// Frames of transactions in progress: runs of (sub)transactions, and the frames that end a transaction.
#include "common_wire_support.h"

namespace walferry::wire::test {
namespace {

struct RunsFrame {
    FrameBuilder builder;
    std::vector<wire::Run> runs;

    // Records at these ordinals.
    explicit RunsFrame(std::vector<wire::Run> of, const std::vector<uint16_t>& ordinals,
                       FrameKind kind = FrameKind::stream)
        : runs(std::move(of)) {
        builder.parts.kind = kind;
        builder.parts.last = false;
        builder.parts.transaction = Transaction(0, 0, 0, 1000, 742, 0, 0);
        for (uint16_t ordinal : ordinals) builder.add_truncate(1, ordinal);
        builder.parts.runs = runs.data();
        builder.parts.run_count = runs.size();
    }
    FrameError error() {
        Frame frame = builder.build();
        FrameReader reader;
        EXPECT_TRUE(reader.open(frame.data(), frame.size()).ok());
        return check_runs(reader).error;
    }
};

TEST(WireRuns, TravelWithTheirFrame) {
    RunsFrame made({{3, 742, 2}, {70000, 743, 1}, {1, 744, 0}}, {0, 2, 9});
    Frame frame = made.builder.build();
    FrameReader reader;
    ASSERT_TRUE(reader.open(frame.data(), frame.size()).ok());
    EXPECT_EQ(reader.header().kind, FrameKind::stream);
    ASSERT_TRUE(check_runs(reader).ok());
    const auto* runs = reader.batch().runs();
    ASSERT_EQ(runs->size(), 3u);
    EXPECT_EQ(runs->Get(1)->xid(), 743u);
    EXPECT_EQ(runs->Get(1)->changes(), 70000u);
    EXPECT_EQ(runs->Get(1)->records(), 1u);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(runs->Get(0)) % 8, 0u);
}

TEST(WireRuns, CoverEveryRecordOnce) {
    EXPECT_EQ(RunsFrame({}, {}).error(), FrameError::none);
    EXPECT_EQ(RunsFrame({{5, 1, 0}}, {}).error(), FrameError::none);
    EXPECT_EQ(RunsFrame({{1, 1, 1}, {1, 2, 1}}, {0, 1}).error(), FrameError::none);
    // Records without a run, and runs without their records.
    EXPECT_EQ(RunsFrame({}, {0}).error(), FrameError::bad_runs);
    EXPECT_EQ(RunsFrame({{2, 1, 1}}, {0, 1}).error(), FrameError::bad_runs);
    EXPECT_EQ(RunsFrame({{2, 1, 2}}, {0}).error(), FrameError::bad_runs);
    EXPECT_EQ(RunsFrame({{2, 1, UINT32_MAX}}, {0}).error(), FrameError::bad_runs);
    // Ordinals outside of their run, out of order, or twice.
    EXPECT_EQ(RunsFrame({{1, 1, 1}, {1, 2, 1}}, {0, 2}).error(), FrameError::bad_runs);
    EXPECT_EQ(RunsFrame({{1, 1, 1}, {1, 2, 1}}, {1, 1}).error(), FrameError::bad_runs);
    EXPECT_EQ(RunsFrame({{2, 1, 2}}, {1, 0}).error(), FrameError::bad_runs);
    EXPECT_EQ(RunsFrame({{2, 1, 2}}, {1, 1}).error(), FrameError::bad_runs);
    EXPECT_EQ(RunsFrame({{0, 1, 1}}, {0}).error(), FrameError::bad_runs);
    // Sums that wrap around.
    EXPECT_EQ(RunsFrame({{UINT64_MAX, 1, 0}, {2, 2, 1}}, {0}).error(), FrameError::bad_runs);
}

TEST(WireRuns, LieOnTheirAlignment) {
    // A frame may refer to a vector four bytes off: a length of 0 that is no vector's, with the runs' own
    // length behind it.
    RunsFrame made({{0, 1, 0}}, {});
    Frame frame = made.builder.build();
    auto* batch = flatbuffers::GetMutableRoot<flatbuffers::Table>(frame.data() + kHeaderSize);
    uint8_t* reference = batch->GetAddressOf(Batch::VT_RUNS);
    store_u32(reference, load_u32(reference) + 4);
    frame.seal();
    FrameReader reader;
    ASSERT_TRUE(reader.open(frame.data(), frame.size()).ok());
    EXPECT_EQ(check_runs(reader).error, FrameError::bad_runs);
}

TEST(WireRuns, EndingsSayWhatEnds) {
    for (FrameKind kind : {FrameKind::stream_commit, FrameKind::stream_abort, FrameKind::prepare,
                           FrameKind::commit_prepared, FrameKind::rollback_prepared}) {
        FrameBuilder builder;
        builder.parts.kind = kind;
        builder.parts.aborted_xid = 743;
        builder.parts.gid = "a \"gid\" of some length";
        builder.parts.origin_name = "origin";
        Frame frame = builder.build();
        FrameReader reader;
        ASSERT_TRUE(reader.open(frame.data(), frame.size()).ok());
        EXPECT_EQ(reader.header().kind, kind);
        EXPECT_EQ(reader.transaction().commit_lsn(), 0x1500028u);
        EXPECT_EQ(reader.batch().aborted_xid(), 743u);
        EXPECT_EQ(reader.batch().gid()->string_view(), "a \"gid\" of some length");
        EXPECT_EQ(reader.batch().origin_name()->string_view(), "origin");
    }
}

}  // namespace
}  // namespace walferry::wire::test
