// A fingerprint names a schema for good: it may not change between releases, servers or restarts.
#include <functional>
#include <set>

#include "common_wire_support.h"

namespace walferry::wire::test {
namespace {

struct Schema {
    const char* labels[2] = {"sad", "happy"};
    std::vector<ColumnParts> columns = example_columns();
    RelationParts relation;

    Schema() {
        columns[0].type_modifier = 5;
        columns[1].value_class = ValueClass::Output;
        columns[1].enum_labels = labels;
        columns[1].enum_label_count = 2;
        relation = test::relation(1, "t", columns);
        relation.leaf_schema = "parts";
        relation.leaf_table = "t_1";
    }
    uint64_t of() const { return fingerprint(relation); }
};

// The numbers were computed by an independent implementation of what docs/wire-format.md says.
TEST(Fingerprint, IsTheSameInEveryRelease) {
    std::vector<ColumnParts> columns = example_columns();
    EXPECT_EQ(fingerprint(relation(1, "t", columns)), 0x4dcdd64bd2d943b9u);
    EXPECT_EQ(Schema().of(), 0xecf04895b0448aa4u);
    EXPECT_EQ(fingerprint(relation(1, "", {})), 0xf38a5f4a95b3ee30u);
}

TEST(Fingerprint, ChangesWithEveryIngredient) {
    using Change = std::function<void(Schema&)>;
    std::vector<Change> changes = {
        [](Schema& s) { s.relation.schema = "other"; },
        [](Schema& s) { s.relation.table = "other"; },
        [](Schema& s) { s.relation.leaf_schema = "other"; },
        [](Schema& s) { s.relation.leaf_table = "other"; },
        [](Schema& s) { s.relation.leaf_schema = nullptr; },
        [](Schema& s) { s.relation.leaf_table = nullptr; },
        [](Schema& s) { s.relation.replica_identity = 'f'; },
        [](Schema& s) { s.relation.kind = 'p'; },
        [](Schema& s) { s.relation.column_count = 1; },
        [](Schema& s) { std::swap(s.columns[0], s.columns[1]); },
        [](Schema& s) { s.columns[0].name = "other"; },
        [](Schema& s) { s.columns[0].type_name = "other"; },
        [](Schema& s) { s.columns[0].type_modifier = 6; },
        [](Schema& s) { s.columns[0].value_class = ValueClass::Oid; },
        [](Schema& s) { s.columns[0].key_position = 2; },
        [](Schema& s) { s.columns[0].key_position = 0; },
        [](Schema& s) { s.columns[0].identity = false; },
        [](Schema& s) { s.columns[0].not_null = false; },
        [](Schema& s) { s.columns[0].generated = true; },
        [](Schema& s) { s.columns[1].enum_label_count = 1; },
        [](Schema& s) { std::swap(s.labels[0], s.labels[1]); },
        [](Schema& s) { s.labels[1] = "glad"; },
        // The same letters, cut elsewhere.
        [](Schema& s) { s.relation.schema = "publi", s.relation.table = "ct"; },
        [](Schema& s) { s.labels[0] = "sadh", s.labels[1] = "appy"; },
    };
    std::set<uint64_t> seen = {Schema().of()};
    for (size_t i = 0; i < changes.size(); i++) {
        Schema schema;
        changes[i](schema);
        EXPECT_TRUE(seen.insert(schema.of()).second) << "change " << i;
    }
}

TEST(Fingerprint, DoesNotDependOnNumbersOfOneServer) {
    Schema schema;
    uint64_t before = schema.of();
    schema.relation.id = 99;
    schema.relation.oid = 99;
    schema.relation.root_oid = 99;
    for (ColumnParts& c : schema.columns) c.type_oid = c.base_type_oid = 99;
    EXPECT_EQ(schema.of(), before);
}

}  // namespace
}  // namespace walferry::wire::test
