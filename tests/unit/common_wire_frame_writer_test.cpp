// Frames read back with the generated accessors after the library's Verifier has accepted them.
#include "common_wire_support.h"

namespace walferry::wire::test {
namespace {

const Batch* verified(const Frame& frame) {
    flatbuffers::Verifier verifier(frame.data() + kHeaderSize, frame.size() - kHeaderSize);
    if (!verifier.VerifyBuffer<Batch>(nullptr)) return nullptr;
    FrameReader reader;
    FrameStatus status = reader.open(frame.data(), frame.size());
    EXPECT_TRUE(status.ok()) << describe(status.error);
    return flatbuffers::GetRoot<Batch>(frame.data() + kHeaderSize);
}

// Places in the flatbuffer, which itself lies on a multiple of 8.
size_t place(const Frame& frame, const void* p) {
    return size_t(static_cast<const uint8_t*>(p) - (frame.data() + kHeaderSize));
}

TEST(FrameWriter, WritesTheHeader) {
    for (bool first : {false, true}) {
        for (bool last : {false, true}) {
            for (FrameKind kind : {FrameKind::transaction, FrameKind::message}) {
                FrameBuilder builder;
                builder.parts.kind = kind;
                builder.parts.first = first;
                builder.parts.last = last;
                Frame frame = builder.build();
                EXPECT_EQ(frame[0], 'W');
                EXPECT_EQ(frame[1], kVersion);
                EXPECT_EQ(frame[2], uint8_t(kind) | (first ? 0x10 : 0) | (last ? 0x20 : 0));
                EXPECT_EQ(load_u32(frame.data() + 3), frame_checksum(frame.data(), frame.size()));
                FrameReader reader;
                ASSERT_TRUE(reader.open(frame.data(), frame.size()).ok());
                EXPECT_EQ(reader.header().version, kVersion);
                EXPECT_EQ(reader.header().kind, kind);
                EXPECT_EQ(reader.header().first, first);
                EXPECT_EQ(reader.header().last, last);
            }
        }
    }
}

TEST(FrameWriter, WritesABatchWithoutAnything) {
    Frame frame = FrameBuilder().build();
    const Batch* batch = verified(frame);
    ASSERT_TRUE(batch);
    EXPECT_EQ(batch->records(), nullptr);
    EXPECT_EQ(batch->values(), nullptr);
    EXPECT_EQ(batch->relations(), nullptr);
    EXPECT_EQ(batch->retired(), nullptr);
    EXPECT_EQ(batch->session(), nullptr);
    FrameReader reader;
    ASSERT_TRUE(reader.open(frame.data(), frame.size()).ok());
    EXPECT_EQ(reader.record_count(), 0u);
    EXPECT_EQ(reader.value_bytes(), 0u);
    EXPECT_EQ(reader.values(), nullptr);
}

TEST(FrameWriter, KeepsEveryFieldOfTheTransaction) {
    FrameBuilder builder;
    builder.parts.transaction =
        Transaction(0xfedcba9876543210, UINT64_MAX, INT64_MIN, 1ull << 40, UINT32_MAX, 65535, 0);
    Frame frame = builder.build();
    const Batch* batch = verified(frame);
    ASSERT_TRUE(batch);
    const Transaction& t = *batch->transaction();
    EXPECT_EQ(t.commit_lsn(), 0xfedcba9876543210);
    EXPECT_EQ(t.end_lsn(), UINT64_MAX);
    EXPECT_EQ(t.commit_time(), INT64_MIN);
    EXPECT_EQ(t.first_ordinal(), 1ull << 40);
    EXPECT_EQ(t.xid(), UINT32_MAX);
    EXPECT_EQ(t.origin(), 65535);
    EXPECT_EQ(place(frame, &t) % 8, 0u);
}

TEST(FrameWriter, KeepsTheSession) {
    std::string long_name(63, 'n');
    for (const std::string& database : {std::string("shop"), std::string(), long_name}) {
        SessionParts session = {"0.1.0", 150020, database.c_str(), "UTF8"};
        FrameBuilder builder;
        builder.parts.session = &session;
        Frame frame = builder.build();
        const Batch* batch = verified(frame);
        ASSERT_TRUE(batch && batch->session());
        EXPECT_EQ(batch->session()->plugin_version()->str(), "0.1.0");
        EXPECT_EQ(batch->session()->server_version(), 150020u);
        EXPECT_EQ(batch->session()->database()->str(), database);
        EXPECT_EQ(batch->session()->encoding()->str(), "UTF8");
    }
}

TEST(FrameWriter, KeepsEveryFieldOfARelation) {
    const char* labels[] = {"sad", "", "happy \xc3\xa9"};
    std::vector<ColumnParts> columns = {
        {"id", 23, "integer", -1, 23, ValueClass::Int4, 2, true, true, false, nullptr, 0},
        {"mood", 16390, "public.mood", -1, 16390, ValueClass::Output, 0, false, false, true, labels, 3},
        {"price", 16391, "public.price", 655366, 1700, ValueClass::Numeric, 1, true, false, false, nullptr,
         0},
    };
    RelationParts r = {UINT32_MAX - 1, UINT32_MAX, "sales",    "orders",       'f', 'r',
                       16384,          "parts",    "orders_1", columns.data(), 3};
    FrameBuilder builder;
    builder.add(r);
    Frame frame = builder.build();
    const Batch* batch = verified(frame);
    ASSERT_TRUE(batch && batch->relations());
    ASSERT_EQ(batch->relations()->size(), 1u);
    const Relation& back = *batch->relations()->Get(0);
    EXPECT_TRUE(check_relation(back).ok());
    EXPECT_EQ(back.id(), UINT32_MAX - 1);
    EXPECT_EQ(back.oid(), UINT32_MAX);
    EXPECT_EQ(back.root_oid(), 16384u);
    EXPECT_EQ(back.schema()->str(), "sales");
    EXPECT_EQ(back.table()->str(), "orders");
    EXPECT_EQ(back.leaf_schema()->str(), "parts");
    EXPECT_EQ(back.leaf_table()->str(), "orders_1");
    EXPECT_EQ(back.replica_identity(), 'f');
    EXPECT_EQ(back.kind(), 'r');
    EXPECT_EQ(back.fingerprint(), fingerprint(r));
    ASSERT_EQ(back.columns()->size(), 3u);
    for (uint32_t i = 0; i < 3; i++) {
        const Column& c = *back.columns()->Get(i);
        EXPECT_EQ(c.name()->str(), columns[i].name);
        EXPECT_EQ(c.type_oid(), columns[i].type_oid);
        EXPECT_EQ(c.type_name()->str(), columns[i].type_name);
        EXPECT_EQ(c.type_modifier(), columns[i].type_modifier);
        EXPECT_EQ(c.base_type_oid(), columns[i].base_type_oid);
        EXPECT_EQ(c.value_class(), columns[i].value_class);
        EXPECT_EQ(c.key_position(), columns[i].key_position);
        EXPECT_EQ(c.identity(), columns[i].identity);
        EXPECT_EQ(c.not_null(), columns[i].not_null);
        EXPECT_EQ(c.generated(), columns[i].generated);
        EXPECT_EQ(c.enum_labels() != nullptr, columns[i].enum_label_count > 0);
    }
    const auto& back_labels = *back.columns()->Get(1)->enum_labels();
    ASSERT_EQ(back_labels.size(), 3u);
    for (uint32_t i = 0; i < 3; i++) EXPECT_EQ(back_labels.Get(i)->str(), labels[i]);
}

TEST(FrameWriter, KeepsManyRelationsApart) {
    FrameBuilder builder;
    std::vector<std::string> names;
    for (uint32_t i = 0; i < 500; i++) names.push_back(std::string(i % 17, 'x') + std::to_string(i));
    for (uint32_t i = 0; i < 500; i++) {
        std::vector<ColumnParts> columns(i % 5, column(names[i].c_str(), ValueClass::Int8));
        builder.add(relation(i, names[i].c_str(), columns));
    }
    Frame frame = builder.build();
    const Batch* batch = verified(frame);
    ASSERT_TRUE(batch && batch->relations());
    ASSERT_EQ(batch->relations()->size(), 500u);
    for (uint32_t i = 0; i < 500; i++) {
        const Relation& r = *batch->relations()->Get(i);
        EXPECT_EQ(r.id(), i);
        EXPECT_EQ(r.table()->str(), names[i]);
        EXPECT_EQ(r.leaf_schema(), nullptr);
        EXPECT_EQ(r.columns()->size(), i % 5);
    }
}

TEST(FrameWriter, WritesRelationsAsBlocksOfEight) {
    HeapBuffer buffer;
    std::string name;
    for (int i = 0; i < 40; i++) {
        name += 'n';
        std::vector<ColumnParts> columns(size_t(i % 3), column(name.c_str(), ValueClass::Bool));
        RelationParts r = relation(1, name.c_str(), columns);
        size_t at = write_relation(r, fingerprint(r), &buffer);
        EXPECT_EQ(buffer.size % 8, 0u);
        EXPECT_EQ(at % 4, 0u);
        auto* written = reinterpret_cast<const Relation*>(buffer.data + at);
        EXPECT_EQ(written->table()->str(), name);
        auto* table = reinterpret_cast<const flatbuffers::Table*>(written);
        auto* number = table->GetAddressOf(Relation::VT_FINGERPRINT);
        EXPECT_EQ(size_t(number - buffer.data) % 8, 0u);
    }
}

TEST(FrameWriter, KeepsRecordsRetiredIdsAndValues) {
    FrameBuilder builder;
    std::vector<ColumnParts> columns = example_columns();
    builder.add(relation(7, "t", columns)).retire(3).retire(5);
    for (size_t i = 0; i < 1000; i++) {
        builder.add(Operation::Insert, 7, kAfter, little_endian(i, 4) + sized(std::string(i % 9, 'v')));
    }
    Frame frame = builder.build();
    const Batch* batch = verified(frame);
    ASSERT_TRUE(batch);
    ASSERT_EQ(batch->retired()->size(), 2u);
    EXPECT_EQ(batch->retired()->Get(0), 3u);
    EXPECT_EQ(batch->retired()->Get(1), 5u);
    ASSERT_EQ(batch->records()->size(), 1000u);
    EXPECT_EQ(place(frame, batch->records()->data()) % 4, 0u);
    EXPECT_EQ(batch->values()->size(), builder.values().size());
    FrameReader reader;
    ASSERT_TRUE(reader.open(frame.data(), frame.size()).ok());
    uint32_t offset = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        const RecordView r = reader.record(i);
        EXPECT_EQ(r.offset(), offset);
        EXPECT_EQ(r.length(), 5 + i % 9);
        EXPECT_EQ(r.ordinal(), i);
        EXPECT_EQ(r.relation(), 7u);
        EXPECT_EQ(r.operation(), Operation::Insert);
        EXPECT_EQ(r.images(), kAfter);
        offset += r.length();
    }
}

TEST(FrameWriter, KeepsABigValue) {
    std::string big(16 << 20, 'b');
    FrameBuilder builder;
    builder.add(Operation::Message, kNoRelation, 0, sized("p") + big);
    Frame frame = builder.build();
    FrameReader reader;
    ASSERT_TRUE(reader.open(frame.data(), frame.size()).ok());
    MessageView message;
    ASSERT_TRUE(read_message(reader, reader.record(0), &message).ok());
    EXPECT_EQ(message.content_size, big.size());
    EXPECT_EQ(memcmp(message.content, big.data(), big.size()), 0);
}

TEST(FrameWriter, StaysWithinItsBoundWhateverTheParts) {
    // build() checks the bound; the sizes go through every remainder that padding depends on.
    for (size_t bytes = 0; bytes < 18; bytes++) {
        for (size_t records = 0; records < 3; records++) {
            for (size_t retired = 0; retired < 3; retired++) {
                std::string text(bytes, 's');
                SessionParts session = {text.c_str(), 1, text.c_str(), text.c_str()};
                std::vector<ColumnParts> columns(records, column(text.c_str(), ValueClass::Int4));
                FrameBuilder builder;
                builder.parts.session = &session;
                builder.add(relation(1, text.c_str(), columns));
                for (size_t i = 0; i < records; i++) builder.add(Operation::Truncate, 1, 0, text);
                for (size_t i = 0; i < retired; i++) builder.retire(uint32_t(i));
                ASSERT_TRUE(verified(builder.build()));
            }
        }
    }
}

TEST(FrameWriter, WritesTheSameBytesEachTime) {
    Frame a = example_frame();
    Frame b = example_frame();
    EXPECT_EQ(a.bytes(), b.bytes());
}

}  // namespace
}  // namespace walferry::wire::test
