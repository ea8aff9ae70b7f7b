// Any bytes as a task file, as a pattern and as a connection string: an Error is fine, a crash is not.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/match/pattern.h"
#include "config/checks.h"
#include "config/load.h"
#include "config/reference_page.h"
#include "error/error.h"

namespace {

void match(std::string_view text) {
    walferry::TablePattern pattern;
    size_t offset = 0;
    if (walferry::parse_pattern(text, pattern, offset) != walferry::PatternError::none) {
        if (offset > text.size()) __builtin_trap();
        return;
    }
    const std::string_view name = text.substr(0, 64);
    walferry::matches(pattern, name, name);
    walferry::selected(&pattern, 1, name, name);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    match(text);
    walferry::mask_dsn(text);
    try {
        const walferry::TaskConfig task = walferry::parse_task(text, "task.toml");
        walferry::effective_settings(task);
        walferry::plugin_options_json(task.source);
    } catch (const walferry::Error&) {
    }
    return 0;
}
