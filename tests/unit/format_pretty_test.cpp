#include <gtest/gtest.h>

#include <string>

#include "format/pretty.h"
#include "tests/unit/format_row_builder.h"

namespace walferry {
namespace {

using namespace test;
using wire::Operation;
using wire::ValueClass;

std::string line(const TestRow& row, const PrettyOptions& options = {}) {
    Output out;
    const RenderStatus status = Pretty(options).render(row.row(), out);
    if (status.outcome != Rendered::message) {
        EXPECT_TRUE(out.empty());
        return std::string("error: ") + describe(status.error);
    }
    return std::string(out.view());
}

Image ada(const TestValue& amount, const TestValue& note = kNull) {
    return {number(int64_t(42)), text("Ada"), amount, number(uint8_t(1)), note};
}

TEST(Pretty, ShowsEachOperationOnOneLine) {
    const RelationSchema relation = orders();
    EXPECT_EQ(line(TestRow(relation, Operation::Insert, {}, ada(n19_90(), text("two words")))),
              "03:04:05.123 0/3E9 INSERT shop.orders  id=42  customer=Ada  amount=19.90  paid=t  note='two "
              "words'\n");
    EXPECT_EQ(line(TestRow(relation, Operation::Update, ada(n19_90()), ada(n17_50(), text("")))),
              "03:04:05.123 0/3E9 UPDATE shop.orders  id=42  amount: 19.90 → 17.50  note: NULL → ''\n");
    EXPECT_EQ(
        line(TestRow(relation, Operation::Delete, {number(int64_t(42)), kAbsent, kAbsent, kAbsent, kAbsent},
                     {}, wire::kBeforeKeyOnly)),
        "03:04:05.123 0/3E9 DELETE shop.orders  id=42\n");
    EXPECT_EQ(line(TestRow(relation, Operation::Truncate, {}, {}, wire::kRestartIdentity | wire::kCascade)),
              "03:04:05.123 0/3E9 TRUNCATE shop.orders RESTART IDENTITY CASCADE\n");
}

TEST(Pretty, ShowsWhatIsKnownOfAnUpdateWithoutABeforeImage) {
    const RelationSchema relation = orders('d');
    EXPECT_EQ(line(TestRow(relation, Operation::Update, {}, ada(n17_50(), kUnchanged))),
              "03:04:05.123 0/3E9 UPDATE shop.orders  id=42  customer=Ada  amount=17.50  paid=t  "
              "note=(unchanged)\n");
}

TEST(Pretty, ShortensLongValuesAtACharacter) {
    const RelationSchema relation = make_relation("public", "t", {{"v", 25, "text", ValueClass::String}});
    PrettyOptions options;
    options.longest_value = 3;
    auto shown = [&](std::string_view value) {
        const std::string text_line = line(TestRow(relation, Operation::Insert, {}, {text(value)}), options);
        return text_line.substr(text_line.find("v=") + 2);
    };
    EXPECT_EQ(shown("abc"), "abc\n");
    EXPECT_EQ(shown("abcd"), "abc…\n");
    EXPECT_EQ(shown("数据库变"), "数据库…\n");
    EXPECT_EQ(shown("\U0001F600\U0001F600\U0001F600\U0001F600\U0001F600"),
              "\U0001F600\U0001F600\U0001F600…\n");
    EXPECT_EQ(shown(std::string(1000000, 'x')), "xxx…\n");
}

TEST(Pretty, LetsNoValueDriveTheTerminal) {
    const RelationSchema relation =
        make_relation("public", "t\x1b[2J",
                      {{"v\r", 25, "text", ValueClass::String}, {"c", 18, "\"char\"", ValueClass::Char}});
    const std::string shown =
        line(TestRow(relation, Operation::Insert, {},
                     {text("\x1b]0;x\x07\n\x7f\u009b31m\u202e\u2028\xff\x9b"), hex("1b")}));
    EXPECT_EQ(shown,
              "03:04:05.123 0/3E9 INSERT public.t\\x1b[2J  "
              "v\\r=\\x1b]0;x\\x07\\n\\x7f\\x9b31m\\u202e\\u2028\uFFFD\uFFFD"
              "  c=\\x1b\n");
}

TEST(Pretty, ColoursOnlyWhenAsked) {
    const RelationSchema relation = orders();
    const TestRow row(relation, Operation::Insert, {}, ada(n19_90()));
    EXPECT_EQ(line(row).find('\x1b'), std::string::npos);
    PrettyOptions options;
    options.colour = true;
    EXPECT_NE(line(row, options).find("\x1b[32mINSERT\x1b[0m"), std::string::npos);
}

TEST(Pretty, ShowsTheClockOfTheOffset) {
    const RelationSchema relation = orders();
    const TestRow row(relation, Operation::Truncate, {}, {});
    PrettyOptions options;
    options.utc_offset_seconds = -4 * 3600;
    EXPECT_EQ(line(row, options).substr(0, 12), "23:04:05.123");
    options.utc_offset_seconds = 19800;
    EXPECT_EQ(line(row, options).substr(0, 12), "08:34:05.123");
}

TEST(Pretty, ReportsABadValue) {
    const RelationSchema relation = orders();
    EXPECT_EQ(line(TestRow(relation, Operation::Insert, {}, ada(hex("00")))),
              "error: the value is not a stored numeric");
}

}  // namespace
}  // namespace walferry
