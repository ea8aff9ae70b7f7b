// codes.def and docs/errors.md tell of the same errors.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "error/error.h"

namespace walferry {
namespace {

constexpr ErrorCode kAll[] = {
#define WF_ERROR(name, code, exit_status, retry, title) ErrorCode::name,
#include "error/codes.def"
#undef WF_ERROR
};

// Heading text after "## " to the body below it.
std::map<std::string, std::string> read_paragraphs() {
    std::ifstream file(WALFERRY_SOURCE_DIR "/docs/errors.md");
    EXPECT_TRUE(file.good());
    std::map<std::string, std::string> paragraphs;
    std::string line, heading;
    while (std::getline(file, line)) {
        if (line.rfind("## WF", 0) == 0) {
            heading = line.substr(3);
            EXPECT_TRUE(paragraphs.emplace(heading, "").second) << "twice: " << heading;
        } else if (!heading.empty()) {
            paragraphs[heading] += line;
        }
    }
    return paragraphs;
}

TEST(ErrorDocs, EveryCodeHasAParagraph) {
    const auto paragraphs = read_paragraphs();
    for (const ErrorCode code : kAll) {
        const std::string heading = std::string(info(code).code) + " " + info(code).title;
        const auto found = paragraphs.find(heading);
        if (found == paragraphs.end()) {
            ADD_FAILURE() << "docs/errors.md lacks: ## " << heading;
            continue;
        }
        EXPECT_GT(found->second.size(), 40U) << "hardly a paragraph: " << heading;
    }
}

TEST(ErrorDocs, EveryParagraphHasACode) {
    std::set<std::string> headings;
    for (const ErrorCode code : kAll) headings.insert(std::string(info(code).code) + " " + info(code).title);
    for (const auto& [heading, body] : read_paragraphs())
        EXPECT_TRUE(headings.contains(heading)) << "codes.def lacks: " << heading;
}

TEST(ErrorCodes, AreUniqueAndInTheirRange) {
    std::set<std::string> seen;
    const std::regex form("WF[1-5][0-9]{3}");
    for (const ErrorCode code : kAll) {
        const ErrorCodeInfo& i = info(code);
        EXPECT_TRUE(seen.insert(i.code).second) << "twice: " << i.code;
        EXPECT_TRUE(std::regex_match(i.code, form)) << i.code;
        EXPECT_GE(i.exit_status, 2) << i.code;
        EXPECT_LE(i.exit_status, 6) << i.code;
        EXPECT_NE(std::string(i.title).back(), '.') << i.code;
    }
}

TEST(ErrorText, HasCodeReasonAndRemedyOnLinesOfTheirOwn) {
    const Error full(ErrorCode::config_value, "It broke", "Rust", "Oil it");
    EXPECT_STREQ(full.what(), "WF1006: It broke\n  why: Rust\n  remedy: Oil it");
    const Error brief(ErrorCode::config_value, "It broke", "", "");
    EXPECT_STREQ(brief.what(), "WF1006: It broke");
}

}  // namespace
}  // namespace walferry
