// Which types are copied as they are stored, and how.
#pragma once

#include "relation_cache.h"

namespace walferry {

struct ValueCopy {
    wire::ValueClass value_class;
    CopyAction action;
};

// `base_type` is the type under all domains. Types that are not listed go through their output function.
ValueCopy value_copy(::Oid base_type);

}  // namespace walferry
