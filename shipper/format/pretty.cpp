#include "format/pretty.h"

#include <algorithm>
#include <string_view>

#include "format/utf8.h"

namespace walferry {
namespace {

using wire::Operation;
using wire::ValueClass;
using wire::ValueState;
using wire::ValueView;

constexpr std::string_view kReset = "\x1b[0m";
constexpr std::string_view kDim = "\x1b[2m";
constexpr std::string_view kBold = "\x1b[1m";
constexpr std::string_view kGreen = "\x1b[32m";
constexpr std::string_view kYellow = "\x1b[33m";
constexpr std::string_view kRed = "\x1b[31m";
constexpr std::string_view kMagenta = "\x1b[35m";

uint32_t code_point(const uint8_t* s, size_t length) {
    constexpr uint8_t kFirstBits[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t c = s[0] & kFirstBits[length];
    for (size_t i = 1; i < length; i++) c = c << 6 | (s[i] & 0x3F);
    return c;
}

// Characters that a terminal obeys rather than shows, or that make text look like other text: C0, C1, line
// and paragraph separators, and what changes the direction of writing.
bool drives_terminal(uint32_t c) {
    return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x061C || c == 0x200E || c == 0x200F || c == 0xFEFF ||
           (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069);
}

void append_escape(Output& out, uint32_t c) {
    constexpr char kHex[] = "0123456789abcdef";
    switch (c) {
        case '\t':
            out.append("\\t");
            return;
        case '\n':
            out.append("\\n");
            return;
        case '\r':
            out.append("\\r");
            return;
        default:
            break;
    }
    const int digits = c < 0x100 ? 2 : 4;
    out.append(c < 0x100 ? "\\x" : "\\u");
    for (int i = digits - 1; i >= 0; i--) out.push_back(kHex[c >> (4 * i) & 15]);
}

// Appends at most `longest` characters of the text, then an ellipsis.
void append_visible(Output& out, std::string_view text, uint32_t longest) {
    const auto* s = reinterpret_cast<const uint8_t*>(text.data());
    const uint8_t* end = s + text.size();
    for (uint32_t shown = 0; s < end; shown++) {
        if (shown == longest) {
            out.append("…");
            return;
        }
        const size_t length = utf8_sequence(s, static_cast<size_t>(end - s));
        if (length == 0) {
            out.append(kReplacement);
            s++;
            continue;
        }
        const uint32_t c = code_point(s, length);
        if (drives_terminal(c)) {
            append_escape(out, c);
        } else {
            out.append(s, length);
        }
        s += length;
    }
}

class Line {
 public:
    Line(const PrettyOptions& options, const Row& row, Output& out)
        : options_(options), row_(row), out_(out) {}

    RenderStatus write() {
        const size_t start = out_.size();
        prefix();
        switch (row_.operation) {
            case Operation::Truncate:
                if (row_.images & wire::kRestartIdentity) out_.append(" RESTART IDENTITY");
                if (row_.images & wire::kCascade) out_.append(" CASCADE");
                break;
            case Operation::Update:
                update();
                break;
            case Operation::Delete:
                image(row_.before);
                break;
            default:
                image(row_.after);
                break;
        }
        out_.push_back('\n');
        if (status_.outcome != Rendered::message) out_.truncate(start);
        return status_;
    }

 private:
    void colour(std::string_view code) {
        if (options_.colour) out_.append(code);
    }

    void prefix() {
        constexpr int64_t kMillisPerDay = 86'400'000;
        // Apart, so that no commit time overflows.
        int64_t millis = row_.commit_unix_ms % kMillisPerDay + int64_t(options_.utc_offset_seconds) * 1000;
        millis = (millis % kMillisPerDay + kMillisPerDay) % kMillisPerDay;
        char text[64];
        char* p = write_two(text, static_cast<uint32_t>(millis / 3'600'000));
        *p++ = ':';
        p = write_two(p, static_cast<uint32_t>(millis / 60'000 % 60));
        *p++ = ':';
        p = write_two(p, static_cast<uint32_t>(millis / 1000 % 60));
        *p++ = '.';
        p = write_padded(p, static_cast<uint64_t>(millis % 1000), 3);
        *p++ = ' ';
        p = write_pg_lsn(p, row_.commit_lsn.value);
        *p++ = ' ';
        colour(kDim);
        out_.append(text, static_cast<size_t>(p - text));
        colour(kReset);
        operation();
        out_.push_back(' ');
        colour(kBold);
        append_visible(out_, row_.relation.schema, kLongestName);
        out_.push_back('.');
        append_visible(out_, row_.relation.table, kLongestName);
        colour(kReset);
    }

    void operation() {
        std::string_view name = "INSERT", code = kGreen;
        switch (row_.operation) {
            case Operation::Update:
                name = "UPDATE", code = kYellow;
                break;
            case Operation::Delete:
                name = "DELETE", code = kRed;
                break;
            case Operation::Truncate:
                name = "TRUNCATE", code = kMagenta;
                break;
            case Operation::Read:
                name = "READ";
                break;
            default:
                break;
        }
        colour(code);
        out_.append(name);
        colour(kReset);
    }

    void name(size_t column) {
        out_.append("  ");
        colour(kDim);
        append_visible(out_, row_.relation.columns[column].name, kLongestName);
        colour(kReset);
    }

    void value(size_t column, const ValueView& view) {
        if (view.state != ValueState::value) {
            colour(kDim);
            out_.append(view.state == ValueState::null ? "NULL" : "(unchanged)");
            colour(kReset);
            return;
        }
        const ValueClass value_class = row_.relation.layout[column].value_class;
        ValueView shown = view;
        // No more bytes than can be seen; only whole characters of them are.
        const uint32_t enough = 4 * (options_.longest_value + 1);
        const bool is_bytes = value_class == ValueClass::String || value_class == ValueClass::Output ||
                              value_class == ValueClass::Bytea;
        if (is_bytes) shown.size = std::min(shown.size, enough);
        text_.clear();
        TextOptions options;
        options.infinite_intervals = has_infinite_intervals(row_.relation.server_version);
        ValueError error = append_text(value_class, shown, options, text_);
        if (error != ValueError::none) {
            if (status_.outcome == Rendered::message) {
                status_ = {Rendered::bad_value, error, static_cast<uint16_t>(column)};
            }
            return;
        }
        // Without quotes the end of an empty value, or of one with spaces, would not be seen.
        const bool quotes = value_class == ValueClass::String &&
                            (text_.empty() || text_.view().find(' ') != std::string_view::npos);
        if (quotes) out_.push_back('\'');
        append_visible(out_, text_.view(), options_.longest_value);
        if (quotes) out_.push_back('\'');
    }

    void image(const ValueView* views) {
        for (size_t i = 0; i < row_.relation.columns.size(); i++) {
            if (views[i].state == ValueState::absent) continue;
            name(i);
            out_.push_back('=');
            value(i, views[i]);
        }
    }

    // The key and what changed; all that is known after the change where there is no before image to compare
    // with.
    void update() {
        const bool full = (row_.images & wire::kBefore) && !(row_.images & wire::kBeforeKeyOnly);
        for (size_t i = 0; i < row_.relation.columns.size(); i++) {
            const ValueView& before = row_.before[i];
            const ValueView& after = row_.after[i];
            const bool comparable = before.state == ValueState::value || before.state == ValueState::null;
            const bool changed =
                comparable && after.state != ValueState::unchanged &&
                (before.state != after.state ||
                 std::string_view(reinterpret_cast<const char*>(before.data), before.size) !=
                     std::string_view(reinterpret_cast<const char*>(after.data), after.size));
            if (changed) {
                name(i);
                out_.append(": ");
                value(i, before);
                out_.append(" → ");
                value(i, after);
            } else if (!full || row_.relation.columns[i].key_position != 0) {
                name(i);
                out_.push_back('=');
                value(i, after.state == ValueState::unchanged && comparable ? before : after);
            }
        }
    }

    static constexpr uint32_t kLongestName = 128;

    const PrettyOptions& options_;
    const Row& row_;
    Output& out_;
    Output text_;
    RenderStatus status_;
};

}  // namespace

RenderStatus Pretty::render(const Row& row, Output& out) const {
    return Line(options_, row, out).write();
}

}  // namespace walferry
