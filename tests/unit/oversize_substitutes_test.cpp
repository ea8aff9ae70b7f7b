#include "oversize/substitutes.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <map>
#include <set>

#include "oversize/chunks.h"
#include "oversize/key_only.h"
#include "format_row_builder.h"

namespace walferry {
namespace {

std::map<std::string, std::string> headers_of(const SubstituteMessage& message) {
    std::map<std::string, std::string> headers;
    for (const NamedHeader& header : message.headers)
        EXPECT_TRUE(headers.emplace(header.name, header.value).second) << header.name << " twice";
    return headers;
}

Unsendable record(std::string_view value, Cause cause = Cause::too_large) {
    return {.cause = cause,
            .schema = "public",
            .table = "t",
            .topic = "data",
            .position = "7:1:0/AB:3",
            .origin = {},
            .key = "{\"id\":\"1\"}",
            .value = value,
            .explanation = "too large"};
}

TEST(Substitutes, ChunksFitAndMakeTheValue) {
    const std::string value(1'000'000, 'x');
    for (const size_t limit : {10'000U, 100'000U, 999'999U}) {
        Unsendable whole = record(value);
        whole.origin = "upstream";
        const auto chunks = chunk_messages(whole, limit);
        ASSERT_GT(chunks.size(), 1U);
        std::string joined;
        std::set<std::string> positions;
        for (size_t i = 0; i < chunks.size(); ++i) {
            EXPECT_LE(message_size(chunks[i], whole.origin), limit);
            EXPECT_EQ(chunks[i].key, whole.key);
            const auto headers = headers_of(chunks[i]);
            EXPECT_EQ(headers.at("walferry.chunk"),
                      std::to_string(i + 1) + "/" + std::to_string(chunks.size()));
            EXPECT_EQ(headers.at("walferry.size"), "1000000");
            EXPECT_EQ(headers.at("walferry.checksum"), checksum_text(value));
            EXPECT_EQ(headers.at("walferry.policy"), "split");
            positions.insert(chunks[i].position);
            joined += chunks[i].content();
        }
        EXPECT_EQ(joined, value);
        EXPECT_EQ(positions.size(), chunks.size());
        EXPECT_EQ(chunks.back().position, whole.position);
    }
}

TEST(Substitutes, AKeyThatLeavesNoRoomGivesNoChunks) {
    const std::string key(9'500, 'k');
    Unsendable whole = record("value");
    whole.key = key;
    EXPECT_TRUE(chunk_messages(whole, 10'000).empty());
}

TEST(Substitutes, AClaimTellsWhereTheValueIs) {
    const SubstituteMessage message = claim_message(record("value"), "{\"data\":[]}", "shop/7-1/AB-3");
    EXPECT_EQ(message.content(), "{\"data\":[]}");
    EXPECT_EQ(message.position, "7:1:0/AB:3");
    const auto headers = headers_of(message);
    EXPECT_EQ(headers.at("walferry.claim"), "shop/7-1/AB-3");
    EXPECT_EQ(headers.at("walferry.size"), "5");
    EXPECT_EQ(headers.at("walferry.checksum"), checksum_text("value"));
}

TEST(Substitutes, KeyOnlyTellsWhy) {
    auto headers = headers_of(key_only_message(record("value"), "{}"));
    EXPECT_EQ(headers.at("walferry.reason"), "oversize");
    EXPECT_EQ(headers.at("walferry.code"), "WF3005");
    EXPECT_EQ(headers.at("walferry.size"), "5");
    headers = headers_of(key_only_message(record({}, Cause::bad_value), "{}"));
    EXPECT_EQ(headers.at("walferry.reason"), "unrenderable");
    EXPECT_EQ(headers.at("walferry.code"), "WF4102");
    EXPECT_FALSE(headers.contains("walferry.size"));
    headers = headers_of(key_only_message(record({}, Cause::left_out), "{}"));
    EXPECT_EQ(headers.at("walferry.reason"), "left-out");
    EXPECT_EQ(headers.at("walferry.code"), "WF4103");
}

TEST(Substitutes, ADeadLetterHasTheValueWhereItFits) {
    const std::string value(5'000, 'x');
    const SubstituteMessage whole = dead_letter_message(record(value), 10'000);
    EXPECT_EQ(whole.content(), value);
    auto headers = headers_of(whole);
    EXPECT_EQ(headers.at("walferry.value"), "whole");
    EXPECT_EQ(headers.at("walferry.topic"), "data");
    EXPECT_EQ(headers.at("walferry.schema"), "public");
    EXPECT_EQ(headers.at("walferry.table"), "t");
    EXPECT_EQ(headers.at("walferry.error"), "too large");

    const SubstituteMessage described = dead_letter_message(record(value), 5'000);
    EXPECT_EQ(headers_of(described).at("walferry.value"), "described");
    EXPECT_EQ(described.key, "{\"id\":\"1\"}");
    const auto text = nlohmann::json::parse(described.content());
    EXPECT_EQ(text.at("size"), 5000);
    EXPECT_EQ(text.at("checksum"), checksum_text(value));
    EXPECT_EQ(text.at("position"), "7:1:0/AB:3");
    EXPECT_EQ(text.at("code"), "WF3005");
    EXPECT_LE(message_size(described, {}), 5'000U);
}

TEST(Substitutes, ADeadLetterWithoutAValueIsDescribed) {
    const SubstituteMessage message = dead_letter_message(record({}, Cause::bad_value), 10'000);
    EXPECT_EQ(headers_of(message).at("walferry.value"), "described");
    EXPECT_FALSE(nlohmann::json::parse(message.content()).contains("size"));
    EXPECT_EQ(headers_of(dead_letter_message(record("{}", Cause::left_out), 10'000)).at("walferry.value"),
              "partial");
}

TEST(Substitutes, ADeadLetterGoesWithoutAKeyThatIsTooLarge) {
    const std::string key(20'000, 'k');
    Unsendable whole = record("value");
    whole.key = key;
    const SubstituteMessage message = dead_letter_message(whole, 10'000);
    EXPECT_EQ(message.key.data(), nullptr);
    EXPECT_EQ(headers_of(message).at("walferry.key"), "left-out");
    EXPECT_LE(message_size(message, {}), 10'000U);
}

TEST(Substitutes, ALogicalMessageHasNoTable) {
    Unsendable whole = record("value");
    whole.schema = whole.table = {};
    const auto headers = headers_of(dead_letter_message(whole, 10'000));
    EXPECT_FALSE(headers.contains("walferry.table"));
    EXPECT_FALSE(headers.contains("walferry.schema"));
}

TEST(KeyOnlyRow, KnowsTheKeyAndNothingElse) {
    using namespace walferry::test;
    const RelationSchema relation = orders();
    const TestRow row(relation, wire::Operation::Update,
                      {number<int64_t>(1), text("a"), n19_90(), number<uint8_t>(1), kNull},
                      {number<int64_t>(2), text("b"), n17_50(), number<uint8_t>(1), kNull});
    KeyOnly keys;
    const std::vector<uint16_t> key{0};
    const Row only = keys.of(row.row(), key);
    EXPECT_EQ(only.before[0].data, row.row().before[0].data);
    EXPECT_EQ(only.after[0].data, row.row().after[0].data);
    for (size_t i = 1; i < relation.columns.size(); ++i) {
        EXPECT_EQ(only.before[i].state, wire::ValueState::unchanged);
        EXPECT_EQ(only.after[i].state, wire::ValueState::unchanged);
    }
    EXPECT_EQ(only.operation, wire::Operation::Update);
    EXPECT_EQ(only.commit_lsn, row.row().commit_lsn);
}

}  // namespace
}  // namespace walferry
