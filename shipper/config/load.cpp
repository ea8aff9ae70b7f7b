#include "config/load.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <system_error>

#include <fmt/format.h>

#include "error/error.h"

namespace walferry {
namespace {

constexpr size_t kLargestFile = 1 << 20;

[[noreturn]] void fail(const std::filesystem::path& file, std::string_view what, std::string why,
                       std::string remedy) {
    throw Error(ErrorCode::config_file, fmt::format("{}: {}", file.string(), what), std::move(why),
                std::move(remedy));
}

std::string read_file(const std::filesystem::path& file) {
    std::error_code ignored;
    if (std::filesystem::is_directory(file, ignored))
        fail(file, "The task file is a directory", "",
             "Give the path of the file, for example task.toml in it.");
    // A pipe is welcome too (`walferry run <(…)`), so the size is known only after reading.
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> stream(std::fopen(file.c_str(), "re"), std::fclose);
    if (!stream) {
        const int error = errno;
        if (error == ENOENT)
            fail(file, "There is no such task file", "",
                 "Check the path; `walferry config` lists what a task file holds.");
        fail(file, "The task file cannot be opened", std::strerror(error),
             error == EACCES ? "Let this user read the file and pass through its directories."
                             : "Check the path.");
    }
    std::string text(kLargestFile + 1, '\0');
    const size_t size = std::fread(text.data(), 1, text.size(), stream.get());
    if (std::ferror(stream.get()) != 0)
        fail(file, "The task file cannot be read", std::strerror(errno), "Check the file system it lies on.");
    if (size > kLargestFile)
        fail(file, "The task file is larger than 1 MiB",
             "A task file has a few dozen lines, so this is another file.", "Check the path.");
    text.resize(size);
    return text;
}

}  // namespace

TaskConfig load_task(const std::filesystem::path& file) {
    return parse_task(read_file(file), file.string());
}

}  // namespace walferry
