// A connection string in either of libpq's forms (manual chapter "Connection Strings") without its passwords.
#include <array>

#include "config/checks.h"

namespace walferry {
namespace {

constexpr std::string_view kMask = "***";

bool is_secret_keyword(std::string_view keyword) {
    constexpr std::array<std::string_view, 5> kSecrets = {"password", "sslpassword", "scram_client_key",
                                                          "scram_server_key", "oauth_client_secret"};
    for (const std::string_view secret : kSecrets) {
        if (keyword == secret) return true;
    }
    // libpq decodes percent signs in keywords too; what hides behind them is not worth the risk.
    return keyword.find('%') != keyword.npos;
}

bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

// postgresql://user:password@host:port/database?keyword=value&...
std::string mask_uri(std::string_view uri, size_t authority) {
    std::string masked(uri.substr(0, authority));
    std::string_view rest = uri.substr(authority);
    // A password that is not percent-encoded may hold any of "/@:?", so all between the first ':' and the
    // last
    // '@' is taken for one: rather too much than too little.
    const size_t colon = rest.find(':');
    if (const size_t at = rest.rfind('@'); at != rest.npos && colon < at) {
        masked.append(rest.substr(0, colon + 1)).append(kMask);
        rest.remove_prefix(at);
    }
    const size_t query = rest.find('?');
    masked.append(rest.substr(0, query));
    if (query == rest.npos) return masked;
    rest.remove_prefix(query + 1);
    char separator = '?';
    for (;;) {
        const size_t end = rest.find('&');
        const std::string_view pair = rest.substr(0, end);
        const size_t equals = pair.find('=');
        masked += separator;
        if (equals != pair.npos && is_secret_keyword(pair.substr(0, equals))) {
            masked.append(pair.substr(0, equals + 1)).append(kMask);
        } else {
            masked.append(pair);
        }
        if (end == rest.npos) return masked;
        rest.remove_prefix(end + 1);
        separator = '&';
    }
}

// Consumes a value: quoted or not, with backslashes. False when a quote stays open.
bool skip_value(std::string_view text, size_t& at) {
    if (at < text.size() && text[at] == '\'') {
        for (at++; at < text.size(); at++) {
            if (text[at] == '\\') {
                at++;
            } else if (text[at] == '\'') {
                at++;
                return true;
            }
        }
        return false;
    }
    while (at < text.size() && !is_space(text[at])) at += text[at] == '\\' ? 2 : 1;
    if (at > text.size()) at = text.size();
    return true;
}

}  // namespace

std::string mask_dsn(std::string_view dsn) {
    for (const std::string_view scheme : {"postgresql://", "postgres://"}) {
        if (dsn.starts_with(scheme)) return mask_uri(dsn, scheme.size());
    }
    std::string masked;
    size_t at = 0;
    while (at < dsn.size()) {
        const size_t word = at;
        while (at < dsn.size() && dsn[at] != '=' && !is_space(dsn[at])) at++;
        const std::string_view keyword = dsn.substr(word, at - word);
        masked.append(keyword);
        size_t equals = at;
        while (equals < dsn.size() && is_space(dsn[equals])) equals++;
        if (keyword.empty() || equals >= dsn.size() || dsn[equals] != '=') {
            // Spaces before a keyword, or something that is no connection string at all.
            if (!keyword.empty()) return std::string(kMask);
            if (dsn[at] == '=') return std::string(kMask);
            masked += dsn[at++];
            continue;
        }
        at = equals + 1;
        while (at < dsn.size() && is_space(dsn[at])) at++;
        const size_t value = at;
        if (!skip_value(dsn, at)) return std::string(kMask);
        masked += '=';
        masked.append(is_secret_keyword(keyword) ? kMask : dsn.substr(value, at - value));
    }
    return masked;
}

}  // namespace walferry
