// Turns what the server (or libpq) says into an Error of our own: a code, the reason, the statement that
// repairs it. The SQLSTATE decides; English text only where one SQLSTATE has several meanings. Pure
// functions; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "error/error.h"

namespace walferry {

// The fields of an ErrorResponse. `sqlstate` is empty for an error that libpq itself reports.
struct ServerError {
    std::string severity;
    std::string sqlstate;
    std::string message;
    std::string detail;
    std::string hint;
    std::string context;
};

// What the shipper was about to do; goes into reasons and repair statements.
struct ServerScene {
    std::string server;  // "db1:5432"
    std::string database;
    std::string user;
    std::string slot;
    std::string plugin = "walferry";
    // The names in output_plugin_libraries now, for repeating them in the repair; the server's default where
    // the role may not read the setting.
    std::vector<std::string> allowed_plugins = {"pgoutput", "test_decoding"};
};

Error map_server_error(const ServerError& error, const ServerScene& scene);

// libpq offers no SQLSTATE for a failed connection attempt, but writes it into the text under
// PQERRORS_VERBOSE: this takes the text apart again. The last server error counts where several hosts were
// tried.
ServerError parse_connect_message(std::string_view text);

// The statements that allow the plugin, each name a separate item: a single 'a,b' would be one bogus name.
std::string allow_plugin_statement(const ServerScene& scene);

}  // namespace walferry
