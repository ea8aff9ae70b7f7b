#include "common/match/pattern.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace walferry {
namespace {

struct Parsed {
    PatternError error;
    TablePattern pattern;
    size_t offset = 0;
};

Parsed parse(std::string_view text) {
    Parsed parsed{};
    parsed.error = parse_pattern(text, parsed.pattern, parsed.offset);
    return parsed;
}

bool fits(std::string_view pattern, std::string_view schema, std::string_view table) {
    const Parsed parsed = parse(pattern);
    EXPECT_EQ(parsed.error, PatternError::none) << pattern << ": " << describe(parsed.error);
    return matches(parsed.pattern, schema, table);
}

bool picks(const std::vector<std::string>& texts, std::string_view schema, std::string_view table) {
    std::vector<TablePattern> patterns;
    for (const std::string& text : texts) patterns.push_back(parse(text).pattern);
    return selected(patterns.data(), patterns.size(), schema, table);
}

TEST(Pattern, PlainNamesMatchThemselvesOnly) {
    EXPECT_TRUE(fits("public.orders", "public", "orders"));
    EXPECT_FALSE(fits("public.orders", "public", "orders2"));
    EXPECT_FALSE(fits("public.orders", "public", "order"));
    EXPECT_FALSE(fits("public.orders", "publi", "orders"));
    EXPECT_FALSE(fits("public.orders", "", ""));
}

TEST(Pattern, CaseMatters) {
    EXPECT_FALSE(fits("public.Orders", "public", "orders"));
    EXPECT_TRUE(fits("public.Orders", "public", "Orders"));
}

TEST(Pattern, StarMatchesAnyRun) {
    EXPECT_TRUE(fits("public.*", "public", "x"));
    EXPECT_TRUE(fits("*.*", "a b", "c.d"));
    EXPECT_TRUE(fits("public.a*z", "public", "az"));
    EXPECT_TRUE(fits("public.a*z", "public", "a-z-z"));
    EXPECT_FALSE(fits("public.a*z", "public", "a-z-y"));
    EXPECT_TRUE(fits("public.*_2024_*", "public", "sales_2023_2024_q1"));
    EXPECT_TRUE(fits("public.**", "public", "x"));
    EXPECT_TRUE(fits("public.*abab", "public", "abaabab"));
}

TEST(Pattern, QuestionMarkMatchesOneCharacterNotOneByte) {
    EXPECT_TRUE(fits("public.t?", "public", "t1"));
    EXPECT_FALSE(fits("public.t?", "public", "t"));
    EXPECT_FALSE(fits("public.t?", "public", "t12"));
    EXPECT_TRUE(fits("public.t?", "public", "t\xC3\xA9"));
    EXPECT_FALSE(fits("public.t??", "public", "t\xC3\xA9"));
    EXPECT_TRUE(fits("public.?", "public", "\xF0\x9F\x9A\xA2"));
    EXPECT_FALSE(fits("public.*??", "public", "\xC3\xA9"));
}

TEST(Pattern, BytesThatAreNoUtf8CountOneEach) {
    EXPECT_TRUE(fits("public.?", "public", "\xE9"));
    EXPECT_TRUE(fits("public.??", "public", "\xE9t"));
    EXPECT_TRUE(fits("public.???", "public", "\xF0\x9F\x9A"));
}

TEST(Pattern, QuotesTakeTextAsItStands) {
    EXPECT_TRUE(fits(R"(public."my table")", "public", "my table"));
    EXPECT_TRUE(fits(R"("a.b"."c.d")", "a.b", "c.d"));
    EXPECT_TRUE(fits(R"(public."a*b")", "public", "a*b"));
    EXPECT_FALSE(fits(R"(public."a*b")", "public", "axb"));
    EXPECT_TRUE(fits(R"(public."say ""hi""")", "public", R"(say "hi")"));
    EXPECT_TRUE(fits(R"(public."a\b")", "public", R"(a\b)"));
    EXPECT_TRUE(fits(R"(public."log."*)", "public", "log.2024"));
    EXPECT_FALSE(fits(R"(public."log."*)", "public", "log2024"));
}

TEST(Pattern, BackslashTakesOneCharacterAsItStands) {
    EXPECT_TRUE(fits(R"(public.a\*b)", "public", "a*b"));
    EXPECT_FALSE(fits(R"(public.a\*b)", "public", "axb"));
    EXPECT_TRUE(fits(R"(public.a\.b)", "public", "a.b"));
    EXPECT_TRUE(fits(R"(public.a\ b)", "public", "a b"));
    EXPECT_TRUE(fits(R"(\!s.t)", "!s", "t"));
}

TEST(Pattern, ErrorsNameTheirPlace) {
    struct Case {
        std::string_view text;
        PatternError error;
        size_t offset;
    };
    using namespace std::string_view_literals;
    const Case cases[] = {
        {"", PatternError::empty, 0},
        {"!", PatternError::empty, 0},
        {"orders", PatternError::no_dot, 6},
        {"*", PatternError::no_dot, 1},
        {R"("a.b")", PatternError::no_dot, 5},
        {"db.public.orders", PatternError::too_many_dots, 9},
        {".orders", PatternError::empty_schema, 0},
        {"!.orders", PatternError::empty_schema, 1},
        {R"("".orders)", PatternError::empty_schema, 2},
        {"public.", PatternError::empty_table, 7},
        {R"(public."")", PatternError::empty_table, 9},
        {R"(public."orders)", PatternError::open_quote, 7},
        {R"(public.orders\)", PatternError::trailing_backslash, 13},
        {"public.my table", PatternError::bare_space, 9},
        {" public.orders", PatternError::bare_space, 0},
        {"public.orders\n", PatternError::bare_space, 13},
        {"public.a\0b"sv, PatternError::null_byte, 8},
        {"public.\"a\0b\""sv, PatternError::null_byte, 9},
        {"public.\\\0"sv, PatternError::null_byte, 7},
    };
    for (const Case& c : cases) {
        const Parsed parsed = parse(c.text);
        EXPECT_EQ(parsed.error, c.error) << c.text << ": " << describe(parsed.error);
        EXPECT_EQ(parsed.offset, c.offset) << c.text;
        EXPECT_STRNE(describe(parsed.error), "unknown error");
    }
}

TEST(Pattern, AFailedParseLeavesTheResultAlone) {
    Parsed parsed = parse("!a.b");
    EXPECT_NE(parse_pattern("broken", parsed.pattern, parsed.offset), PatternError::none);
    EXPECT_EQ(parsed.pattern.schema, "a");
    EXPECT_TRUE(parsed.pattern.negated);
}

TEST(PatternList, TheLastMatchDecides) {
    const std::vector<std::string> list = {"public.*", "!public.scratch_*", "public.scratch_keep"};
    EXPECT_TRUE(picks(list, "public", "orders"));
    EXPECT_FALSE(picks(list, "public", "scratch_1"));
    EXPECT_TRUE(picks(list, "public", "scratch_keep"));
    EXPECT_FALSE(picks(list, "other", "orders"));
}

TEST(PatternList, NothingButExceptionsTakesTheRest) {
    EXPECT_TRUE(picks({"!public.scratch_*"}, "public", "orders"));
    EXPECT_FALSE(picks({"!public.scratch_*"}, "public", "scratch_1"));
    EXPECT_TRUE(picks({}, "public", "orders"));
}

// Would take longer than the universe with plain recursion.
TEST(Pattern, HostilePatternsEndSoon) {
    std::string pattern = "public.";
    for (int i = 0; i < 200; i++) pattern += "*a";
    EXPECT_FALSE(fits(pattern + "b", "public", std::string(2000, 'a')));
    EXPECT_FALSE(fits("public." + std::string(5000, '*') + "b", "public", std::string(2000, 'a')));
}

}  // namespace
}  // namespace walferry
