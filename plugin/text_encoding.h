// Brings the database's text into UTF-8, the encoding of all text on the wire.
#pragma once

#include "server.h"

namespace walferry {

class TextEncoding {
 public:
    // Inside a transaction, since the conversion function is looked up. Raises ERROR where the server has
    // none.
    void init(MemoryContext context);

    // Whether text has to be looked at: in every database but a UTF-8 one.
    bool converts() const { return encoding_ != PG_UTF8; }

    // UTF-8 in the current memory context, or `text` itself where nothing is to be done; `*size` becomes its
    // size. Bytes without an equivalent become U+FFFD: an ERROR would come again at every attempt to decode
    // the change. A SQL_ASCII database names no encoding: what is UTF-8 there stays, any other byte becomes
    // U+FFFD. Null where there is not enough memory.
    const char* to_utf8(const char* text, Size* size) const;
    // The same for short texts that end with NUL.
    const char* to_utf8(const char* text) const;
    // The name of a database or a role, which all databases share: it has the encoding of the one where it
    // was made, and none says which. UTF-8 is taken as such, anything else as the database's encoding.
    const char* shared_name_to_utf8(const char* name) const;

 private:
    const char* convert_all(const char* text, Size* size) const;
    Size convert_some(const char* text, Size size, char* out) const;

    mutable FmgrInfo function_;
    int encoding_ = PG_UTF8;
    bool has_function_ = false;  // not for UTF8, nor for SQL_ASCII
};

}  // namespace walferry
