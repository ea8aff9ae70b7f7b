#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "format/numeric_text.h"
#include "format/value_text.h"
#include "tests/unit/format_row_builder.h"
#include "tests/unit/format_value_pairs.h"

namespace walferry {
namespace {

using test::hex;
using test::number;
using test::TestValue;
using wire::ValueClass;

// The text, or "error: ..." as describe() gives it. The value lies in memory of exactly its size.
std::string text_of(ValueClass value_class, const TestValue& value, const TextOptions& options = {}) {
    const std::vector<uint8_t> bytes(value.bytes.begin(), value.bytes.end());
    Output out;
    const ValueError error =
        append_text(value_class, {bytes.data(), static_cast<uint32_t>(bytes.size()), wire::ValueState::value},
                    options, out);
    if (error == ValueError::none) return std::string(out.view());
    EXPECT_TRUE(out.empty());
    return std::string("error: ") + describe(error);
}

TEST(ValueText, IsThatOfTheServer) {
    for (const test::ValuePair& pair : test::kValuePairs) {
        EXPECT_EQ(text_of(pair.value_class, hex(pair.bytes)), pair.text)
            << wire::EnumNameValueClass(pair.value_class) << " " << pair.bytes;
    }
}

TEST(ValueText, EveryClassHasAPair) {
    for (int c = int(ValueClass::Bool); c <= int(ValueClass::MAX); c++) {
        bool found = false;
        for (const test::ValuePair& pair : test::kValuePairs) found |= pair.value_class == ValueClass(c);
        EXPECT_TRUE(found) << wire::EnumNameValueClass(ValueClass(c));
    }
}

TEST(ValueText, FollowsTheOptions) {
    TextOptions options{.boolean = BoolText::word,
                        .bytea = ByteaText::base64,
                        .timestamp = TimestampText::iso,
                        .timestamptz = TimestampTzText::z};
    const TestValue instant = number(int64_t(820'724'645'123'456));
    EXPECT_EQ(text_of(ValueClass::Bool, number(uint8_t(1)), options), "true");
    EXPECT_EQ(text_of(ValueClass::Bool, number(uint8_t(0)), options), "false");
    EXPECT_EQ(text_of(ValueClass::Timestamp, instant, options), "2026-01-03T03:04:05.123456");
    EXPECT_EQ(text_of(ValueClass::TimestampTz, instant, options), "2026-01-03T03:04:05.123456Z");
    EXPECT_EQ(text_of(ValueClass::TimestampTz, number(std::numeric_limits<int64_t>::max()), options),
              "infinity");
    const std::pair<const char*, const char*> base64[] = {
        {"", ""},           {"66", "Zg=="},           {"666f", "Zm8="},
        {"666f6f", "Zm9v"}, {"666f6f62", "Zm9vYg=="}, {"fbff", "+/8="}};
    for (auto [bytes, expected] : base64)
        EXPECT_EQ(text_of(ValueClass::Bytea, hex(bytes), options), expected);

    options.boolean = BoolText::digit;
    options.bytea = ByteaText::latin1;
    options.timestamp = TimestampText::sql;
    EXPECT_EQ(text_of(ValueClass::Bool, number(uint8_t(1)), options), "1");
    EXPECT_EQ(text_of(ValueClass::Bool, number(uint8_t(0)), options), "0");
    EXPECT_EQ(text_of(ValueClass::TimestampTz, instant, options), "2026-01-03 03:04:05.123456Z");
    EXPECT_EQ(text_of(ValueClass::Bytea, hex("41e4ff7f80"), options), "A\u00e4\u00ff\u007f\u0080");
}

TEST(ValueText, WritesHighBytesOfCharInOctal) {
    EXPECT_EQ(text_of(ValueClass::Char, hex("ff")), "\\377");
    EXPECT_EQ(text_of(ValueClass::Char, hex("80")), "\\200");
    EXPECT_EQ(text_of(ValueClass::Char, hex("00")), "");
}

TEST(ValueText, KnowsInfiniteIntervals) {
    EXPECT_EQ(text_of(ValueClass::Interval, hex("ffffffffffffff7fffffff7fffffff7f")), "infinity");
    EXPECT_EQ(text_of(ValueClass::Interval, hex("00000000000000800000008000000080")), "-infinity");
}

TEST(ValueText, BeforePostgres17TheEndsOfAnIntervalAreFinite) {
    TextOptions options;
    options.infinite_intervals = has_infinite_intervals(160'010);
    EXPECT_EQ(text_of(ValueClass::Interval, hex("ffffffffffffff7fffffff7fffffff7f"), options),
              "178956970 years 7 mons 2147483647 days 2562047788:00:54.775807");
    EXPECT_EQ(text_of(ValueClass::Interval, hex("00000000000000800000008000000080"), options),
              "-178956970 years -8 mons -2147483648 days -2562047788:00:54.775808");
    EXPECT_TRUE(has_infinite_intervals(170'000));
    EXPECT_TRUE(has_infinite_intervals(0));
}

TEST(ValueText, RefusesTimesThatAreNone) {
    EXPECT_EQ(text_of(ValueClass::Time, number(int64_t(-1))), "error: the value is not a time of day");
    EXPECT_EQ(text_of(ValueClass::Time, number(int64_t(86'400'000'001))),
              "error: the value is not a time of day");
    EXPECT_EQ(text_of(ValueClass::Time, number(std::numeric_limits<int64_t>::min())),
              "error: the value is not a time of day");
    const std::string midnight(8, '\0');
    EXPECT_EQ(text_of(ValueClass::TimeTz, {midnight + number(int32_t(57600)).bytes}),
              "error: the value's time zone is beyond 16 hours");
    EXPECT_EQ(text_of(ValueClass::TimeTz, {midnight + number(std::numeric_limits<int32_t>::min()).bytes}),
              "error: the value's time zone is beyond 16 hours");
    EXPECT_EQ(text_of(ValueClass::TimeTz, {std::string(8, '\xff') + number(int32_t(0)).bytes}),
              "error: the value is not a time of day");
}

TEST(ValueText, WritesAnyDateAndTimestamp) {
    // Beyond what the server accepts; what counts is that nothing breaks.
    EXPECT_EQ(text_of(ValueClass::Date, number(int32_t(2147483646))), "5881610-07-10");
    EXPECT_EQ(text_of(ValueClass::Date, number(int32_t(-2147483647))), "5877612-06-23 BC");
    EXPECT_EQ(text_of(ValueClass::Timestamp, number(std::numeric_limits<int64_t>::max() - 1)),
              "294277-01-09 04:00:54.775806");
    EXPECT_EQ(text_of(ValueClass::Timestamp, number(std::numeric_limits<int64_t>::min() + 1)),
              "290279-12-22 19:59:05.224193 BC");
}

TEST(NumericText, RefusesWhatIsNoStoredNumeric) {
    const std::string error = "error: the value is not a stored numeric";
    EXPECT_EQ(text_of(ValueClass::Numeric, hex("")), error);
    EXPECT_EQ(text_of(ValueClass::Numeric, hex("00")), error);
    EXPECT_EQ(text_of(ValueClass::Numeric, hex("0080ff")), error);    // odd
    EXPECT_EQ(text_of(ValueClass::Numeric, hex("0000")), error);      // long form without weight
    EXPECT_EQ(text_of(ValueClass::Numeric, hex("00801027")), error);  // a word of 10000
    EXPECT_EQ(text_of(ValueClass::Numeric, hex("0080ffff")), error);
    EXPECT_EQ(text_of(ValueClass::Numeric, hex("00e0")), error);  // no such special value
    EXPECT_EQ(text_of(ValueClass::Numeric, {std::string(200000, '\0')}), error);
}

TEST(NumericText, IsBoundedWhateverTheHeaderSays) {
    // Long form, largest scale and weight, one word.
    std::string largest = text_of(ValueClass::Numeric, hex("ff3fff7f0100"));
    EXPECT_EQ(largest.size(), 1u + 32767 * 4 + 1 + 16383);
    std::string smallest = text_of(ValueClass::Numeric, hex("ff7f00800100"));
    EXPECT_EQ(smallest, "-0." + std::string(16383, '0'));
    EXPECT_EQ(text_of(ValueClass::Numeric, hex("0000ff7f")).size(), 1u + 32767 * 4);
    // More words than the scale shows: cut, as the server does.
    EXPECT_EQ(text_of(ValueClass::Numeric, hex("808001000200")), "1.0");
}

TEST(FloatText, ReadsBackAsTheSameNumber) {
    uint64_t state = 88172645463325252u;
    for (int i = 0; i < 200000; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        double v;
        std::memcpy(&v, &state, sizeof v);
        if (!std::isfinite(v)) continue;
        char text[kMaxFloatText + 1] = {};
        char* end = write_float8(text, v);
        ASSERT_LE(end - text, kMaxFloatText);
        *end = 0;
        ASSERT_EQ(std::strtod(text, nullptr), v) << text;
        float f;
        auto low = static_cast<uint32_t>(state);
        std::memcpy(&f, &low, sizeof f);
        if (!std::isfinite(f)) continue;
        end = write_float4(text, f);
        *end = 0;
        ASSERT_EQ(std::strtof(text, nullptr), f) << text;
    }
}

}  // namespace
}  // namespace walferry
