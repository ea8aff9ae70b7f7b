// What the client asks for: one JSON document in the option "options" of START_REPLICATION.
#pragma once

#include "common/match/pattern.h"
#include "server.h"

namespace walferry {

struct MessagePrefix {
    const char* text;
    size_t size;
};

// Lives in the memory context that was current when it was parsed.
struct Options {
    int version = 1;
    bool insert = true;
    bool update = true;
    bool del = true;
    bool truncate = true;
    bool publish_via_root = false;
    bool only_local_origin = false;  // origin "none"
    bool messages = false;
    // With `messages`: the prefixes to send; none listed means all.
    const MessagePrefix* prefixes = nullptr;
    int prefix_count = 0;
    const TablePattern* tables = nullptr;
    int table_count = 0;
};

// `list` is the option list of the replication command. Raises ERROR, naming the option, for anything unknown
// or malformed. No list at all gives the defaults: every user table, newest version.
void parse_options(List* list, Options* options);

}  // namespace walferry
