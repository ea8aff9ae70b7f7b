// numeric from PostgreSQL's stored form (NumericShort, NumericLong or a special value;
// src/backend/utils/adt/numeric.c) without its length word, as it comes on the wire.
#pragma once

#include <cstddef>
#include <cstdint>

namespace walferry {

// Room that write_numeric() needs, in characters. Never more than about 150000, whatever the bytes are.
size_t numeric_bound(const uint8_t* data, uint32_t size);

// Writes at most numeric_bound() characters and returns the end; null if the bytes are not a numeric.
char* write_numeric(char* p, const uint8_t* data, uint32_t size);

}  // namespace walferry
