// The command line. Each subcommand is a few lines; the work is in run/ and tail/.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <string_view>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "config/checks.h"
#include "config/load.h"
#include "config/reference_page.h"
#include "config/text.h"
#include "error/error.h"
#include "run/logging.h"
#include "run/run.h"
#include "tail/tail.h"

namespace walferry {
namespace {

constexpr const char* kFooter = R"(
Examples:
  walferry run shop.toml                        stream changes into Kafka
  walferry tail "dbname=shop"                   watch changes, without Kafka
  walferry config shop.toml                     the settings in force
  walferry run --help                           more about one command

Exit status:
  0  done, or stopped by a signal after all was confirmed
  2  the command line or the task file is wrong
  3  PostgreSQL refused or could not be reached
  4  Kafka refused or could not be reached
  5  data that cannot be read or written
  6  the process or its surroundings)";

constexpr const char* kRunFooter = R"(
Examples:
  walferry run shop.toml
  walferry run shop.toml --check-config         check the file, connect nowhere
  PGPASSWORD=… walferry run shop.toml           ${PGPASSWORD} in the file, or libpq's own variables)";

constexpr const char* kTailFooter = R"(
A temporary slot is used; nothing is left behind.

Examples:
  walferry tail "host=127.0.0.1 dbname=shop user=walferry"
  walferry tail "dbname=shop" --tables 'public.*' --tables '!public.scratch_*'
  walferry tail "dbname=shop" --format canal-json --count 10 | jq .)";

constexpr const char* kConfigFooter = R"(
Examples:
  walferry config                               every setting: type, default, range
  walferry config shop.toml                     the values in force and where each comes from
  walferry config --markdown                    the reference page)";

constexpr const char* kVersionFooter = R"(
Example:
  walferry version)";

struct Arguments {
    std::string task_file;
    bool check_only = false;
    bool markdown = false;
    RunOptions run;
    TailOptions tail;
};

// A reader that closed the pipe has seen enough; anything else that stops the output is an error.
void print(const std::string& text) {
    const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
    if ((written && std::fflush(stdout) == 0) || errno == EPIPE) return;
    throw Error(ErrorCode::output_failed, "The output could not be written", std::strerror(errno),
                "Make room, or send the output elsewhere.");
}

Error internal_error(const std::exception& exception) {
    return {ErrorCode::internal, "An internal error stopped walferry", exception.what(),
            "Please report it with the lines logged before it."};
}

// Somebody who cannot deal with it may be asking for memory: librdkafka, a logger. Nothing is lost.
[[noreturn]] void out_of_memory() {
    constexpr std::string_view kLine =
        "{\"level\":\"error\",\"msg\":\"The process has no memory left\",\"fields\":{\"code\":\"WF5001\","
        "\"remedy\":\"Give it more memory and start again: nothing is lost\"}}\n";
    (void)!::write(STDERR_FILENO, kLine.data(), kLine.size());
    ::_exit(info(ErrorCode::internal).exit_status);
}

std::string check_table_pattern(const std::string& text) {
    const std::string wrong = check_pattern(text);
    return wrong.empty() ? "" : fmt::format("{} {}", excerpt(text), wrong);
}

TailOptions::Format parse_format(const std::string& name) {
    if (name == "auto") return TailOptions::Format::automatic;
    if (name == "pretty") return TailOptions::Format::pretty;
    if (name == "canal-json") return TailOptions::Format::canal_json;
    throw CLI::ValidationError("--format",
                               fmt::format("{} is none of auto, pretty, canal-json", excerpt(name)));
}

uint64_t parse_count(const std::string& text) {
    uint64_t count = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, count);
    if (error == std::errc() && stop == end && count > 0) return count;
    throw CLI::ValidationError("--count", fmt::format("{} is not a whole number from 1 on", excerpt(text)));
}

int run(const Arguments& arguments) {
    const TaskConfig task = load_task(arguments.task_file);
    set_up_logging(task.log);
    for (const std::string& warning : task.warnings) log_warning(warning);
    if (arguments.check_only) {
        print(fmt::format("{} is valid\n", arguments.task_file));
        return 0;
    }
    try {
        return run_task(task, arguments.run);
    } catch (const Error& error) {
        if (logs_are_text(task.log)) throw;
        // Whoever reads the log line by line finds the end in it too.
        log_error(error);
        return info(error.code()).exit_status;
    } catch (const std::exception& exception) {
        const Error error = internal_error(exception);
        if (logs_are_text(task.log)) throw error;
        log_error(error);
        return info(error.code()).exit_status;
    }
}

int tail(const Arguments& arguments) {
    LogConfig log;
    log.level = LogLevel::warning;
    set_up_logging(log);
    return run_tail(arguments.tail);
}

int config(const Arguments& arguments) {
    if (arguments.markdown) {
        print(settings_markdown());
    } else if (arguments.task_file.empty()) {
        print(settings_overview());
    } else {
        print(effective_settings(load_task(arguments.task_file)));
    }
    return 0;
}

int version() {
    print("walferry " WALFERRY_VERSION "\n");
    return 0;
}

int dispatch(int argc, char** argv) {
    Arguments arguments;
    CLI::App app("walferry streams every change of a PostgreSQL database into Apache Kafka.", "walferry");
    app.footer(kFooter);
    app.set_version_flag("--version", "walferry " WALFERRY_VERSION);
    app.require_subcommand(1);

    CLI::App* run_command = app.add_subcommand("run", "Stream changes into Kafka, as a task file says");
    run_command->footer(kRunFooter);
    run_command->add_option("TASK", arguments.task_file, "The task file (TOML)")->required();
    run_command->add_flag("--check-config", arguments.check_only, "Check the file and stop");

    run_command->add_flag("--accept-gap", arguments.run.accept_gap,
                          "Go on where the progress record and the slot do not fit together, and note it");

    CLI::App* tail_command = app.add_subcommand("tail", "Print changes on the terminal, without Kafka");
    tail_command->footer(kTailFooter);
    tail_command->add_option("DSN", arguments.tail.dsn, "A libpq connection string or URI")->required();
    tail_command->add_option("--tables", arguments.tail.tables, "A pattern schema.table; may be repeated")
        ->type_name("PATTERN")
        ->allow_extra_args(false)
        ->check(check_table_pattern);
    tail_command
        ->add_option_function<std::string>(
            "--format", [&](const std::string& name) { arguments.tail.format = parse_format(name); },
            "auto (pretty on a terminal, canal-json in a pipe), pretty, canal-json")
        ->type_name("NAME");
    tail_command
        ->add_option_function<std::string>(
            "--count", [&](const std::string& text) { arguments.tail.count = parse_count(text); },
            "Stop after this many changes")
        ->type_name("NUMBER");

    CLI::App* config_command =
        app.add_subcommand("config", "List the settings, or those in force in a task file");
    config_command->footer(kConfigFooter);
    CLI::Option* file = config_command->add_option("TASK", arguments.task_file, "The task file (TOML)");
    config_command->add_flag("--markdown", arguments.markdown, "Print docs/configuration.md")->excludes(file);

    CLI::App* version_command = app.add_subcommand("version", "Print the version");
    version_command->footer(kVersionFooter);

    try {
        app.parse(argc, argv);
    } catch (const CLI::Success& help) {
        return app.exit(help);
    } catch (const CLI::ParseError& error) {
        const auto chosen = app.get_subcommands();
        if (chosen.empty() && argc > 1 && argv[1][0] != '-') {
            throw Error(ErrorCode::usage, fmt::format("There is no command {}", excerpt(argv[1])),
                        "The commands are run, tail, config and version.",
                        "`walferry --help` shows examples.");
        }
        const std::string command = chosen.empty() ? "" : " " + chosen.front()->get_name();
        throw Error(ErrorCode::usage, error.what(), "",
                    fmt::format("`walferry{} --help` shows what is possible.", command));
    }
    if (run_command->parsed()) return run(arguments);
    if (tail_command->parsed()) return tail(arguments);
    if (config_command->parsed()) return config(arguments);
    return version();
}

// A standard descriptor that is closed at the start would be given to the next file or connection, and what
// is printed would go there. In its place stands one that refuses, so that the print fails as it would have.
void occupy_standard_descriptors() {
    for (const int descriptor : {0, 1, 2}) {
        if (::fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
        // The lowest free number is given out, which is this one.
        if (::open("/dev/null", descriptor == 0 ? O_WRONLY : O_RDONLY) < 0) return;
    }
}

// Names from elsewhere may stand in an error; the line breaks of a remedy are our own.
int report(const Error& error) {
    std::string text =
        fmt::format("walferry: {}: {}\n", info(error.code()).code, printable(error.happened()));
    if (!error.why().empty()) text += fmt::format("  why: {}\n", printable(error.why()));
    std::string_view remedy = error.remedy();
    for (const char* label = "  remedy: "; !remedy.empty(); label = "") {
        const size_t end = std::min(remedy.find('\n'), remedy.size());
        text += fmt::format("{}{}\n", label, printable(remedy.substr(0, end)));
        remedy.remove_prefix(std::min(end + 1, remedy.size()));
    }
    std::fputs(text.c_str(), stderr);
    return info(error.code()).exit_status;
}

}  // namespace
}  // namespace walferry

int main(int argc, char** argv) {
    // A closed pipe is an error of the write, not the end of the process.
    std::signal(SIGPIPE, SIG_IGN);
    std::set_new_handler(walferry::out_of_memory);
    walferry::occupy_standard_descriptors();
    try {
        return walferry::dispatch(argc, argv);
    } catch (const walferry::Error& error) {
        return walferry::report(error);
    } catch (const std::exception& error) {
        return walferry::report(walferry::internal_error(error));
    }
}
