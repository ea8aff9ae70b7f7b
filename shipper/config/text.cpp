#include "config/text.h"

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include <fmt/format.h>

namespace walferry {
namespace {

bool is_name_character(char c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
}

// Insertions, deletions, substitutions and swaps of neighbours count one each.
size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<size_t> before_last(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
    std::iota(last.begin(), last.end(), size_t{0});
    for (size_t i = 1; i <= a.size(); i++) {
        row[0] = i;
        for (size_t j = 1; j <= b.size(); j++) {
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = std::min(row[j], before_last[j - 2] + 1);
        }
        before_last.swap(last);
        last.swap(row);
    }
    return last[b.size()];
}

}  // namespace

size_t find_invalid_utf8(std::string_view text) {
    const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
    size_t at = 0;
    while (at < text.size()) {
        const unsigned char lead = byte(at);
        if (lead < 0x80) {
            at++;
            continue;
        }
        const size_t length = lead >= 0xC2 && lead < 0xE0 ? 2 : lead >= 0xE0 && lead < 0xF0 ? 3 : 4;
        if (lead < 0xC2 || lead > 0xF4 || at + length > text.size()) return at;
        for (size_t i = 1; i < length; i++) {
            if ((byte(at + i) & 0xC0) != 0x80) return at;
        }
        const unsigned char second = byte(at + 1);
        const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
        const bool surrogate = lead == 0xED && second >= 0xA0;
        const bool beyond = lead == 0xF4 && second >= 0x90;
        if (overlong || surrogate || beyond) return at;
        at += length;
    }
    return std::string_view::npos;
}

std::string printable(std::string_view text) {
    std::string shown;
    while (!text.empty()) {
        const size_t valid = std::min(find_invalid_utf8(text), text.size());
        for (size_t at = 0; at < valid; at++) {
            const auto byte = static_cast<unsigned char>(text[at]);
            const bool two_bytes = byte == 0xC2 && static_cast<unsigned char>(text[at + 1]) < 0xA0;
            if (byte >= ' ' && byte != 0x7F && !two_bytes) {
                shown += text[at];
            } else if (byte == '\n') {
                shown += "\\n";
            } else if (byte == '\t') {
                shown += "\\t";
            } else if (byte == '\r') {
                shown += "\\r";
            } else {
                const unsigned character = two_bytes ? static_cast<unsigned char>(text[++at]) : byte;
                shown += fmt::format("\\u{:04x}", character);
            }
        }
        if (valid == text.size()) break;
        shown += "\uFFFD";
        text.remove_prefix(valid + 1);
    }
    return shown;
}

std::string excerpt(std::string_view text) {
    constexpr size_t kLongest = 60;
    std::string shown = "\"";
    size_t end = std::min(text.size(), kLongest);
    while (end < text.size() && end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) end--;
    shown += printable(text.substr(0, end));
    return shown + (end < text.size() ? "…\"" : "\"");
}

Expansion expand_environment(std::string_view text) {
    Expansion expansion;
    size_t at = 0;
    while (at < text.size()) {
        const std::string_view rest = text.substr(at);
        if (rest.starts_with("$${")) {
            expansion.text += "${";
            at += 3;
            continue;
        }
        if (!rest.starts_with("${")) {
            expansion.text += text[at++];
            continue;
        }
        size_t end = 2;
        while (end < rest.size() && is_name_character(rest[end], end == 2)) end++;
        if (end == 2 || end == rest.size() || rest[end] != '}') {
            expansion.status = Expansion::Status::malformed;
            return expansion;
        }
        expansion.variables.emplace_back(rest.substr(2, end - 2));
        const char* value = std::getenv(expansion.variables.back().c_str());
        if (value == nullptr) {
            expansion.status = Expansion::Status::not_set;
            return expansion;
        }
        expansion.text += value;
        at += end + 1;
    }
    return expansion;
}

std::string_view nearest(std::string_view word, std::span<const std::string_view> candidates) {
    constexpr size_t kLongest = 100;  // keeps hostile keys cheap
    if (word.size() > kLongest) return {};
    std::string_view best;
    size_t best_distance = std::max<size_t>(2, word.size() / 3) + 1;
    for (const std::string_view candidate : candidates) {
        const size_t distance = edit_distance(word, candidate);
        if (distance < best_distance && distance < candidate.size()) {
            best = candidate;
            best_distance = distance;
        }
    }
    return best;
}

}  // namespace walferry
