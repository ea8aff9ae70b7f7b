#include "route/key_change.h"

#include <gtest/gtest.h>

#include "format_row_builder.h"

namespace walferry {
namespace {

using test::kAbsent;
using test::kNull;
using test::kUnchanged;
using test::text;
using wire::Operation;
using wire::ValueState;

RelationSchema relation(uint8_t identity) {
    return test::make_relation("public", "t",
                               {{"a", 25, "text", wire::ValueClass::String, 2},
                                {"b", 25, "text", wire::ValueClass::String, 1},
                                {"v", 25, "text", wire::ValueClass::String}},
                               identity);
}

const std::vector<uint16_t> kKey{1, 0};

std::string bytes(const wire::ValueView& view) {
    return {reinterpret_cast<const char*>(view.data), view.size};
}

bool changed(const test::Image& before, const test::Image& after, Operation operation = Operation::Update) {
    const RelationSchema schema = relation('d');
    return changes_key(test::TestRow(schema, operation, before, after).row(), kKey);
}

TEST(KeyChange, IsAnUpdateWhoseKeyDiffersInTheTwoImages) {
    const test::Image after{text("1"), text("x"), text("v")};
    EXPECT_TRUE(changed({text("2"), text("x"), kAbsent}, after));
    EXPECT_TRUE(changed({text("1"), text("y"), kAbsent}, after));
    EXPECT_TRUE(changed({text("1"), text(""), kAbsent}, after));
    EXPECT_FALSE(changed({text("1"), text("x"), kAbsent}, after));
    EXPECT_FALSE(changed({text("1"), text("x"), text("w")}, after)) << "v is not part of the key";
    EXPECT_FALSE(changed({}, after)) << "no before image: the key is what it was";
    EXPECT_FALSE(changed({text("2"), text("x"), text("v")}, {}, Operation::Delete));
    EXPECT_FALSE(changed({}, after, Operation::Insert));
}

TEST(KeyChange, NullIsAValueAndAnUnloggedValueIsNoChange) {
    EXPECT_TRUE(changed({kNull, text("x"), kAbsent}, {text(""), text("x"), text("v")}));
    EXPECT_TRUE(changed({text(""), text("x"), kAbsent}, {kNull, text("x"), text("v")}));
    EXPECT_FALSE(changed({kNull, text("x"), kAbsent}, {kNull, text("x"), text("v")}));
    EXPECT_FALSE(changed({text("large"), text("x"), kAbsent}, {kUnchanged, text("x"), text("v")}));
    EXPECT_TRUE(changed({text("large"), text("x"), kAbsent}, {kUnchanged, text("y"), text("v")}));
}

TEST(KeyChange, IsNotToldWhereTheBeforeImageLacksAPartOfTheKey) {
    EXPECT_FALSE(changed({text("2"), kAbsent, kAbsent}, {text("1"), text("x"), text("v")}));
    const RelationSchema schema = relation('d');
    const test::TestRow row(schema, Operation::Update, {text("2"), text("x"), kAbsent},
                            {text("1"), text("x"), text("v")});
    EXPECT_FALSE(changes_key(row.row(), {})) << "a table without key";
}

TEST(KeyChange, GivesTheOldKeyToTheDeleteAndTheWholeRowToTheInsert) {
    const RelationSchema schema = relation('d');
    const test::TestRow row(schema, Operation::Update, {text("1"), text("x"), kAbsent},
                            {text("2"), kUnchanged, kUnchanged},
                            wire::kBeforeKeyOnly | wire::kAfterUnchanged);
    KeyChange parts;
    const Row deleted = parts.deleted(row.row());
    EXPECT_EQ(deleted.operation, Operation::Delete);
    EXPECT_EQ(deleted.images, wire::kBefore | wire::kBeforeKeyOnly);
    EXPECT_EQ(bytes(deleted.before[0]) + bytes(deleted.before[1]), "1x");
    EXPECT_EQ(deleted.before[2].state, ValueState::absent);
    for (int i = 0; i < 3; ++i) EXPECT_EQ(deleted.after[i].state, ValueState::absent);
    EXPECT_EQ(deleted.ordinal, row.row().ordinal);
    EXPECT_EQ(deleted.commit_lsn, row.row().commit_lsn);

    const Row inserted = parts.inserted(row.row());
    EXPECT_EQ(inserted.operation, Operation::Insert);
    EXPECT_EQ(inserted.images, wire::kAfter | wire::kAfterUnchanged);
    EXPECT_EQ(bytes(inserted.after[0]) + bytes(inserted.after[1]), "2x") << "the key is healed";
    EXPECT_EQ(inserted.after[2].state, ValueState::unchanged) << "nobody has this value";
    for (int i = 0; i < 3; ++i) EXPECT_EQ(inserted.before[i].state, ValueState::absent);
    EXPECT_EQ(row.row().after[1].state, ValueState::unchanged) << "the row itself stays as it is";
}

TEST(KeyChange, HealsTheInsertFromAWholeBeforeImage) {
    const RelationSchema schema = relation('f');
    const test::TestRow row(schema, Operation::Update, {text("1"), text("x"), text("large")},
                            {text("2"), kNull, kUnchanged});
    KeyChange parts;
    const Row inserted = parts.inserted(row.row());
    EXPECT_EQ(inserted.after[1].state, ValueState::null) << "an explicit null is not healed";
    EXPECT_EQ(bytes(inserted.after[2]), "large");
}

}  // namespace
}  // namespace walferry
