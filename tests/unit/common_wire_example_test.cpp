// The worked example of docs/wire-format.md is a real frame: what the page shows is what the writer writes
// and what the reader reads.
#include <fstream>
#include <sstream>

#include "common_wire_support.h"

namespace walferry::wire::test {
namespace {

// Lines "offset  bytes in hex | what they are" between the page's two markers.
std::vector<uint8_t> bytes_of_the_page() {
    std::ifstream page(std::string(WALFERRY_SOURCE_DIR) + "/docs/wire-format.md");
    std::vector<uint8_t> bytes;
    bool inside = false;
    for (std::string line; std::getline(page, line);) {
        if (line == "<!-- example frame: end -->") return bytes;
        if (line == "<!-- example frame: begin -->") inside = true;
        if (!inside || line.find(" | ") == std::string::npos) continue;
        std::istringstream words(line.substr(0, line.find(" | ")));
        std::string word;
        words >> word;
        EXPECT_EQ(std::stoul(word, nullptr, 16), bytes.size()) << line;
        while (words >> word) bytes.push_back(uint8_t(std::stoul(word, nullptr, 16)));
    }
    ADD_FAILURE() << "the markers are missing";
    return bytes;
}

TEST(WorkedExample, IsWhatTheWriterWrites) {
    EXPECT_EQ(bytes_of_the_page(), example_frame().bytes());
}

TEST(WorkedExample, ReadsAsThePageSays) {
    std::vector<uint8_t> bytes = bytes_of_the_page();
    Frame frame(bytes.data(), bytes.size());
    FrameReader reader;
    ASSERT_TRUE(reader.open(frame.data(), frame.size()).ok());
    EXPECT_EQ(reader.header().kind, FrameKind::transaction);
    EXPECT_TRUE(reader.header().first);
    EXPECT_TRUE(reader.header().last);
    EXPECT_EQ(reader.transaction().xid(), 742u);
    EXPECT_EQ(reader.transaction().commit_lsn(), 0x1500028u);
    EXPECT_EQ(reader.transaction().end_lsn(), 0x1500058u);
    EXPECT_EQ(reader.transaction().commit_time(), 700000000000000);

    const Relation& relation = *reader.batch().relations()->Get(0);
    ASSERT_TRUE(check_relation(relation).ok());
    EXPECT_EQ(relation.schema()->str() + "." + relation.table()->str(), "public.t");
    std::vector<ColumnLayout> columns;
    for (const Column* c : *relation.columns()) columns.push_back({c->value_class(), c->identity()});
    ASSERT_EQ(columns.size(), 2u);

    ASSERT_EQ(reader.record_count(), 1u);
    EXPECT_EQ(reader.record(0).operation(), Operation::Insert);
    EXPECT_EQ(reader.record(0).relation(), relation.id());
    ValueView before[2], after[2];
    ASSERT_TRUE(read_row(reader, reader.record(0), columns.data(), 2, before, after).ok());
    EXPECT_EQ(text_of(after[0]), little_endian(42, 4));
    EXPECT_EQ(text_of(after[1]), "h\xc3\xa9");
}

TEST(WorkedExample, CostsWhatThePageSaysOnceTheSchemaIsKnown) {
    FrameBuilder one;
    one.add(Operation::Insert, 1, kAfter, example_row());
    EXPECT_EQ(one.build().size(), 115u);
    FrameBuilder ten;
    for (int i = 0; i < 10; i++) ten.add(Operation::Insert, 1, kAfter, example_row());
    EXPECT_EQ(ten.build().size(), 115u + 9 * 20);
}

}  // namespace
}  // namespace walferry::wire::test
