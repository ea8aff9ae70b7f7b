// How formats name the type of a column, from what the server says about it. Used once per relation.
#pragma once

#include <string>

#include "record/relation_schema.h"

namespace walferry {

// The code of java.sql.Types that Canal and DTS use for a PostgreSQL type; 1111 (OTHER) for types they do not
// know. A domain counts as its base type, an enum as text.
int sql_type(const ColumnSchema& column);

// PostgreSQL's short name, e.g. "varchar", "timestamptz", "integer[]"; the type's own name where there is no
// shorter. A domain goes by its base type where that is a common one. With `parameters` those of the column,
// e.g. "numeric(12,2)".
std::string short_type_name(const ColumnSchema& column, bool parameters);

}  // namespace walferry
