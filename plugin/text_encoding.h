// Brings the database's text into UTF-8, the encoding of all text on the wire.
#pragma once

#include "server.h"

namespace walferry {

class TextEncoding {
 public:
    // Inside a transaction, since the conversion function is looked up. Raises ERROR where the server has
    // none.
    void init(MemoryContext context);

    // Whether text has to be converted: not in a UTF-8 database, nor in a SQL_ASCII one, which names no
    // encoding.
    bool converts() const { return converts_; }

    // UTF-8 in the current memory context, or `text` itself where nothing is to be done; `*size` becomes its
    // size. Bytes without an equivalent become U+FFFD: an ERROR would come again at every attempt to decode
    // the change. Null where there is not enough memory.
    const char* to_utf8(const char* text, Size* size) const;
    // The same for short texts that end with NUL.
    const char* to_utf8(const char* text) const;

 private:
    mutable FmgrInfo function_;
    int encoding_ = 0;
    bool converts_ = false;
};

}  // namespace walferry
