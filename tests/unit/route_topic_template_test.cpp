#include "route/topic_template.h"

#include <map>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>

#include "error/error.h"

namespace walferry {
namespace {

std::string expand(std::string_view text, std::string_view schema, std::string_view table) {
    return TopicTemplate(text).expand({.db = "shop", .schema = schema, .table = table, .name = "task"});
}

template <typename Function>
ErrorCode code_of(Function&& function) {
    try {
        function();
    } catch (const Error& error) {
        EXPECT_FALSE(error.why().empty());
        EXPECT_FALSE(error.remedy().empty());
        return error.code();
    }
    ADD_FAILURE() << "no error";
    return ErrorCode::usage;
}

TEST(TopicTemplate, ExpandsEveryPlaceholder) {
    EXPECT_EQ(expand("{name}.{db}.{schema}.{table}.v1", "public", "orders"), "task.shop.public.orders.v1");
    EXPECT_EQ(expand("everything", "public", "orders"), "everything");
    EXPECT_EQ(expand("{table}", "public", "line_items"), "line_items");
}

TEST(TopicTemplate, EscapesWhatKafkaRefuses) {
    EXPECT_EQ(expand("{table}", "s", "orders 2"), "orders_x20_2");
    EXPECT_EQ(expand("{table}", "s", "caf\xC3\xA9"), "caf_xC3__xA9_");
    EXPECT_EQ(expand("{table}", "s", "a$b"), "a_x24_b");
    EXPECT_EQ(expand("{table}", "s", "a.b-c"), "a.b-c");
}

TEST(TopicTemplate, EscapesAnUnderscoreThatWouldReadAsAnEscape) {
    EXPECT_EQ(expand("{table}", "s", "orders_x20_2"), "orders_x5F_x20_2");
    EXPECT_EQ(expand("{table}", "s", "a_xAB!"), "a_x5F_xAB_x21_");
    EXPECT_EQ(expand("{table}", "s", "a_x2g"), "a_x2g");
    EXPECT_EQ(expand("{table}", "s", "a_xab_"), "a_xab_");
}

TEST(TopicTemplate, KeepsSchemaAndTableApart) {
    EXPECT_EQ(expand("{schema}.{table}", "a.b", "c"), "a_x2E_b.c");
    EXPECT_EQ(expand("{schema}.{table}", "a", "b.c"), "a.b_x2E_c");
    EXPECT_EQ(expand("{schema}-{table}", "a.b", "c-d"), "a.b-c_x2D_d");
    EXPECT_TRUE(TopicTemplate("{schema}.{table}").distinguishes_tables());
    EXPECT_TRUE(TopicTemplate("x_{schema}_-_{table}").distinguishes_tables());
    EXPECT_FALSE(TopicTemplate("{schema}_{table}").distinguishes_tables());
    EXPECT_FALSE(TopicTemplate("{schema}{table}").distinguishes_tables());
    EXPECT_FALSE(TopicTemplate("{table}").distinguishes_tables());
    EXPECT_FALSE(TopicTemplate("{schema}").distinguishes_tables());
}

TEST(TopicTemplate, NeverGivesTwoTablesOneTopic) {
    std::mt19937 random(7);
    const auto word = [&](size_t most) {
        // Few letters, all of them troublesome, so that a collision would come up soon.
        constexpr std::string_view kAlphabet("_x2EA.-!5F\xC3", 11);
        std::string text;
        for (size_t length = 1 + random() % most; length > 0; --length)
            text += kAlphabet[random() % kAlphabet.size()];
        return text;
    };
    const std::string filler(226, 'f');  // so that longer words do not fit with escapes
    const std::pair<std::string, size_t> templates[] = {{"{schema}.{table}", 6},
                                                        {"{schema}-{table}", 6},
                                                        {"p_{schema}_._{table}_x2E_", 6},
                                                        {filler + "{schema}.{table}", 3}};
    for (const auto& [text, most] : templates) {
        const TopicTemplate topics(text);
        std::map<std::string, std::pair<std::string, std::string>> seen;
        for (int i = 0; i < 100000; ++i) {
            const std::pair<std::string, std::string> table{word(most), word(most)};
            const std::string topic =
                topics.expand({.db = "", .schema = table.first, .table = table.second, .name = ""});
            const auto [at, fresh] = seen.emplace(topic, table);
            ASSERT_TRUE(fresh || at->second == table) << topic;
        }
    }
}

TEST(TopicTemplate, WritesLongNamesInBase32) {
    const std::string name(63, '\xF0');  // the longest there is in PostgreSQL, nothing in it that Kafka takes
    const std::string compact =
        "_xB32_6dypb4hq6dypb4hq6dypb4hq6dypb4hq6dypb4hq6dypb4hq6dypb4hq6dypb4hq6dypb4hq6dypb4hq6dypb4hq"
        "6dypb4hq6dypa";
    EXPECT_EQ(expand("{schema}.{table}", name, name), compact + "." + compact);
    EXPECT_EQ(expand("{schema}.{table}", "public", name), "public." + compact);
    // A value that is shorter with escapes keeps them.
    EXPECT_EQ(expand("{schema}.{table}", "my schema", name), "my_x20_schema." + compact);
}

TEST(TopicTemplate, WritesInBase32OnlyWhatWouldBeTooLong) {
    // Texts of every length modulo five, with what RFC 4648 gives.
    const std::pair<std::string, std::string> texts[] = {
        {"\xFA\xF9\xF8", "7l47q"},
        {"\xFA\xF9\xF8\xF7", "7l47r5y"},
        {"\xFA\xF9\xF8\xF7\xF6", "7l47r57w"},
        {"\xFA\xF9\xF8\xF7\xF6\xF5", "7l47r57w6u"},
        {"\xFA\xF9\xF8\xF7\xF6\xF5\xF4", "7l47r57w6x2a"},
    };
    for (const auto& [text, base32] : texts) {
        const size_t escaped = 5 * text.size();
        const std::string fits(249 - 1 - escaped, 'a');
        EXPECT_EQ(expand("{schema}.{table}", fits, text).size(), 249U);
        EXPECT_EQ(expand("{schema}.{table}", fits, text).find("_xB32_"), std::string::npos);
        EXPECT_EQ(expand("{schema}.{table}", fits + "a", text), fits + "a._xB32_" + base32);
    }
    // A name that looks like it is told apart.
    EXPECT_EQ(expand("{table}", "s", "_xB32_7l47q"), "_x5F_xB32_7l47q");
}

TEST(TopicTemplate, RefusesABrokenTemplate) {
    for (const char* text :
         {"", "{schema}.{tabel}", "{schema", "{}", "a b", "topic/{table}", "}", "{{table}}"})
        EXPECT_EQ(code_of([&] { TopicTemplate{text}; }), ErrorCode::topic_template) << text;
}

TEST(TopicTemplate, RefusesANameThatKafkaCannotHave) {
    const TopicTemplate table("{table}");
    const auto code = [&](const std::string& name) {
        return code_of([&] { table.expand({.db = "d", .schema = "s", .table = name, .name = "n"}); });
    };
    EXPECT_EQ(code("."), ErrorCode::topic_name);
    EXPECT_EQ(code(".."), ErrorCode::topic_name);
    EXPECT_EQ(code(""), ErrorCode::topic_name);
    EXPECT_EQ(code(std::string(250, 'a')), ErrorCode::topic_name);
    EXPECT_EQ(code(std::string(152, '!')), ErrorCode::topic_name);
    EXPECT_EQ(table.expand({.db = "d", .schema = "s", .table = std::string(249, 'a'), .name = "n"}).size(),
              249U);
    EXPECT_EQ(table.expand({.db = "d", .schema = "s", .table = "...", .name = "n"}), "...");
}

TEST(TopicTemplate, TheTooLongErrorNamesTheTableAndTheSetting) {
    try {
        expand("{schema}.{table}", "public", std::string(260, 'a'));
        FAIL();
    } catch (const Error& error) {
        EXPECT_NE(error.happened().find("public.aaa"), std::string::npos);
        EXPECT_NE(error.why().find("267"), std::string::npos);
        EXPECT_NE(error.remedy().find("[[table]]"), std::string::npos);
    }
}

}  // namespace
}  // namespace walferry
