#include "value_class.h"

namespace walferry {

using wire::ValueClass;

// The built-in types have the same OIDs and stored forms in every supported major version
// (catalog/pg_type.dat).
ValueCopy value_copy(::Oid base_type) {
    switch (base_type) {
        case BOOLOID:
            return {ValueClass::Bool, CopyAction::fixed1};
        case CHAROID:
            return {ValueClass::Char, CopyAction::fixed1};
        case INT2OID:
            return {ValueClass::Int2, CopyAction::fixed2};
        case INT4OID:
            return {ValueClass::Int4, CopyAction::fixed4};
        case INT8OID:
            return {ValueClass::Int8, CopyAction::fixed8};
        case FLOAT4OID:
            return {ValueClass::Float4, CopyAction::fixed4};
        case FLOAT8OID:
            return {ValueClass::Float8, CopyAction::fixed8};
        case OIDOID:
        case XIDOID:
        case CIDOID:
            return {ValueClass::Oid, CopyAction::fixed4};
        case DATEOID:
            return {ValueClass::Date, CopyAction::fixed4};
        case TIMEOID:
            return {ValueClass::Time, CopyAction::fixed8};
        case TIMETZOID:
            return {ValueClass::TimeTz, CopyAction::fixed12};
        case TIMESTAMPOID:
            return {ValueClass::Timestamp, CopyAction::fixed8};
        case TIMESTAMPTZOID:
            return {ValueClass::TimestampTz, CopyAction::fixed8};
        case INTERVALOID:
            return {ValueClass::Interval, CopyAction::fixed16};
        case UUIDOID:
            return {ValueClass::Uuid, CopyAction::fixed16};
        case LSNOID:
            return {ValueClass::PgLsn, CopyAction::fixed8};
        case NUMERICOID:
            return {ValueClass::Numeric, CopyAction::varlena};
        case BYTEAOID:
            return {ValueClass::Bytea, CopyAction::varlena};
        case TEXTOID:
        case VARCHAROID:
        case BPCHAROID:
        case JSONOID:
            return {ValueClass::String, CopyAction::text};
        case NAMEOID:
            return {ValueClass::String, CopyAction::name};
        default:
            return {ValueClass::Output, CopyAction::output};
    }
}

}  // namespace walferry
