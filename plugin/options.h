// What the client asks for: one JSON document in the option "options" of START_REPLICATION.
#pragma once

#include "common/match/pattern.h"
#include "server.h"

namespace walferry {

struct Prefix {
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
    bool streaming = false;          // send blocks of large transactions before they end
    bool two_phase = false;          // decode prepared transactions when they are prepared
    // With `two_phase`: those whose name begins with one of these; none listed means all.
    const Prefix* gid_prefixes = nullptr;
    int gid_prefix_count = 0;
    bool messages = false;
    // With `messages`: the prefixes to send; none listed means all.
    const Prefix* prefixes = nullptr;
    int prefix_count = 0;
    const TablePattern* tables = nullptr;
    int table_count = 0;
};

// `list` is the option list of the replication command. Raises ERROR, naming the option, for anything unknown
// or malformed. No list at all gives the defaults: every user table, newest version.
void parse_options(List* list, Options* options);

}  // namespace walferry
