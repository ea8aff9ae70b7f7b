// Putting a transaction together that came in blocks: which changes count, and under which ordinals.
#include "record/frame_walker.h"

#include <random>

#include "common_wire_support.h"

namespace walferry {
namespace {

using wire::test::Frame;
using wire::test::FrameBuilder;

struct Seen {
    struct Nothing {};
    using Entry = FrameWalker<Nothing>::Entry;

    std::vector<uint64_t> ordinals;
    std::vector<uint64_t> lsns;

    void on_relation(Entry&) {}
    void on_row(Entry&, const Row& row) {
        ordinals.push_back(row.ordinal.value);
        lsns.push_back(row.commit_lsn.value);
    }
    void on_message(const LogicalMessage& message) { ordinals.push_back(message.ordinal.value); }
};
using Walker = FrameWalker<Seen::Nothing>;

const wire::Transaction kCommitted(5000, 5048, 0, 0, 742, 0, 0);

Frame relation_frame() {
    FrameBuilder builder;
    const auto columns = wire::test::example_columns();
    return builder.add(wire::test::relation(1, "t", columns)).build();
}

Frame block(const std::vector<wire::Run>& runs, const std::vector<uint16_t>& ordinals) {
    FrameBuilder builder;
    builder.parts.kind = wire::FrameKind::stream;
    builder.parts.transaction = wire::Transaction(0, 0, 0, 77777, 742, 0, 0);
    for (const uint16_t ordinal : ordinals) builder.add_truncate(1, ordinal);
    builder.parts.runs = runs.data();
    builder.parts.run_count = runs.size();
    return builder.build();
}

TEST(FrameWalker, CountsTheOrdinalsAnewWithoutWhatWasRolledBack) {
    Walker walker;
    Seen seen;
    const Frame first = relation_frame();
    walker.open({first.data(), first.size()}, seen);
    // 742: ordinals 0, 2 of 3; 743, rolled back: 2 of 4 changes; 744: its second change; nothing of 742 is
    // sent at the end.
    const Frame second = block({{3, 742, 2}, {4, 743, 2}, {2, 744, 1}, {5, 742, 0}}, {0, 2, 3, 6, 8});
    const Frame third = block({{1, 743, 1}, {1, 742, 1}}, {0, 1});
    Ordinal next;
    for (const Frame* frame : {&second, &third}) {
        walker.reopen({frame->data(), frame->size()});
        walker.visit_in_progress(kCommitted, 0, {743}, Ordinal{}, next, seen);
    }
    EXPECT_EQ(seen.ordinals, (std::vector<uint64_t>{0, 2, 4, 10}));
    EXPECT_EQ(next, Ordinal{11});
    EXPECT_EQ(seen.lsns, std::vector<uint64_t>(4, 5000));
}

TEST(FrameWalker, GoesOnWhereADeliveryWasInterrupted) {
    Walker walker;
    Seen seen;
    const Frame first = relation_frame();
    walker.open({first.data(), first.size()}, seen);
    const Frame frame = block({{3, 742, 3}, {2, 743, 2}, {2, 742, 2}}, {0, 1, 2, 3, 4, 5, 6});
    Ordinal next;
    walker.reopen({frame.data(), frame.size()});
    walker.visit_in_progress(kCommitted, 0, {743}, Ordinal{2}, next, seen);
    EXPECT_EQ(seen.ordinals, (std::vector<uint64_t>{2, 3, 4}));
    EXPECT_EQ(next, Ordinal{5});
}

TEST(FrameWalker, AgreesWithTheTransactionSentWhole) {
    std::mt19937 engine(3);
    const auto random = [&engine] { return static_cast<unsigned>(engine()); };
    for (int round = 0; round < 200; round++) {
        std::vector<uint32_t> aborted;
        for (uint32_t xid = 743; xid < 750; xid++) {
            if (random() % 2) aborted.push_back(xid);
        }
        std::vector<uint64_t> expected;
        uint64_t count = 0;
        Walker walker;
        Seen seen;
        const Frame first = relation_frame();
        walker.open({first.data(), first.size()}, seen);
        Ordinal next;
        for (unsigned blocks = random() % 5; blocks-- > 0;) {
            std::vector<wire::Run> runs;
            std::vector<uint16_t> ordinals;
            uint16_t at = 0;
            for (unsigned n = random() % 6; n-- > 0;) {
                const uint32_t xid = 742 + random() % 8;
                const bool gone = std::binary_search(aborted.begin(), aborted.end(), xid);
                const unsigned changes = random() % 9;
                uint32_t records = 0;
                for (unsigned i = 0; i < changes; i++, at++) {
                    const bool sent = random() % 3 != 0;
                    if (sent) ordinals.push_back(at);
                    records += sent;
                    if (sent && !gone) expected.push_back(count);
                    count += !gone;
                }
                runs.emplace_back(changes, xid, records);
            }
            const Frame frame = block(runs, ordinals);
            walker.reopen({frame.data(), frame.size()});
            walker.visit_in_progress(kCommitted, 0, aborted, Ordinal{}, next, seen);
        }
        ASSERT_EQ(seen.ordinals, expected) << round;
        ASSERT_EQ(next, Ordinal{count}) << round;
    }
}

TEST(FrameWalker, RefusesRunsThatDoNotCoverTheRecords) {
    Walker walker;
    Seen seen;
    const Frame first = relation_frame();
    walker.open({first.data(), first.size()}, seen);
    const Frame frame = block({{1, 742, 1}}, {0, 1});
    walker.reopen({frame.data(), frame.size()});
    Ordinal next;
    EXPECT_THROW(walker.visit_in_progress(kCommitted, 0, {}, Ordinal{}, next, seen), Error);
    EXPECT_TRUE(seen.ordinals.empty());
}

}  // namespace
}  // namespace walferry
