#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "format/json_escape.h"

namespace walferry {
namespace {

std::string escaped(std::string_view text) {
    const std::vector<uint8_t> exact(text.begin(), text.end());  // a read beyond it is seen by a sanitizer
    Output out;
    append_json_text(out, exact.data(), exact.size());
    return std::string(out.view());
}

std::string read_back(std::string_view text) {
    return nlohmann::json::parse('"' + escaped(text) + '"').get<std::string>();
}

TEST(JsonEscape, EscapesWhatJsonDemandsAndNothingElse) {
    EXPECT_EQ(escaped(""), "");
    EXPECT_EQ(escaped("a/b 'c' <d> \x7f"), "a/b 'c' <d> \x7f");
    EXPECT_EQ(escaped("\"\\\b\f\n\r\t"), "\\\"\\\\\\b\\f\\n\\r\\t");
    EXPECT_EQ(escaped(std::string_view("\0\x01\x1f", 3)), "\\u0000\\u0001\\u001f");
    EXPECT_EQ(escaped("häß 数据 \U0001F600"), "häß 数据 \U0001F600");
}

TEST(JsonEscape, FindsEverySpecialCharacterAtEveryPlace) {
    for (size_t size = 1; size <= 70; size++) {
        for (size_t at = 0; at < size; at++) {
            for (std::string_view special : {"\"", "\\", "\x01", "\x1f", "é", "€", "\U0001F600"}) {
                std::string text(size, 'x');
                text.replace(at, 1, special);
                ASSERT_EQ(read_back(text), text) << size << " " << at;
            }
        }
    }
}

TEST(JsonEscape, ReplacesBytesThatAreNotUtf8) {
    const std::string r = "\uFFFD";
    EXPECT_EQ(escaped("a\xff"), "a" + r);
    EXPECT_EQ(escaped("\xe4rger"), r + "rger");
    EXPECT_EQ(escaped("\xc0\x80"), r + r);  // overlong
    EXPECT_EQ(escaped("\xe0\x80\x80"), r + r + r);
    EXPECT_EQ(escaped("\xed\xa0\x80"), r + r + r);          // surrogate
    EXPECT_EQ(escaped("\xf4\x90\x80\x80"), r + r + r + r);  // above U+10FFFF
    EXPECT_EQ(escaped("\xf5\x80\x80\x80"), r + r + r + r);
    EXPECT_EQ(escaped("\xf0\x80\x80\x80"), r + r + r + r);
    EXPECT_EQ(escaped("\xe2\x82"), r + r);  // cut
    EXPECT_EQ(escaped("\xf0\x9f\x98"), r + r + r);
    EXPECT_EQ(escaped("\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80"),
              "\xf4\x8f\xbf\xbf\xed\x9f\xbf\xee\x80\x80");
}

TEST(JsonEscape, KeepsLongTextWhole) {
    // Characters of one to four bytes lie across every chunk boundary.
    for (size_t offset = 0; offset < 4; offset++) {
        std::string text(offset, 'x');
        while (text.size() < 40000) text += "aé€\U0001F600\"\n0123456789abcdefghi";
        EXPECT_EQ(read_back(text), text);
        std::string emoji(offset, 'x');
        while (emoji.size() < 40000) emoji += "\U0001F600";
        EXPECT_EQ(escaped(emoji), emoji);
    }
    const std::string controls(100000, '\x01');
    EXPECT_EQ(escaped(controls).size(), controls.size() * 6);
}

}  // namespace
}  // namespace walferry
