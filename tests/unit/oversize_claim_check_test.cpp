#include "oversize/claim_check.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "error/error.h"

namespace walferry {
namespace {

namespace fs = std::filesystem;

class OversizeClaimCheck : public testing::Test {
 protected:
    void SetUp() override {
        std::string name = (fs::temp_directory_path() / "claims-XXXXXX").string();
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        folder_ = name;
    }
    void TearDown() override { fs::remove_all(folder_); }

    std::set<std::string> files() const {
        std::set<std::string> found;
        for (const auto& entry : fs::recursive_directory_iterator(folder_))
            if (entry.is_regular_file()) found.insert(fs::relative(entry.path(), folder_).string());
        return found;
    }
    std::string read(const std::string& path) const {
        std::ifstream file(folder_ / path, std::ios::binary);
        std::stringstream text;
        text << file.rdbuf();
        return text.str();
    }

    fs::path folder_;
};

TEST_F(OversizeClaimCheck, NamesSortAsTheRowsWereCommitted) {
    EXPECT_EQ(claim_name("7301:1:0/1A2B5E8:0"), "7301-1/0000000001A2B5E8-0");
    EXPECT_EQ(claim_name("7301:12:1F/FFFFFFFF:10.2"), "7301-12/0000001FFFFFFFFF-10.2");
    EXPECT_LT(claim_name("1:1:0/FFFFFFFF:0"), claim_name("1:1:1/0:0"));
}

TEST_F(OversizeClaimCheck, TheSamePositionIsTheSameFile) {
    const ClaimCheck claims(folder_, "shop");
    const std::string path = claims.store("7:1:0/AB:3", std::string(1'000'000, 'a'));
    EXPECT_EQ(path, "shop/7-1/00000000000000AB-3");
    EXPECT_EQ(claims.store("7:1:0/AB:3", "bb"), path);
    EXPECT_EQ(read(path), "bb");
    EXPECT_EQ(claims.store("7:1:0/AB:3.1", "c"), path + ".1");
    EXPECT_EQ(files(), (std::set<std::string>{path, path + ".1"}));
}

TEST_F(OversizeClaimCheck, WhatACrashLeftBehindIsOverwritten) {
    const ClaimCheck claims(folder_, "shop");
    const std::string path = claims.store("7:1:0/AB:3", "a");
    std::ofstream(folder_ / (path + ".unfinished")) << "longer than the value";
    EXPECT_EQ(claims.store("7:1:0/AB:3", "b"), path);
    EXPECT_EQ(read(path), "b");
    EXPECT_EQ(files(), std::set<std::string>{path});
}

TEST_F(OversizeClaimCheck, AFolderThatIsNotThereIsNotMade) {
    try {
        const ClaimCheck claims(folder_ / "missing", "shop");
        FAIL() << "no error";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::config_value);
        EXPECT_NE(error.happened().find("missing"), std::string::npos);
    }
    EXPECT_FALSE(fs::exists(folder_ / "missing"));
}

TEST_F(OversizeClaimCheck, AFileThatCannotBeWrittenIsAnErrorAndLeavesNothing) {
    const ClaimCheck claims(folder_, "shop");
    const std::string path = claims.store("7:1:0/AB:3", "a");
    fs::create_directory(folder_ / "shop/7-1/00000000000000AB-4");  // in the way of the rename
    try {
        (void)claims.store("7:1:0/AB:4", "b");
        FAIL() << "no error";
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::claim_check_failed);
        EXPECT_EQ(error.retry(), Retry::source);
    }
    EXPECT_EQ(files(), std::set<std::string>{path});
}

}  // namespace
}  // namespace walferry
