#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "format/canal_json.h"
#include "tests/unit/format_row_builder.h"

namespace walferry {
namespace {

using namespace test;
using nlohmann::json;
using wire::Operation;
using wire::ValueClass;

constexpr int64_t kNow = 1767323045180;

CanalConfig letters() {
    CanalConfig config;
    config.boolean = CanalBoolean::letters;
    return config;
}

std::string render(const RelationSchema& relation, const TestRow& row,
                   const CanalConfig& config = letters()) {
    const CanalJson canal(config, "shopdb");
    Output out;
    out.append("before|");
    const RenderStatus status = canal.render(canal.prepare(relation), row.row(), kNow, out);
    EXPECT_EQ(out.view().substr(0, 7), "before|");
    if (status.outcome == Rendered::message) return std::string(out.view().substr(7));
    EXPECT_EQ(out.view(), "before|");
    return status.outcome == Rendered::nothing ? "nothing" : std::string("error: ") + describe(status.error);
}

std::string render_key(const RelationSchema& relation, const TestRow& row,
                       const std::vector<std::string>& key = {}) {
    const CanalJson canal(letters(), "shopdb");
    Output out;
    const RenderStatus status = canal.render_key(canal.prepare(relation, key), row.row(), out);
    if (status.outcome == Rendered::message) return std::string(out.view());
    EXPECT_TRUE(out.empty());
    return status.outcome == Rendered::nothing ? "nothing" : std::string("error: ") + describe(status.error);
}

Image ada(const TestValue& amount, bool paid, const TestValue& note = kNull) {
    return {number(int64_t(42)), text("Ada"), amount, number(uint8_t(paid)), note};
}

const std::string kHead =
    R"({"id":1001,"database":"shop","table":"orders","pkNames":["id"],"isDdl":false,"type":")";
const std::string kTypes =
    R"(","es":1767323045123,"ts":1767323045180,"sql":"","sqlType":{"id":-5,"customer":12,"amount":3,"paid":-7,"note":12},)"
    R"("mysqlType":{"id":"bigint","customer":"varchar","amount":"numeric","paid":"boolean","note":"text"},"data":[)";

TEST(CanalJson, WritesAnInsert) {
    const RelationSchema relation = orders();
    EXPECT_EQ(
        render(relation, TestRow(relation, Operation::Insert, {}, ada(n19_90(), false))),
        kHead + "INSERT" + kTypes +
            R"({"id":"42","customer":"Ada","amount":"19.90","paid":"f","note":null}],"old":null,"gtid":""})");
}

TEST(CanalJson, WritesAnUpdateWithTheChangedColumnsInOld) {
    const RelationSchema relation = orders();
    EXPECT_EQ(
        render(relation, TestRow(relation, Operation::Update, ada(n19_90(), false), ada(n17_50(), true))),
        kHead + "UPDATE" + kTypes +
            R"({"id":"42","customer":"Ada","amount":"17.50","paid":"t","note":null}],)"
            R"("old":[{"amount":"19.90","paid":"f"}],"gtid":""})");
}

TEST(CanalJson, WritesADeleteWithTheBeforeImageAsData) {
    const RelationSchema relation = orders();
    EXPECT_EQ(
        render(relation, TestRow(relation, Operation::Delete, ada(n17_50(), true), {})),
        kHead + "DELETE" + kTypes +
            R"({"id":"42","customer":"Ada","amount":"17.50","paid":"t","note":null}],"old":null,"gtid":""})");
}

TEST(CanalJson, WritesASnapshotRowAsInsertOrInit) {
    const RelationSchema relation = orders();
    const TestRow row(relation, Operation::Read, {}, ada(n19_90(), true));
    EXPECT_EQ(json::parse(render(relation, row))["type"], "INSERT");
    const CanalJson dts(CanalConfig{}, "shopdb", ReadType::init);
    Output out;
    ASSERT_EQ(dts.render(dts.prepare(relation), row.row(), kNow, out).outcome, Rendered::message);
    EXPECT_EQ(json::parse(out.view())["type"], "INIT");
}

TEST(CanalJson, OldIsAnEmptyObjectWithoutABeforeImage) {
    const RelationSchema relation = orders('d');
    const json message =
        json::parse(render(relation, TestRow(relation, Operation::Update, {}, ada(n17_50(), true))));
    EXPECT_EQ(message["old"].dump(), "[{}]");
    EXPECT_EQ(message["data"][0]["amount"], "17.50");
}

TEST(CanalJson, OldHoldsTheChangedKeyOfAKeyOnlyImage) {
    const RelationSchema relation = orders('d');
    Image before(5, kAbsent);
    before[0] = number(int64_t(41));
    const json message = json::parse(render(
        relation, TestRow(relation, Operation::Update, before, ada(n17_50(), true), wire::kBeforeKeyOnly)));
    EXPECT_EQ(message["old"].dump(), R"([{"id":"41"}])");
    EXPECT_EQ(message["data"][0]["id"], "42");
}

TEST(CanalJson, DeleteHoldsTheKeyOfAKeyOnlyImageAndNothingWithoutOne) {
    const RelationSchema relation = orders('d');
    Image before(5, kAbsent);
    before[0] = number(int64_t(41));
    json message =
        json::parse(render(relation, TestRow(relation, Operation::Delete, before, {}, wire::kBeforeKeyOnly)));
    EXPECT_EQ(message["data"].dump(), R"([{"id":"41"}])");
    message = json::parse(render(relation, TestRow(relation, Operation::Delete, {}, {})));
    EXPECT_EQ(message["data"].dump(), "[{}]");
    EXPECT_TRUE(message["old"].is_null());
}

TEST(CanalJson, TakesUnchangedToastFromTheBeforeImageOrLeavesItOut) {
    const RelationSchema full = orders('f');
    const Image after = ada(n17_50(), true, kUnchanged);
    json message =
        json::parse(render(full, TestRow(full, Operation::Update, ada(n19_90(), true, text("long")), after,
                                         wire::kAfterUnchanged)));
    EXPECT_EQ(message["data"][0]["note"], "long");
    EXPECT_EQ(message["old"].dump(), R"([{"amount":"19.90"}])");

    const RelationSchema keyed = orders('d');
    message = json::parse(render(keyed, TestRow(keyed, Operation::Update, {}, after, wire::kAfterUnchanged)));
    EXPECT_FALSE(message["data"][0].contains("note"));
    EXPECT_EQ(message["old"].dump(), "[{}]");

    // Left out of an oversize row on both sides.
    const Image before = ada(n19_90(), true, kUnchanged);
    message = json::parse(render(full, TestRow(full, Operation::Update, before, after, wire::kOversize)));
    EXPECT_FALSE(message["data"][0].contains("note"));
    EXPECT_FALSE(message["old"][0].contains("note"));
}

TEST(CanalJson, TellsNullFromUnchangedAndFromEmpty) {
    const RelationSchema relation = orders();
    json message =
        json::parse(render(relation, TestRow(relation, Operation::Update, ada(n17_50(), true, kNull),
                                             ada(n17_50(), true, text("")))));
    EXPECT_EQ(message["old"].dump(), R"([{"note":null}])");
    EXPECT_EQ(message["data"][0]["note"], "");
    message = json::parse(render(relation, TestRow(relation, Operation::Update, ada(n17_50(), true, text("")),
                                                   ada(n17_50(), true, kNull))));
    EXPECT_EQ(message["old"].dump(), R"([{"note":""}])");
    EXPECT_TRUE(message["data"][0]["note"].is_null());
    message = json::parse(render(relation, TestRow(relation, Operation::Update, ada(n17_50(), true, kNull),
                                                   ada(n17_50(), true, kNull))));
    EXPECT_EQ(message["old"].dump(), "[{}]");
}

TEST(CanalJson, PkNamesIsNullWithoutAKey) {
    const RelationSchema relation = make_relation("public", "t", {{"a", 23, "integer", ValueClass::Int4}});
    const TestRow row(relation, Operation::Insert, {}, {number(int32_t(1))});
    EXPECT_TRUE(json::parse(render(relation, row))["pkNames"].is_null());
    EXPECT_EQ(render_key(relation, row), "nothing");
}

TEST(CanalJson, RendersATableWithoutColumns) {
    const RelationSchema relation = make_relation("public", "none", {});
    const json message =
        json::parse(render(relation, TestRow(relation, Operation::Insert, {}, {}, wire::kAfter)));
    EXPECT_EQ(message["data"].dump(), "[{}]");
    EXPECT_EQ(message["sqlType"].dump(), "{}");
}

TEST(CanalJson, WritesTruncateInThreeWays) {
    const RelationSchema relation =
        make_relation("a\"b", "t\\", {{"id", 23, "integer", ValueClass::Int4, 1}});
    const TestRow plain(relation, Operation::Truncate, {}, {});
    const TestRow words(relation, Operation::Truncate, {}, {}, wire::kCascade | wire::kRestartIdentity);
    EXPECT_EQ(
        render(relation, plain),
        R"({"id":1001,"database":"a\"b","table":"t\\","pkNames":null,"isDdl":true,"type":"TRUNCATE",)"
        R"("es":1767323045123,"ts":1767323045180,"sql":"TRUNCATE TABLE \"a\"\"b\".\"t\\\"","sqlType":null,)"
        R"("mysqlType":null,"data":null,"old":null,"gtid":""})");
    EXPECT_EQ(json::parse(render(relation, words))["sql"],
              R"(TRUNCATE TABLE "a""b"."t\" RESTART IDENTITY CASCADE)");
    CanalConfig config;
    config.truncate = CanalTruncate::dts;
    EXPECT_EQ(render(relation, plain, config),
              R"({"id":1001,"database":"a\"b","table":"t\\","isDdl":true,"type":"DDL","es":1767323045123,)"
              R"("ts":1767323045180,"sql":"TRUNCATE TABLE \"a\"\"b\".\"t\\\""})");
    config.truncate = CanalTruncate::skip;
    EXPECT_EQ(render(relation, plain, config), "nothing");
    EXPECT_EQ(render_key(relation, plain), "nothing");
}

TEST(CanalJson, DatabaseIsTheSchemaOrTheDatabase) {
    const RelationSchema relation = orders();
    const TestRow row(relation, Operation::Insert, {}, ada(n19_90(), true));
    CanalConfig config;
    EXPECT_EQ(json::parse(render(relation, row, config))["database"], "shop");
    config.database = CanalDatabase::database;
    EXPECT_EQ(json::parse(render(relation, row, config))["database"], "shopdb");
}

TEST(CanalJson, FollowsTheTextOptions) {
    const RelationSchema relation =
        make_relation("public", "t",
                      {{"flag", 16, "boolean", ValueClass::Bool},
                       {"bytes", 17, "bytea", ValueClass::Bytea},
                       {"local", 1114, "timestamp without time zone", ValueClass::Timestamp},
                       {"instant", 1184, "timestamp with time zone", ValueClass::TimestampTz}});
    const TestValue time = number(int64_t(820'724'645'000'000));
    const TestRow row(relation, Operation::Insert, {}, {number(uint8_t(1)), hex("00ff22"), time, time});
    auto data = [&](const CanalConfig& config) {
        return json::parse(render(relation, row, config))["data"][0].dump();
    };
    CanalConfig config;
    EXPECT_EQ(
        data(config),
        R"({"bytes":"AP8i","flag":"true","instant":"2026-01-03 03:04:05Z","local":"2026-01-03 03:04:05"})");
    config.boolean = CanalBoolean::digits;
    config.bytea = CanalBytea::hex;
    config.timestamp = CanalTimestamp::iso;
    EXPECT_EQ(
        data(config),
        R"({"bytes":"\\x00ff22","flag":"1","instant":"2026-01-03T03:04:05Z","local":"2026-01-03T03:04:05"})");
    config = letters();
    config.bytea = CanalBytea::latin1;
    config.timestamptz = CanalTimestampTz::offset;
    EXPECT_EQ(
        data(config),
        R"({"bytes":"\u0000ÿ\"","flag":"t","instant":"2026-01-03 03:04:05+00","local":"2026-01-03 03:04:05"})");
}

TEST(CanalJson, Latin1KeepsEveryByteOfALongValue) {
    const RelationSchema relation = make_relation("public", "t", {{"b", 17, "bytea", ValueClass::Bytea}});
    std::string bytes, expected;
    for (int i = 0; i < 5000; i++) {
        const auto c = static_cast<unsigned char>(i * 7);
        bytes += static_cast<char>(c);
        if (c >= 0x80) expected += static_cast<char>(0xC0 | c >> 6);
        expected += static_cast<char>(c >= 0x80 ? 0x80 | (c & 0x3F) : c);
    }
    CanalConfig config;
    config.bytea = CanalBytea::latin1;
    const json message =
        json::parse(render(relation, TestRow(relation, Operation::Insert, {}, {text(bytes)}), config));
    EXPECT_EQ(message["data"][0]["b"].get<std::string>(), expected);
}

TEST(CanalJson, NamesTypes) {
    using Expected = std::vector<std::pair<TestColumn, std::pair<int, const char*>>>;
    const Expected expected = {
        {{"a", 1043, "character varying", ValueClass::String, 0, 44}, {12, "varchar(40)"}},
        {{"b", 1042, "character", ValueClass::String, 0, 7}, {1, "char(3)"}},
        {{"c", 1700, "numeric", ValueClass::Numeric, 0, (12 << 16 | 2) + 4}, {3, "numeric(12,2)"}},
        {{"d", 1700, "numeric", ValueClass::Numeric, 0, (3 << 16 | (-2 & 0x7ff)) + 4}, {3, "numeric(3,-2)"}},
        {{"e", 1700, "numeric", ValueClass::Numeric}, {3, "numeric"}},
        {{"f", 1114, "timestamp without time zone", ValueClass::Timestamp, 0, 3}, {93, "timestamp(3)"}},
        {{"g", 1184, "timestamp with time zone", ValueClass::TimestampTz}, {93, "timestamptz"}},
        {{"h", 1560, "bit", ValueClass::Output, 0, 8}, {-7, "bit(8)"}},
        {{"i", 1562, "bit varying", ValueClass::Output, 0, 9}, {1111, "varbit(9)"}},
        {{"j", 1015, "character varying[]", ValueClass::Output, 0, 44}, {2003, "varchar(40)[]"}},
        {{"k", 70001, "public.mood[]", ValueClass::Output}, {2003, "public.mood[]"}},
        {{"l", 70002, "public.mood", ValueClass::Output, 0, -1, {"ok"}}, {12, "public.mood"}},
        {{"m", 70003, "public.amount", ValueClass::Numeric, 0, -1, {}, 1700}, {3, "numeric"}},
        {{"n", 3802, "jsonb", ValueClass::String}, {12, "jsonb"}},
        {{"o", 2950, "uuid", ValueClass::Uuid}, {1111, "uuid"}},
        {{"p", 70004, "public.citext", ValueClass::String}, {12, "public.citext"}},
        {{"q", 600, "point", ValueClass::Output}, {1111, "point"}},
        {{"r", 1186, "interval", ValueClass::Interval, 0, 0x7FFF << 16 | 3}, {1111, "interval(3)"}},
        {{"s", 1186, "interval", ValueClass::Interval, 0, 0x7FFF << 16 | 0xFFFF}, {1111, "interval"}},
        {{"interval_fields", 1186, "interval", ValueClass::Interval, 0, 0x1C08 << 16 | 2},
         {1111, "interval day to second(2)"}},
        {{"interval_years", 1186, "interval", ValueClass::Interval, 0, 0x0006 << 16 | 0xFFFF},
         {1111, "interval year to month"}},
        {{"any_length", 1042, "character", ValueClass::String}, {1, "bpchar"}},
        {{"any_length_array", 1014, "character[]", ValueClass::Output}, {2003, "bpchar[]"}},
        {{"t", 18, "\"char\"", ValueClass::Char}, {1, "\"char\""}},
        {{"u", 701, "double precision", ValueClass::Float8}, {8, "double precision"}},
    };
    std::vector<TestColumn> columns;
    for (const auto& [column, names] : expected) columns.push_back(column);
    const RelationSchema relation = make_relation("public", "t", columns);
    CanalConfig config;
    config.type_parameters = true;
    const json message = json::parse(
        render(relation, TestRow(relation, Operation::Insert, {}, Image(columns.size(), kNull)), config));
    for (const auto& [column, names] : expected) {
        EXPECT_EQ(message["sqlType"][column.name], names.first) << column.type_name;
        EXPECT_EQ(message["mysqlType"][column.name], names.second) << column.type_name;
    }
}

TEST(CanalJson, RendersEveryClassAsJson) {
    std::vector<TestColumn> columns;
    Image image;
    for (int c = 0; c <= int(ValueClass::MAX); c++) {
        const auto value_class = ValueClass(c);
        columns.push_back({wire::EnumNameValueClass(value_class), 1, "x", value_class});
        const uint32_t fixed = wire::fixed_size(value_class);
        image.push_back(value_class == ValueClass::Numeric ? n19_90()
                                                           : TestValue{std::string(fixed ? fixed : 5, '\0')});
    }
    const RelationSchema relation = make_relation("public", "t", columns);
    const json data =
        json::parse(render(relation, TestRow(relation, Operation::Insert, {}, image)))["data"][0];
    EXPECT_EQ(data.size(), columns.size());
    EXPECT_EQ(data["Date"], "2000-01-01");
    EXPECT_EQ(data["Interval"], "00:00:00");
    EXPECT_EQ(data["Char"], "");
    EXPECT_EQ(data["String"].get<std::string>(), std::string(5, '\0'));
}

TEST(CanalJson, EscapesHostileNamesAndValues) {
    const std::string nasty = "a\"\\\n\x01\xff\u20ac</script>";
    const std::string read = "a\"\\\n\x01\uFFFD\u20ac</script>";
    const RelationSchema relation = make_relation(
        nasty, nasty,
        {{nasty, 25, nasty, ValueClass::String, 1}, {std::string(500, '"'), 25, "text", ValueClass::Output}});
    const TestRow row(relation, Operation::Insert, {}, {text(nasty), text(nasty)});
    const json message = json::parse(render(relation, row));
    EXPECT_EQ(message["database"], read);
    EXPECT_EQ(message["table"], read);
    EXPECT_EQ(message["pkNames"][0], read);
    EXPECT_EQ(message["data"][0][read], read);
    EXPECT_EQ(message["data"][0][std::string(500, '"')], read);
    EXPECT_EQ(json::parse(render_key(relation, row))[read], read);
}

TEST(CanalJson, ReportsABadValueAndLeavesTheOutputAsItWas) {
    const RelationSchema relation = orders();
    const Image bad = ada(hex("0080ffff"), true);
    EXPECT_EQ(render(relation, TestRow(relation, Operation::Insert, {}, bad)),
              "error: the value is not a stored numeric");
    EXPECT_EQ(render(relation, TestRow(relation, Operation::Update, bad, ada(n17_50(), true))),
              "error: the value is not a stored numeric");
    EXPECT_EQ(render_key(relation, TestRow(relation, Operation::Insert, {}, bad), {"id", "amount"}),
              "error: the value is not a stored numeric");
    const CanalJson canal(CanalConfig{}, "");
    Output out;
    const RenderStatus status =
        canal.render(canal.prepare(relation), TestRow(relation, Operation::Insert, {}, bad).row(), kNow, out);
    EXPECT_EQ(status.column, 2);
    const Error error = bad_value_error(relation, status);
    EXPECT_EQ(error.code(), ErrorCode::record_value);
    EXPECT_NE(error.happened().find("\"amount\""), std::string::npos);
}

TEST(CanalJson, KeyIsTheKeyColumnsInKeyOrder) {
    const RelationSchema relation = make_relation("public", "t",
                                                  {{"b", 25, "text", ValueClass::String, 2},
                                                   {"c", 25, "text", ValueClass::String},
                                                   {"a", 23, "integer", ValueClass::Int4, 1}});
    const Image before = {text("old"), text("v"), number(int32_t(1))};
    const Image after = {text("n\"w"), text("v"), number(int32_t(2))};
    EXPECT_EQ(render_key(relation, TestRow(relation, Operation::Insert, {}, after)),
              R"({"a":"2","b":"n\"w"})");
    EXPECT_EQ(render_key(relation, TestRow(relation, Operation::Update, before, after)),
              R"({"a":"2","b":"n\"w"})");
    EXPECT_EQ(render_key(relation, TestRow(relation, Operation::Delete, before, {})),
              R"({"a":"1","b":"old"})");
    EXPECT_EQ(render_key(relation, TestRow(relation, Operation::Insert, {}, after), {"c", "a"}),
              R"({"c":"v","a":"2"})");
    // An unchanged TOAST value of the key comes from the before image.
    EXPECT_EQ(render_key(relation, TestRow(relation, Operation::Update, before,
                                           {kUnchanged, text("v"), number(int32_t(2))})),
              R"({"a":"2","b":"old"})");
}

TEST(CanalJson, ThereIsNoKeyWhereTheImageLacksAKeyColumn) {
    const RelationSchema relation = orders('d');
    Image before(5, kAbsent);
    before[0] = number(int64_t(42));
    const TestRow row(relation, Operation::Delete, before, {}, wire::kBeforeKeyOnly);
    EXPECT_EQ(render_key(relation, row), R"({"id":"42"})");
    EXPECT_EQ(render_key(relation, row, {"id", "customer"}), "nothing");
    EXPECT_EQ(render_key(relation, TestRow(relation, Operation::Delete, {}, {})), "nothing");
}

TEST(CanalJson, AChosenNullIsNullInTheKey) {
    const RelationSchema relation = orders();
    EXPECT_EQ(render_key(relation, TestRow(relation, Operation::Insert, {}, ada(n17_50(), true)), {"note"}),
              R"({"note":null})");
}

TEST(CanalJson, RefusesAKeyColumnThatTheTableLacks) {
    const CanalJson canal(CanalConfig{}, "");
    try {
        static_cast<void>(canal.prepare(orders(), {"id", "customer_id"}));
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::record_key_column);
        EXPECT_NE(error.happened().find("shop.orders"), std::string::npos);
        EXPECT_NE(error.happened().find("customer_id"), std::string::npos);
    }
}

TEST(CanalJson, KeepsAnOldSchemaWorking) {
    // A prepared relation borrows nothing: the schema it was made from may be gone.
    const CanalJson canal(letters(), "shopdb");
    PreparedRelation prepared;
    {
        const RelationSchema gone = orders();
        prepared = canal.prepare(gone);
    }
    const RelationSchema relation = orders();
    Output out;
    const TestRow row(relation, Operation::Insert, {}, ada(n19_90(), false));
    EXPECT_EQ(canal.render(prepared, row.row(), kNow, out).outcome, Rendered::message);
    EXPECT_EQ(json::parse(out.view())["data"][0]["customer"], "Ada");
}

}  // namespace
}  // namespace walferry
