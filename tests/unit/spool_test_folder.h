// A folder that goes with the test.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

namespace walferry::test {

class TestFolder {
 public:
    TestFolder() {
        std::string name = (std::filesystem::temp_directory_path() / "walferry-spool-XXXXXX").string();
        EXPECT_NE(mkdtemp(name.data()), nullptr);
        path_ = name;
    }
    ~TestFolder() { std::filesystem::remove_all(path_); }
    TestFolder(const TestFolder&) = delete;
    TestFolder& operator=(const TestFolder&) = delete;

    const std::filesystem::path& path() const { return path_; }
    // All files below it that end in `suffix`.
    std::vector<std::filesystem::path> files(const std::string& suffix) const {
        std::vector<std::filesystem::path> found;
        for (const auto& entry : std::filesystem::recursive_directory_iterator(path_)) {
            if (entry.path().extension() == suffix) found.push_back(entry.path());
        }
        return found;
    }

 private:
    std::filesystem::path path_;
};

}  // namespace walferry::test
