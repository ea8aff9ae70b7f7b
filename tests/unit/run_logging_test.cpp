#include "run/logging.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <limits>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

namespace walferry {
namespace {

// Logs through a pipe, so that what arrives can be looked at.
class Logging : public testing::Test {
 protected:
    void SetUp() override { ASSERT_EQ(::pipe(pipe_), 0); }
    void TearDown() override {
        set_up_logging(LogConfig());
        if (pipe_[1] >= 0) ::close(pipe_[1]);
        ::close(pipe_[0]);
    }

    void start(LogFormat format, LogLevel level = LogLevel::info) {
        LogConfig config;
        config.format = format;
        config.level = level;
        set_up_logging(config, pipe_[1]);
    }

    std::string read_all() {
        ::close(std::exchange(pipe_[1], -1));
        std::string text;
        char buffer[4096];
        for (ssize_t n; (n = ::read(pipe_[0], buffer, sizeof buffer)) > 0;)
            text.append(buffer, static_cast<size_t>(n));
        return text;
    }

    int pipe_[2] = {-1, -1};
};

TEST_F(Logging, IsJsonLinesInAPipe) {
    start(LogFormat::automatic);
    const std::string name = "shop";
    log_info("slot created",
             {{"slot", name}, {"rows", 42}, {"lag", uint64_t{7}}, {"ok", true}, {"rate", 1.5}});
    const auto line = nlohmann::json::parse(read_all());
    EXPECT_EQ(line["level"], "info");
    EXPECT_EQ(line["msg"], "slot created");
    EXPECT_EQ(line["fields"],
              nlohmann::json::parse(R"({"slot":"shop","rows":42,"lag":7,"ok":true,"rate":1.5})"));
    EXPECT_EQ(line["ts"].get<std::string>().size(), std::string("2026-01-02T03:04:05.678Z").size());
}

TEST_F(Logging, EveryJsonLineIsValidWhateverTheText) {
    start(LogFormat::json);
    log_warning("a \"quote\"\nand \xFF {}",
                {{"name", "\x1B[2J\xC3"}, {"nan", std::numeric_limits<double>::quiet_NaN()}});
    const std::string text = read_all();
    EXPECT_EQ(text.find('\n'), text.size() - 1);
    const auto line = nlohmann::json::parse(text);
    EXPECT_EQ(line["msg"], "a \"quote\"\nand \xEF\xBF\xBD {}");
}

TEST_F(Logging, TextHasFieldsAndNoControlCharacters) {
    start(LogFormat::text);
    log_error("it broke", {{"table", "a b"}, {"name", "x\ny"}, {"n", -1}});
    const std::string text = read_all();
    EXPECT_NE(text.find("Z error   it broke table=\"a b\" name=x\\ny n=-1\n"), std::string::npos) << text;
}

TEST_F(Logging, NothingThatATerminalObeysIsLoggedInEitherForm) {
    const std::string hostile =
        "x\x1B[31m\x7F\xC2\x9B\x9B"
        "31m \xC2\xA0\xC3\x9B";
    for (const LogFormat format : {LogFormat::text, LogFormat::json}) {
        SCOPED_TRACE(format == LogFormat::text ? "text" : "json");
        start(format);
        log_warning(hostile, {{"name", hostile}});
        const std::string text = read_all();
        const std::string shown = R"(x\u001b[31m\u007f\u009b)"
                                  "\uFFFD"
                                  "31m \u00A0\u00DB";
        EXPECT_NE(text.find(shown), std::string::npos) << text;
        for (const char* part : {"\x1B", "\x7F", "\xC2\x9B",
                                 "\x9B"
                                 "31m"})
            EXPECT_EQ(text.find(part), text.npos);
        if (format == LogFormat::json) {
            const auto line = nlohmann::json::parse(text);
            EXPECT_EQ(line["msg"],
                      "x\x1B[31m\x7F\xC2\x9B\uFFFD"
                      "31m \u00A0\u00DB");
            EXPECT_EQ(line["msg"], line["fields"]["name"]);
        }
        ::close(pipe_[0]);
        ASSERT_EQ(::pipe(pipe_), 0);
    }
}

TEST_F(Logging, LevelsBelowTheConfiguredAreLeftOut) {
    start(LogFormat::text, LogLevel::warning);
    log_debug("no");
    log_info("no");
    log_warning("yes");
    const std::string text = read_all();
    EXPECT_EQ(text.find("no"), std::string::npos);
    EXPECT_NE(text.find("warning yes"), std::string::npos) << text;
}

TEST_F(Logging, AnErrorBringsCodeReasonAndRemedy) {
    start(LogFormat::json);
    log_error(Error(ErrorCode::config_value, "It broke", "Rust", "Oil it"));
    const auto line = nlohmann::json::parse(read_all());
    EXPECT_EQ(line["msg"], "It broke");
    EXPECT_EQ(line["fields"], nlohmann::json::parse(R"({"code":"WF1006","why":"Rust","remedy":"Oil it"})"));
}

TEST_F(Logging, PlainSpdlogCallsComeOutAlike) {
    start(LogFormat::json);
    spdlog::info("connected to {}", "db");
    EXPECT_EQ(nlohmann::json::parse(read_all())["msg"], "connected to db");
}

TEST_F(Logging, SurvivesAFullDisk) {
    const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
    ASSERT_GE(full, 0);
    set_up_logging(LogConfig(), full);
    for (int i = 0; i < 100; i++) log_info("lost");
    ::close(full);
}

TEST_F(Logging, SurvivesAClosedPipeAndAClosedDescriptor) {
    const auto before = std::signal(SIGPIPE, SIG_IGN);
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    ::close(ends[0]);
    set_up_logging(LogConfig(), ends[1]);
    log_info("lost");
    ::close(ends[1]);
    log_info("lost");
    std::signal(SIGPIPE, before);
}

}  // namespace
}  // namespace walferry
