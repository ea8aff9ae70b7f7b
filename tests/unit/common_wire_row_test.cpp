// Rows: all combinations of images and value states against an encoder written from docs/wire-format.md, and
// hostile rows.
#include <random>

#include "common_wire_support.h"

namespace walferry::wire::test {
namespace {

using Layout = std::vector<ColumnLayout>;
using Values = std::vector<ValueView>;

// One column's value as a test states it.
struct Cell {
    ValueState state = ValueState::value;
    std::string bytes;
};

std::string encode_image(const Layout& columns, const std::vector<Cell>& cells, bool key_only, bool nulls,
                         bool unchanged) {
    size_t bitmap = (columns.size() + 7) / 8;
    std::string null_bits(bitmap, '\0'), unchanged_bits(bitmap, '\0'), values;
    for (size_t i = 0; i < columns.size(); i++) {
        if (key_only && !columns[i].identity) continue;
        char bit = char(1 << (i % 8));
        if (cells[i].state == ValueState::null) {
            null_bits[i / 8] = char(null_bits[i / 8] | bit);
        } else if (cells[i].state == ValueState::unchanged) {
            unchanged_bits[i / 8] = char(unchanged_bits[i / 8] | bit);
        } else {
            values += fixed_size(columns[i].value_class) ? cells[i].bytes : sized(cells[i].bytes);
        }
    }
    return (nulls ? null_bits : "") + (unchanged ? unchanged_bits : "") + values;
}

void expect_image(const Layout& columns, const std::vector<Cell>& cells, bool key_only, const Values& views) {
    for (size_t i = 0; i < columns.size(); i++) {
        if (key_only && !columns[i].identity) {
            ASSERT_EQ(views[i].state, ValueState::absent) << i;
            continue;
        }
        ASSERT_EQ(views[i].state, cells[i].state) << i;
        ASSERT_EQ(text_of(views[i]), cells[i].state == ValueState::value ? cells[i].bytes : "") << i;
    }
}

// A row of one record in a frame of its own; views point into `frame`.
struct Row {
    Frame frame;
    FrameStatus status;
    Values before, after;

    Row(const Layout& columns, Operation operation, uint8_t images, const std::string& row)
        : before(columns.size()), after(columns.size()) {
        FrameBuilder builder;
        frame = builder.add(operation, 1, images, row).build();
        FrameReader reader;
        EXPECT_TRUE(reader.open(frame.data(), frame.size()).ok());
        status =
            read_row(reader, reader.record(0), columns.data(), columns.size(), before.data(), after.data());
    }
};

bool fits(Operation operation, uint8_t images) {
    bool before = images & kBefore, after = images & kAfter;
    switch (operation) {
        case Operation::Insert:
        case Operation::Read:
            return after && !before;
        case Operation::Update:
            return after;
        case Operation::Delete:
            return !after;
        default:
            return false;
    }
}

std::vector<Cell> random_cells(const Layout& columns, bool nulls, bool unchanged, std::mt19937& random) {
    std::vector<Cell> cells(columns.size());
    for (size_t i = 0; i < columns.size(); i++) {
        uint32_t choice = uint32_t(random()) % 4;
        if (nulls && choice == 0) {
            cells[i].state = ValueState::null;
        } else if (unchanged && choice == 1) {
            cells[i].state = ValueState::unchanged;
        } else {
            size_t size = fixed_size(columns[i].value_class);
            if (size == 0) size = random() % 16 ? random() % 20 : 100 + random() % 400;
            for (size_t b = 0; b < size; b++) cells[i].bytes += char(random());
        }
    }
    return cells;
}

Layout mixed_layout(size_t count) {
    Layout columns;
    for (size_t i = 0; i < count; i++) {
        columns.push_back({ValueClass(i * 7 % (size_t(ValueClass::MAX) + 1)), i % 3 == 0});
    }
    return columns;
}

TEST(ReadRow, GivesBackEveryCombinationOfImages) {
    std::mt19937 random(1);
    for (size_t count : {0u, 1u, 2u, 7u, 8u, 9u, 20u, 65u}) {
        Layout columns = mixed_layout(count);
        for (Operation operation :
             {Operation::Insert, Operation::Update, Operation::Delete, Operation::Read}) {
            for (unsigned images = 0; images < 256; images++) {
                if (!fits(operation, uint8_t(images))) continue;
                bool key_only = images & kBeforeKeyOnly;
                std::vector<Cell> before =
                    random_cells(columns, images & kBeforeNulls, images & kBeforeUnchanged, random);
                std::vector<Cell> after =
                    random_cells(columns, images & kAfterNulls, images & kAfterUnchanged, random);
                std::string row;
                if (images & kBefore) {
                    row += encode_image(columns, before, key_only, images & kBeforeNulls,
                                        images & kBeforeUnchanged);
                }
                if (images & kAfter) {
                    row +=
                        encode_image(columns, after, false, images & kAfterNulls, images & kAfterUnchanged);
                }
                Row read(columns, operation, uint8_t(images), row);
                ASSERT_TRUE(read.status.ok())
                    << describe(read.status.error) << " count " << count << " images " << images;
                if (images & kBefore) {
                    expect_image(columns, before, key_only, read.before);
                } else {
                    for (const ValueView& v : read.before) ASSERT_EQ(v.state, ValueState::absent);
                }
                if (images & kAfter) {
                    expect_image(columns, after, false, read.after);
                } else {
                    for (const ValueView& v : read.after) ASSERT_EQ(v.state, ValueState::absent);
                }
                if (HasFatalFailure()) return;
            }
        }
    }
}

TEST(ReadRow, TakesRowsOfManyColumns) {
    std::mt19937 random(2);
    for (size_t count : {1599u, 1600u, 1664u}) {
        Layout columns = mixed_layout(count);
        std::vector<Cell> before = random_cells(columns, true, false, random);
        std::vector<Cell> after = random_cells(columns, true, true, random);
        std::string row = encode_image(columns, before, true, true, false) +
                          encode_image(columns, after, false, true, true);
        uint8_t images = kBefore | kBeforeKeyOnly | kBeforeNulls | kAfter | kAfterNulls | kAfterUnchanged;
        Row read(columns, Operation::Update, images, row);
        ASSERT_TRUE(read.status.ok());
        expect_image(columns, before, true, read.before);
        expect_image(columns, after, false, read.after);
    }
}

TEST(ReadRow, ReadsADeleteWithoutAnyImage) {
    Row read(mixed_layout(3), Operation::Delete, 0, "");
    EXPECT_TRUE(read.status.ok());
    for (const ValueView& v : read.before) EXPECT_EQ(v.state, ValueState::absent);
}

TEST(ReadRow, PrefersNullWhereBothBitmapsSpeak) {
    Row read({{ValueClass::Int4, false}}, Operation::Insert, kAfter | kAfterNulls | kAfterUnchanged,
             "\x01\x01");
    ASSERT_TRUE(read.status.ok());
    EXPECT_EQ(read.after[0].state, ValueState::null);
}

TEST(ReadRow, IgnoresSpareBitsOfABitmap) {
    Row read({{ValueClass::Bool, false}}, Operation::Insert, kAfter | kAfterNulls, "\xfe\x01");
    ASSERT_TRUE(read.status.ok());
    EXPECT_EQ(text_of(read.after[0]), "\x01");
}

TEST(ReadRow, RefusesImagesThatTheOperationCannotHave) {
    for (int operation = 0; operation < 256; operation++) {
        for (unsigned images = 0; images < 256; images++) {
            if (fits(Operation(operation), uint8_t(images))) continue;
            Row read({}, Operation(operation), uint8_t(images), "");
            ASSERT_EQ(read.status.error, FrameError::bad_record) << operation << " " << images;
        }
    }
}

TEST(ReadRow, RefusesEveryTruncatedOrOverlongRow) {
    std::mt19937 random(3);
    Layout columns = mixed_layout(20);
    std::vector<Cell> cells = random_cells(columns, true, true, random);
    uint8_t images = kBefore | kBeforeNulls | kBeforeUnchanged | kAfter | kAfterNulls | kAfterUnchanged;
    std::string image = encode_image(columns, cells, false, true, true);
    std::string row = image + image;
    ASSERT_TRUE(Row(columns, Operation::Update, images, row).status.ok());
    for (size_t size = 0; size < row.size(); size++) {
        Row read(columns, Operation::Update, images, row.substr(0, size));
        ASSERT_EQ(read.status.error, FrameError::value_truncated) << size;
    }
    Row read(columns, Operation::Update, images, row + "x");
    EXPECT_EQ(read.status.error, FrameError::row_too_long);
    EXPECT_EQ(read.status.offset, row.size());
}

TEST(ReadRow, KeepsToTheRecordsOwnBytes) {
    // Two rows: the first claims a length that would end in the second.
    FrameBuilder builder;
    builder.add(Operation::Insert, 1, kAfter, sized("ab")).add(Operation::Insert, 1, kAfter, sized("cd"));
    builder.values()[0] = 5;
    Frame frame = builder.build();
    FrameReader reader;
    ASSERT_TRUE(reader.open(frame.data(), frame.size()).ok());
    ColumnLayout text = {ValueClass::String, false};
    ValueView before, after;
    EXPECT_EQ(read_row(reader, reader.record(0), &text, 1, &before, &after).error,
              FrameError::value_truncated);
    EXPECT_TRUE(read_row(reader, reader.record(1), &text, 1, &before, &after).ok());
    EXPECT_EQ(text_of(after), "cd");
}

TEST(ReadRow, RefusesHostileLengths) {
    Layout text = {{ValueClass::String, false}};
    std::string big(100, 'x');
    for (const char* length :
         {"\x7f", "\xff\x7f", "\xff\xff\xff\xff\x0f", "\xff\xff\xff\xff\x1f", "\x80\x80\x80\x80\x80\x01"}) {
        EXPECT_EQ(Row(text, Operation::Insert, kAfter, length + big).status.error,
                  FrameError::value_truncated);
    }
    EXPECT_EQ(Row(text, Operation::Insert, kAfter, "").status.error, FrameError::value_truncated);
    EXPECT_EQ(Row(text, Operation::Insert, kAfter, "\x80").status.error, FrameError::value_truncated);
}

// A frame of 16 bytes of values and a record of each offset.
Frame frame_of_offsets(Operation operation, const std::vector<uint32_t>& offsets) {
    FrameBuilder builder;
    builder.values() = std::string(16, 'x');
    for (uint32_t offset : offsets) {
        uint16_t ordinal = uint16_t(builder.records().size());
        builder.records().emplace_back(offset, 1, ordinal, operation,
                                       operation == Operation::Insert ? kAfter : 0);
    }
    return builder.build();
}

TEST(ReadRow, ReadsARowToTheStartOfTheNext) {
    Frame frame = frame_of_offsets(Operation::Insert, {0, 8});
    FrameReader reader;
    ASSERT_TRUE(reader.open(frame.data(), frame.size()).ok());
    EXPECT_EQ(reader.record(0).end(), 8u);
    EXPECT_EQ(reader.record(0).length(), 8u);
    EXPECT_EQ(reader.record(1).offset(), 8u);
    EXPECT_EQ(reader.record(1).end(), 16u);
    EXPECT_EQ(reader.record(1).length(), 8u);
}

TEST(ReadRow, RefusesPlacesOutsideTheValues) {
    constexpr FrameError kFine = FrameError::none, kOutside = FrameError::row_out_of_range;
    constexpr FrameError kShort = FrameError::value_truncated, kLong = FrameError::row_too_long;
    struct Case {
        std::vector<uint32_t> offsets;
        std::vector<FrameError> errors;
    };
    for (const Case& c : {
             Case{{0, 8}, {kFine, kFine}},
             Case{{8}, {kFine}},
             Case{{0}, {kLong}},
             Case{{16}, {kShort}},
             Case{{17}, {kOutside}},
             Case{{UINT32_MAX}, {kOutside}},
             Case{{0, 8, 16}, {kFine, kFine, kShort}},
             Case{{0, 8, 8}, {kFine, kShort, kFine}},
             Case{{0, 9}, {kLong, kShort}},
             Case{{8, 0}, {kOutside, kLong}},  // decreasing
             Case{{8, 7, 8}, {kOutside, kShort, kFine}},
             Case{{0, 8, 0}, {kFine, kOutside, kLong}},
             Case{{0, 17}, {kOutside, kOutside}},  // beyond the values
             Case{{17, 17}, {kOutside, kOutside}},
             Case{{8, 17, 8}, {kOutside, kOutside, kFine}},
             Case{{8, UINT32_MAX}, {kOutside, kOutside}},
             Case{{UINT32_MAX, 8}, {kOutside, kFine}},
             Case{{UINT32_MAX, 7}, {kOutside, kLong}},  // end less offset is 8 in 32 bits
             Case{{0xfffffff8, 0}, {kOutside, kLong}},
             Case{{UINT32_MAX, UINT32_MAX}, {kOutside, kOutside}},
             Case{{0x80000000, 0x80000008}, {kOutside, kOutside}},
         }) {
        Frame frame = frame_of_offsets(Operation::Insert, c.offsets);
        FrameReader reader;
        ASSERT_TRUE(reader.open(frame.data(), frame.size()).ok());
        ColumnLayout number = {ValueClass::Int8, false};
        for (size_t i = 0; i < c.offsets.size(); i++) {
            ValueView before, after;
            FrameStatus status = read_row(reader, reader.record(i), &number, 1, &before, &after);
            EXPECT_EQ(status.error, c.errors[i]) << testing::PrintToString(c.offsets) << " " << i;
        }
    }
}

TEST(ReadRow, NeverLetsALengthUnderflow) {
    Frame frame = frame_of_offsets(Operation::Insert, {8, 7, UINT32_MAX});
    FrameReader reader;
    ASSERT_TRUE(reader.open(frame.data(), frame.size()).ok());
    EXPECT_EQ(reader.record(0).length(), 0u);
    EXPECT_EQ(reader.record(2).length(), 0u);
}

TEST(ReadRow, RefusesARowInAFrameWithoutValues) {
    for (uint32_t offset : {0u, 1u, UINT32_MAX}) {
        FrameBuilder builder;
        builder.records().emplace_back(offset, 1, 0, Operation::Insert, kAfter);
        Frame frame = builder.build();
        FrameReader reader;
        ASSERT_TRUE(reader.open(frame.data(), frame.size()).ok());
        EXPECT_EQ(reader.record(0).length(), 0u);
        ColumnLayout number = {ValueClass::Int8, false};
        ValueView before, after;
        EXPECT_EQ(read_row(reader, reader.record(0), &number, 1, &before, &after).error,
                  offset ? FrameError::row_out_of_range : FrameError::value_truncated);
    }
}

TEST(ReadRow, SurvivesNoise) {
    std::mt19937 random(4);
    for (int round = 0; round < 20000; round++) {
        Layout columns = mixed_layout(random() % 30);
        std::string row(random() % 80, '\0');
        for (char& b : row) b = char(random() % 4 ? random() % 8 : random());
        Row(columns, Operation(random() % 7), uint8_t(random()), row);
    }
}

TEST(FixedSize, IsThatOfTheServersTypes) {
    uint32_t sizes[] = {0, 1, 2, 4, 8, 4, 8, 4, 4, 8, 12, 8, 8, 16, 16, 1, 8, 0, 0, 0};
    for (int c = 0; c <= int(ValueClass::MAX); c++) EXPECT_EQ(fixed_size(ValueClass(c)), sizes[c]) << c;
    EXPECT_EQ(fixed_size(ValueClass(20)), 0u);
    EXPECT_EQ(fixed_size(ValueClass(255)), 0u);
}

FrameStatus message_of(Operation operation, const std::string& row, std::string* prefix,
                       std::string* content) {
    FrameBuilder builder;
    builder.parts.kind = FrameKind::message;
    Frame frame = builder.add(operation, kNoRelation, 0, row).build();
    FrameReader reader;
    EXPECT_TRUE(reader.open(frame.data(), frame.size()).ok());
    MessageView view;
    FrameStatus status = read_message(reader, reader.record(0), &view);
    if (status.ok()) {
        *prefix = {reinterpret_cast<const char*>(view.prefix), view.prefix_size};
        *content = {reinterpret_cast<const char*>(view.content), view.content_size};
    }
    return status;
}

TEST(ReadMessage, SplitsPrefixAndContent) {
    std::string prefix, content;
    ASSERT_TRUE(message_of(Operation::Message, sized("p") + std::string("a\0b", 3), &prefix, &content).ok());
    EXPECT_EQ(prefix, "p");
    EXPECT_EQ(content, std::string("a\0b", 3));
    ASSERT_TRUE(message_of(Operation::Message, sized("") + "x", &prefix, &content).ok());
    EXPECT_EQ(prefix, "");
    EXPECT_EQ(content, "x");
    std::string long_prefix(5000, 'p');
    ASSERT_TRUE(message_of(Operation::Message, sized(long_prefix), &prefix, &content).ok());
    EXPECT_EQ(prefix, long_prefix);
    EXPECT_EQ(content, "");
}

TEST(ReadMessage, RefusesWhatIsNotAMessage) {
    std::string prefix, content;
    EXPECT_EQ(message_of(Operation::Insert, sized("p"), &prefix, &content).error, FrameError::bad_record);
    for (const std::string& row :
         {std::string(), std::string("\x02p"), std::string("\x80"), std::string("\xff\xff\xff\xff\x0fp"),
          std::string("\xff\xff\xff\xff\x10p")}) {
        EXPECT_EQ(message_of(Operation::Message, row, &prefix, &content).error, FrameError::value_truncated);
    }
}

TEST(ReadMessage, RefusesPlacesOutsideTheValues) {
    Frame frame = frame_of_offsets(Operation::Message, {8, 7, 17});
    FrameReader reader;
    ASSERT_TRUE(reader.open(frame.data(), frame.size()).ok());
    for (size_t i = 0; i < 3; i++) {
        MessageView view;
        EXPECT_EQ(read_message(reader, reader.record(i), &view).error, FrameError::row_out_of_range) << i;
    }
}

TEST(CheckTruncate, AcceptsAnEmptyRowOnly) {
    Frame frame = frame_of_offsets(Operation::Truncate, {0, 0, 8, 7, 16, 16, 17});
    FrameReader reader;
    ASSERT_TRUE(reader.open(frame.data(), frame.size()).ok());
    FrameError errors[] = {FrameError::none,
                           FrameError::row_too_long,
                           FrameError::row_out_of_range,
                           FrameError::row_too_long,
                           FrameError::none,
                           FrameError::row_out_of_range,
                           FrameError::row_out_of_range};
    for (size_t i = 0; i < 7; i++) EXPECT_EQ(check_truncate(reader, reader.record(i)).error, errors[i]) << i;
}

TEST(CheckTruncate, AcceptsAFrameWithoutValues) {
    FrameBuilder builder;
    builder.add(Operation::Truncate, 1, kCascade, "").add(Operation::Truncate, 2, kCascade, "");
    Frame frame = builder.build();
    FrameReader reader;
    ASSERT_TRUE(reader.open(frame.data(), frame.size()).ok());
    EXPECT_TRUE(check_truncate(reader, reader.record(0)).ok());
    EXPECT_TRUE(check_truncate(reader, reader.record(1)).ok());
}

TEST(CheckTruncate, RefusesOtherOperations) {
    Frame frame = frame_of_offsets(Operation::Insert, {16});
    FrameReader reader;
    ASSERT_TRUE(reader.open(frame.data(), frame.size()).ok());
    EXPECT_EQ(check_truncate(reader, reader.record(0)).error, FrameError::bad_record);
}

}  // namespace
}  // namespace walferry::wire::test
