// Frames that are cut, flipped or made to deceive: each is a typed error, none is read outside its bytes. Run
// with the sanitizers, this file proves more than it can assert.
#include <functional>
#include <random>

#include "common_wire_support.h"
#include "tests/fuzz/frame_walk.h"

namespace walferry::wire::test {
namespace {

// A frame with everything in it that version 1 writes.
Frame rich_frame() {
    static const char* labels[] = {"sad", "happy"};
    static const SessionParts session = {"0.1.0", 150020, "shop", "UTF8"};
    std::vector<ColumnParts> columns = example_columns();
    std::vector<ColumnParts> moods = {column("mood", ValueClass::Output, 1)};
    moods[0].enum_labels = labels;
    moods[0].enum_label_count = 2;
    RelationParts leaf = relation(2, "moods", moods);
    leaf.leaf_schema = "parts";
    leaf.leaf_table = "moods_1";
    FrameBuilder builder;
    builder.parts.session = &session;
    builder.add(relation(1, "t", columns)).add(leaf).retire(9);
    builder.add(Operation::Insert, 1, kAfter, example_row());
    builder.add(Operation::Update, 1, kBefore | kBeforeKeyOnly | kAfter | kAfterUnchanged,
                little_endian(42, 4) + "\x02" + little_endian(43, 4));
    builder.add(Operation::Delete, 2, kBefore | kBeforeNulls, "\x01");
    builder.add(Operation::Insert, 2, kAfter, sized("happy"));
    builder.add(Operation::Truncate, 1, kCascade | kRestartIdentity, "");
    builder.add(Operation::Message, kNoRelation, 0, sized("prefix") + "content");
    return builder.build();
}

Walk walk(const Frame& frame) {
    return walk_frame(frame.data(), frame.size());
}

TEST(FrameReader, ReadsARichFrame) {
    Frame frame = rich_frame();
    Walk result = walk(frame);
    EXPECT_EQ(result.error, FrameError::none);
    EXPECT_EQ(result.rows, 6u);
    EXPECT_EQ(result.faults, 0u);
}

TEST(FrameReader, RefusesEveryTruncation) {
    Frame whole = rich_frame();
    for (size_t size = 0; size < whole.size(); size++) {
        Frame cut(whole.data(), size);
        FrameError error = open_error(cut);
        ASSERT_EQ(error, size < kHeaderSize + 8 ? FrameError::too_short : FrameError::bad_checksum) << size;
        if (size < kHeaderSize) continue;
        cut.seal();
        ASSERT_NE(open_error(cut), FrameError::none) << size << ", with the checksum made right";
    }
}

TEST(FrameReader, RefusesBytesBehindTheFrame) {
    std::vector<uint8_t> bytes = rich_frame().bytes();
    bytes.push_back(0);
    EXPECT_EQ(open_error(Frame(bytes.data(), bytes.size())), FrameError::bad_checksum);
}

TEST(FrameReader, RefusesEveryFlippedBit) {
    Frame frame = rich_frame();
    for (size_t i = 0; i < frame.size(); i++) {
        for (int bit = 0; bit < 8; bit++) {
            frame[i] ^= uint8_t(1 << bit);
            FrameError error = open_error(frame);
            if (i == 0) {
                ASSERT_EQ(error, FrameError::bad_magic);
            } else if (i == 1) {
                ASSERT_EQ(error, FrameError::bad_version);
            } else if (i == 2 && bit < 4) {
                ASSERT_TRUE(error == FrameError::bad_kind || error == FrameError::bad_checksum);
            } else {
                ASSERT_EQ(error, FrameError::bad_checksum) << i << "." << bit;
            }
            frame[i] ^= uint8_t(1 << bit);
        }
    }
    EXPECT_EQ(open_error(frame), FrameError::none);
}

TEST(FrameReader, ReportsWhereTheHeaderIsWrong) {
    struct Case {
        size_t at;
        uint8_t byte;
        FrameError error;
    };
    for (Case c : {Case{0, 'w', FrameError::bad_magic}, Case{1, 0, FrameError::bad_version},
                   Case{1, kVersion + 1, FrameError::bad_version}, Case{2, 0x30, FrameError::bad_kind},
                   Case{2, 0x39, FrameError::bad_kind}, Case{2, 0x3f, FrameError::bad_kind}}) {
        Frame frame = rich_frame();
        frame[c.at] = c.byte;
        frame.seal();
        FrameReader reader;
        FrameStatus status = reader.open(frame.data(), frame.size());
        EXPECT_EQ(status.error, c.error);
        EXPECT_EQ(status.offset, c.at);
    }
}

TEST(FrameReader, RefusesMisalignedMemory) {
    Frame frame = rich_frame();
    for (size_t shift = 1; shift < 8; shift++) {
        Frame shifted(frame.data(), frame.size(), shift);
        EXPECT_EQ(open_error(shifted), FrameError::misaligned) << shift;
    }
    EXPECT_EQ(open_error(Frame(frame.data(), frame.size(), 8)), FrameError::none);
}

// Every byte of the flatbuffer takes values that hurt, with the checksum made right.
TEST(FrameReader, SurvivesEveryHostileByte) {
    Frame frame = rich_frame();
    size_t accepted = 0, refused = 0;
    for (size_t i = kHeaderSize; i < frame.size(); i++) {
        uint8_t old = frame[i];
        for (int v : {0x00, 0x01, 0x04, 0x7f, 0x80, 0xff, old ^ 1, old ^ 0x10, old + 1, old + 8}) {
            frame[i] = uint8_t(v);
            frame.seal();
            walk(frame).error == FrameError::none ? accepted++ : refused++;
        }
        frame[i] = old;
    }
    EXPECT_GT(accepted, 0u);
    EXPECT_GT(refused, 0u);
}

TEST(FrameReader, SurvivesEveryHostileWord) {
    Frame frame = rich_frame();
    for (size_t i = kHeaderSize; i + 4 <= frame.size(); i++) {
        uint32_t old = load_u32(frame.data() + i);
        for (uint32_t v : {0u, 0x7fffffffu, 0x80000000u, 0xffffffffu, uint32_t(frame.size() - i), ~old}) {
            store_u32(frame.data() + i, v);
            frame.seal();
            walk(frame);
        }
        store_u32(frame.data() + i, old);
    }
}

TEST(FrameReader, SurvivesNoiseWithARightChecksum) {
    std::mt19937 random(42);
    for (int round = 0; round < 20000; round++) {
        std::vector<uint8_t> bytes(15 + random() % 200);
        for (uint8_t& b : bytes) b = uint8_t(random() % 3 ? random() % 48 : random());
        bytes[0] = kMagic;
        bytes[1] = kVersion;
        bytes[2] = uint8_t(FrameKind::transaction);
        Frame frame(bytes.data(), bytes.size());
        frame.seal();
        walk(frame);
    }
}

// The bytes of the reference in field `vt` of the batch.
uint8_t* reference(Frame& frame, uint16_t vt) {
    auto* batch = flatbuffers::GetMutableRoot<flatbuffers::Table>(frame.data() + kHeaderSize);
    return batch->GetAddressOf(vt);
}

TEST(FrameReader, RefusesReferencesOutOfTheFrame) {
    for (uint16_t vt :
         {Batch::VT_RECORDS, Batch::VT_VALUES, Batch::VT_RELATIONS, Batch::VT_RETIRED, Batch::VT_SESSION}) {
        for (uint32_t far : {0xffffffffu, 0x7ffffffcu, 0x80000000u, 100000u}) {
            Frame frame = rich_frame();
            store_u32(reference(frame, vt), far);
            frame.seal();
            EXPECT_EQ(open_error(frame), FrameError::bad_envelope) << vt << " " << far;
        }
    }
}

TEST(FrameReader, RefusesVectorsLongerThanTheFrame) {
    for (uint32_t count : {0xffffffffu, 0x10000000u, 0x0fffffffu, 1000u}) {
        Frame frame = rich_frame();
        uint8_t* records = reference(frame, Batch::VT_RECORDS);
        store_u32(records + load_u32(records), count);
        frame.seal();
        EXPECT_EQ(open_error(frame), FrameError::bad_envelope) << count;
    }
}

TEST(FrameReader, RefusesAMissingRequiredField) {
    Frame frame = rich_frame();
    auto* root = flatbuffers::GetRoot<flatbuffers::Table>(frame.data() + kHeaderSize);
    size_t entry = size_t(root->GetVTable() - frame.data()) + Batch::VT_TRANSACTION;
    frame[entry] = frame[entry + 1] = 0;
    frame.seal();
    EXPECT_EQ(open_error(frame), FrameError::bad_envelope);
}

// A frame of 64 KiB whose relations and columns are all references to one table each: 64 million columns to
// look at.
TEST(FrameReader, RefusesTablesThatAreSharedToWasteTime) {
    constexpr size_t kRelations = 2000, kColumns = 2000;
    HeapBuffer out;
    out.append_zeros(4);
    TableWriter batch(&out, 10, 8);
    batch.structure(Batch::VT_TRANSACTION, Transaction());
    size_t relations = batch.reference(Batch::VT_RELATIONS);
    refer(&out, 0, batch.finish());
    size_t all_relations = write_reference_vector(&out, kRelations);
    refer(&out, relations, all_relations);
    TableWriter relation(&out, 11);
    size_t schema = relation.reference(Relation::VT_SCHEMA);
    size_t name = relation.reference(Relation::VT_TABLE);
    size_t columns = relation.reference(Relation::VT_COLUMNS);
    size_t the_relation = relation.finish();
    size_t text = write_string(&out, "t", 1);
    refer(&out, schema, text);
    refer(&out, name, text);
    size_t all_columns = write_reference_vector(&out, kColumns);
    refer(&out, columns, all_columns);
    TableWriter column(&out, 11);
    size_t column_name = column.reference(Column::VT_NAME);
    size_t type_name = column.reference(Column::VT_TYPE_NAME);
    size_t the_column = column.finish();
    text = write_string(&out, "c", 1);
    refer(&out, column_name, text);
    refer(&out, type_name, text);
    for (size_t i = 0; i < kRelations; i++) refer(&out, all_relations + 4 + 4 * i, the_relation);
    for (size_t i = 0; i < kColumns; i++) refer(&out, all_columns + 4 + 4 * i, the_column);

    std::vector<uint8_t> bytes(kHeaderSize);
    store_header(bytes.data(), FrameKind::transaction, true, true);
    bytes.insert(bytes.end(), out.data, out.data + out.size);
    Frame frame(bytes.data(), bytes.size());
    frame.seal();
    EXPECT_EQ(open_error(frame), FrameError::bad_envelope);
}

// Relations that verify and yet make no sense.

FrameError relation_error(const std::function<void(std::vector<ColumnParts>&)>& change) {
    std::vector<ColumnParts> columns = {column("a", ValueClass::Int4, 1), column("b", ValueClass::String, 2),
                                        column("c", ValueClass::Bool)};
    change(columns);
    FrameBuilder builder;
    builder.add(relation(1, "t", columns));
    Frame frame = builder.build();
    FrameReader reader;
    EXPECT_TRUE(reader.open(frame.data(), frame.size()).ok());
    return check_relation(*reader.batch().relations()->Get(0)).error;
}

TEST(CheckRelation, AcceptsWhatTheServerAllows) {
    using Columns = std::vector<ColumnParts>;
    EXPECT_EQ(relation_error([](Columns&) {}), FrameError::none);
    EXPECT_EQ(relation_error([](Columns& c) { c.clear(); }), FrameError::none);
    EXPECT_EQ(relation_error([](Columns& c) { std::swap(c[0].key_position, c[1].key_position); }),
              FrameError::none);
    EXPECT_EQ(relation_error([](Columns& c) {
                  c.assign(1600, column("x", ValueClass::Bytea));
                  for (uint16_t i = 0; i < 1600; i++) c[i].key_position = uint16_t(i + 1);
              }),
              FrameError::none);
    EXPECT_EQ(relation_error([](Columns& c) { c.assign(kMaxColumns, c[2]); }), FrameError::none);
    for (int v = 0; v <= int(ValueClass::MAX); v++) {
        EXPECT_EQ(relation_error([v](Columns& c) { c[2].value_class = ValueClass(v); }), FrameError::none);
    }
}

TEST(CheckRelation, RefusesUnknownValueClasses) {
    for (int v : {int(ValueClass::MAX) + 1, 100, 127, 128, 255}) {
        EXPECT_EQ(relation_error([v](auto& c) { c[2].value_class = ValueClass(v); }),
                  FrameError::bad_relation)
            << v;
    }
}

TEST(CheckRelation, RefusesImpossibleKeyPlaces) {
    for (int place : {4, 64, 1663, 1664, 1665, 32768, 65535}) {
        EXPECT_EQ(relation_error([place](auto& c) { c[2].key_position = uint16_t(place); }),
                  FrameError::bad_relation)
            << place;
    }
    EXPECT_EQ(relation_error([](auto& c) { c[2].key_position = 1; }), FrameError::bad_relation);
    EXPECT_EQ(relation_error([](auto& c) { c[2].key_position = 2; }), FrameError::bad_relation);
}

TEST(CheckRelation, RefusesTooManyColumns) {
    EXPECT_EQ(relation_error([](auto& c) { c.assign(kMaxColumns + 1, c[2]); }), FrameError::bad_relation);
}

TEST(FrameErrors, AllHaveADescription) {
    for (int e = 0; e <= int(FrameError::row_too_long); e++) {
        EXPECT_STRNE(describe(FrameError(e)), "unknown error") << e;
    }
    EXPECT_STREQ(describe(FrameError(200)), "unknown error");
}

}  // namespace
}  // namespace walferry::wire::test
