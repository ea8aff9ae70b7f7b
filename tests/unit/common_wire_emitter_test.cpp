// The front-to-back emitter: what it writes verifies and reads back with the library's own code.
#include "common_wire_support.h"

namespace walferry::wire::test {
namespace {

TEST(Buffer, GrowsAndKeepsItsBytes) {
    HeapBuffer buffer;
    std::string expected;
    for (int i = 0; i < 3000; i++) {
        std::string piece(size_t(i % 13), char('a' + i % 26));
        buffer.append(piece.data(), piece.size());
        expected += piece;
    }
    ASSERT_EQ(buffer.size, expected.size());
    EXPECT_EQ(memcmp(buffer.data, expected.data(), expected.size()), 0);
    EXPECT_GE(buffer.capacity, buffer.size);
}

TEST(Buffer, ReservesWithoutChangingTheSize) {
    HeapBuffer buffer;
    memset(buffer.reserve(100), 1, 100);
    EXPECT_EQ(buffer.size, 0u);
    EXPECT_GE(buffer.capacity, 100u);
    buffer.append(nullptr, 0);
    buffer.append_zeros(0);
    EXPECT_EQ(buffer.size, 0u);
}

TEST(Buffer, AlignsWithZeros) {
    for (size_t alignment : {1u, 2u, 4u, 8u}) {
        for (size_t ahead = 0; ahead < 9; ahead++) {
            for (size_t start = 0; start < 9; start++) {
                HeapBuffer buffer;
                std::string bytes(start, 'x');
                buffer.append(bytes.data(), start);
                buffer.align(alignment, ahead);
                EXPECT_EQ((buffer.size + ahead) % alignment, 0u);
                EXPECT_LT(buffer.size - start, alignment);
                for (size_t i = start; i < buffer.size; i++) EXPECT_EQ(buffer.data[i], 0);
            }
        }
    }
}

// A root reference and a Session around `fields`, at `lead` bytes of other content.
struct Root {
    HeapBuffer buffer;
    Root() { buffer.append_zeros(4); }

    void finish(size_t table) { refer(&buffer, 0, table); }
    bool verifies() {
        Frame exact(buffer.data, buffer.size, 7);
        flatbuffers::Verifier verifier(exact.data(), exact.size());
        return verifier.VerifyBuffer<Session>(nullptr);
    }
    const Session& session() { return *flatbuffers::GetRoot<Session>(buffer.data); }
};

TEST(TableWriter, WritesFieldsInAnyOrder) {
    Root root;
    TableWriter table(&root.buffer, 4);
    size_t encoding = table.reference(Session::VT_ENCODING);
    table.scalar(Session::VT_SERVER_VERSION, uint32_t(150020));
    size_t database = table.reference(Session::VT_DATABASE);
    size_t version = table.reference(Session::VT_PLUGIN_VERSION);
    root.finish(table.finish());
    refer(&root.buffer, database, write_string(&root.buffer, "shop", 4));
    refer(&root.buffer, version, write_string(&root.buffer, "", 0));
    refer(&root.buffer, encoding, write_string(&root.buffer, "UTF8", 4));

    ASSERT_TRUE(root.verifies());
    EXPECT_EQ(root.session().database()->str(), "shop");
    EXPECT_EQ(root.session().plugin_version()->str(), "");
    EXPECT_EQ(root.session().encoding()->str(), "UTF8");
    EXPECT_EQ(root.session().server_version(), 150020u);
}

TEST(TableWriter, LeavesOutFieldsToTheirDefaults) {
    Root root;
    TableWriter table(&root.buffer, 4);
    size_t version = table.reference(Session::VT_PLUGIN_VERSION);
    root.finish(table.finish());
    refer(&root.buffer, version, write_string(&root.buffer, "1", 1));
    EXPECT_EQ(root.session().database(), nullptr);
    EXPECT_EQ(root.session().server_version(), 0u);
    EXPECT_FALSE(root.verifies()) << "two required fields are missing";
}

TEST(TableWriter, AlignsItsFirstFieldWithoutPadding) {
    for (size_t start = 0; start < 16; start++) {
        HeapBuffer buffer;
        buffer.append_zeros(start);
        TableWriter table(&buffer, 10, 8);
        table.structure(Batch::VT_TRANSACTION, Transaction());
        size_t at = table.finish();
        EXPECT_EQ((at + 4) % 8, 0u) << start;
        EXPECT_EQ(buffer.size, at + 4 + sizeof(Transaction));
    }
}

TEST(Vectors, AreAlignedForTheirElements) {
    for (size_t alignment : {1u, 2u, 4u, 8u}) {
        for (size_t start = 0; start < 9; start++) {
            HeapBuffer buffer;
            buffer.append_zeros(start);
            uint64_t elements[3] = {1, 2, 3};
            size_t at = write_vector(&buffer, elements, 24 / alignment, alignment, alignment);
            EXPECT_EQ(at % 4, 0u);
            EXPECT_EQ((at + 4) % alignment, 0u);
            EXPECT_EQ(load_u32(buffer.data + at), 24 / alignment);
            EXPECT_EQ(memcmp(buffer.data + at + 4, elements, 24), 0);
            EXPECT_EQ(buffer.size, at + 28);
        }
    }
}

TEST(Vectors, MayBeEmpty) {
    HeapBuffer buffer;
    size_t at = write_vector(&buffer, nullptr, 0, 16, 4);
    EXPECT_EQ(buffer.size, at + 4);
    EXPECT_EQ(load_u32(buffer.data + at), 0u);
    at = write_reference_vector(&buffer, 0);
    EXPECT_EQ(buffer.size, at + 4);
}

TEST(Strings, EndWithAZeroThatIsNotCounted) {
    HeapBuffer buffer;
    size_t at = write_string(&buffer, "abc", 3);
    EXPECT_EQ(load_u32(buffer.data + at), 3u);
    EXPECT_STREQ(reinterpret_cast<char*>(buffer.data + at + 4), "abc");
    EXPECT_EQ(buffer.size, at + 8);
}

}  // namespace
}  // namespace walferry::wire::test
