#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "record/output.h"
#include "record/relation_registry.h"
#include "tests/unit/format_row_builder.h"

namespace walferry {
namespace {

using test::make_relation;
using wire::ValueClass;

// A batch of relations by id and of retired ids, as a flatbuffer of its own.
struct BatchBuilder {
    flatbuffers::FlatBufferBuilder builder;

    const wire::Batch& build(const std::vector<uint32_t>& ids, const std::vector<uint32_t>& retired = {},
                             size_t columns = 2) {
        std::vector<flatbuffers::Offset<wire::Relation>> relations;
        for (uint32_t id : ids) {
            std::vector<flatbuffers::Offset<wire::Column>> parts;
            for (size_t i = 0; i < columns; i++) {
                parts.push_back(wire::CreateColumnDirect(builder, ("c" + std::to_string(i)).c_str(), 23,
                                                         "integer", -1, 23, ValueClass::Int4,
                                                         static_cast<uint16_t>(columns - i)));
            }
            relations.push_back(wire::CreateRelationDirect(builder, id, 16384 + id, "public",
                                                           ("t" + std::to_string(id)).c_str(), 'd', 'r', 0,
                                                           42, &parts));
        }
        const wire::Transaction transaction;
        builder.Finish(
            wire::CreateBatchDirect(builder, &transaction, nullptr, nullptr, &relations, &retired));
        return *flatbuffers::GetRoot<wire::Batch>(builder.GetBufferPointer());
    }
};

TEST(RelationSchema, HoldsWhatThePluginSent) {
    const RelationSchema orders = test::orders('d');
    EXPECT_EQ(orders.schema, "shop");
    EXPECT_EQ(orders.table, "orders");
    EXPECT_EQ(orders.replica_identity, 'd');
    EXPECT_NE(orders.fingerprint, 0u);
    ASSERT_EQ(orders.columns.size(), 5u);
    EXPECT_EQ(orders.columns[2].name, "amount");
    EXPECT_EQ(orders.columns[2].type_name, "numeric");
    EXPECT_EQ(orders.columns[2].type_modifier, (12 << 16 | 2) + 4);
    EXPECT_EQ(orders.layout[2].value_class, ValueClass::Numeric);
    EXPECT_TRUE(orders.layout[0].identity);
    EXPECT_FALSE(orders.layout[1].identity);
    EXPECT_EQ(orders.key_columns, std::vector<uint16_t>{0});
    EXPECT_EQ(orders.find_column("paid"), 3);
    EXPECT_EQ(orders.find_column("PAID"), std::nullopt);
}

TEST(RelationSchema, OrdersKeyColumnsAsTheKeyDoes) {
    BatchBuilder batch;
    RelationRegistry<int> registry;
    ASSERT_TRUE(registry.add(batch.build({1}, {}, 3)).ok());
    EXPECT_EQ(registry.find(1)->schema.key_columns, (std::vector<uint16_t>{2, 1, 0}));
}

TEST(RelationSchema, KeepsEnumLabelsInOrder) {
    const RelationSchema relation = make_relation(
        "public", "t", {{"mood", 16400, "public.mood", ValueClass::Output, 0, -1, {"sad", "ok", "happy"}}});
    EXPECT_TRUE(relation.columns[0].is_enum);
    EXPECT_EQ(relation.columns[0].enum_labels, (std::vector<std::string>{"sad", "ok", "happy"}));
}

TEST(RelationSchema, RefusesAFrameThatStandsForAHugeCopy) {
    flatbuffers::FlatBufferBuilder builder;
    const auto label = builder.CreateString(std::string(100000, 'x'));
    const std::vector<flatbuffers::Offset<flatbuffers::String>> labels(2000, label);
    const auto label_vector = builder.CreateVector(labels);
    const auto name = builder.CreateString("c");
    const auto column = wire::CreateColumn(builder, name, 1, name, -1, 1, ValueClass::Output, 0, false, false,
                                           false, label_vector);
    const auto columns = builder.CreateVector(std::vector<flatbuffers::Offset<wire::Column>>(1000, column));
    builder.Finish(wire::CreateRelation(builder, 1, 1, name, name, 'd', 'r', 0, 0, columns));
    wire::FrameStatus fault;
    EXPECT_FALSE(
        RelationSchema::make(*flatbuffers::GetRoot<wire::Relation>(builder.GetBufferPointer()), &fault));
    EXPECT_EQ(fault.error, wire::FrameError::bad_relation);
}

TEST(RelationRegistry, FindsRelationsUntilTheyAreRetired) {
    BatchBuilder first, second;
    RelationRegistry<std::string> registry;
    int prepared = 0;
    ASSERT_TRUE(registry
                    .add(first.build({1, 2, 4000000000}),
                         [&](auto& entry) {
                             entry.prepared = entry.schema.table;
                             prepared++;
                         })
                    .ok());
    EXPECT_EQ(prepared, 3);
    ASSERT_NE(registry.find(2), nullptr);
    EXPECT_EQ(registry.find(2)->prepared, "t2");
    EXPECT_EQ(registry.find(3), nullptr);
    EXPECT_NE(registry.find(4000000000), nullptr);
    EXPECT_EQ(registry.find(wire::kNoRelation), nullptr);

    const wire::Batch& batch = second.build({3}, {2, 77});
    ASSERT_TRUE(registry.add(batch).ok());
    EXPECT_NE(registry.find(2), nullptr);  // the batch's own records may still use it
    registry.retire(batch, 0);
    registry.release(0);
    EXPECT_EQ(registry.find(2), nullptr);
    EXPECT_NE(registry.find(3), nullptr);
    EXPECT_EQ(registry.size(), 3u);
    registry.clear();
    EXPECT_EQ(registry.find(3), nullptr);
}

TEST(RelationRegistry, ForgetsTheLastFoundOnceRetired) {
    BatchBuilder first, second;
    RelationRegistry<int> registry;
    ASSERT_TRUE(registry.add(first.build({1})).ok());
    ASSERT_NE(registry.find(1), nullptr);
    registry.retire(second.build({}, {1}), 0);
    registry.release(0);
    EXPECT_EQ(registry.find(1), nullptr);
}

TEST(RelationRegistry, KeepsWhatATransactionInProgressMayStillName) {
    BatchBuilder first, second, third;
    RelationRegistry<int> registry;
    ASSERT_TRUE(registry.add(first.build({1, 2})).ok());
    registry.retire(second.build({}, {1}), 5);  // transactions 3 and 4 had begun before
    registry.release(3);
    EXPECT_NE(registry.find(1), nullptr);
    registry.retire(third.build({}, {2}), 6);
    registry.release(5);
    EXPECT_EQ(registry.find(1), nullptr);
    EXPECT_NE(registry.find(2), nullptr);
    EXPECT_TRUE(registry.has_retired());
    registry.release(6);
    EXPECT_EQ(registry.find(2), nullptr);
    EXPECT_FALSE(registry.has_retired());
}

TEST(RelationRegistry, RefusesIdsThatStandForTwoSchemasOrForNone) {
    for (const std::vector<uint32_t>& ids : {std::vector<uint32_t>{1, 1}, {0}, {wire::kNoRelation}}) {
        BatchBuilder batch;
        RelationRegistry<int> registry;
        EXPECT_EQ(registry.add(batch.build(ids)).error, wire::FrameError::bad_relation);
    }
}

TEST(Output, GrowsAndKeepsWhatWasWritten) {
    Output out;
    EXPECT_EQ(out.view(), "");
    out.append("");
    std::string expected;
    for (int i = 0; i < 10000; i++) {
        out.append("abc");
        out.push_back('d');
        expected += "abcd";
    }
    EXPECT_EQ(out.view(), expected);
    char* p = out.reserve(100000);
    *p = 'x';
    out.commit(p + 1);
    EXPECT_EQ(out.view(), expected + 'x');
    out.truncate(4);
    EXPECT_EQ(out.view(), "abcd");
    Output moved = std::move(out);
    EXPECT_EQ(moved.view(), "abcd");
    out = std::move(moved);
    EXPECT_EQ(out.view(), "abcd");
}

}  // namespace
}  // namespace walferry
