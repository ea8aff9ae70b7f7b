#include "format/column_types.h"

#include <cstdint>
#include <string_view>

namespace walferry {
namespace {

// What the type modifier holds.
enum class Modifier : uint8_t { none, length, bits, precision_and_scale, fraction, interval };

struct KnownType {
    uint32_t oid;           // src/include/catalog/pg_type.dat
    uint32_t array_oid;     // 0: none
    std::string_view name;  // as format_type gives it
    std::string_view short_name;
    int sql_type;  // java.sql.Types
    Modifier modifier;
};

constexpr int kSqlArray = 2003;
constexpr int kSqlOther = 1111;
constexpr int kSqlVarchar = 12;

constexpr KnownType kKnownTypes[] = {
    {16, 1000, "boolean", "boolean", -7, Modifier::none},
    {17, 1001, "bytea", "bytea", -2, Modifier::none},
    {18, 1002, "\"char\"", "\"char\"", 1, Modifier::none},
    {19, 1003, "name", "name", kSqlVarchar, Modifier::none},
    {20, 1016, "bigint", "bigint", -5, Modifier::none},
    {21, 1005, "smallint", "smallint", 5, Modifier::none},
    {23, 1007, "integer", "integer", 4, Modifier::none},
    {25, 1009, "text", "text", kSqlVarchar, Modifier::none},
    {26, 1028, "oid", "oid", -5, Modifier::none},
    {114, 199, "json", "json", kSqlVarchar, Modifier::none},
    {142, 143, "xml", "xml", 2009, Modifier::none},
    {700, 1021, "real", "real", 7, Modifier::none},
    {701, 1022, "double precision", "double precision", 8, Modifier::none},
    {790, 791, "money", "money", 8, Modifier::none},
    {1042, 1014, "character", "char", 1, Modifier::length},
    {1043, 1015, "character varying", "varchar", kSqlVarchar, Modifier::length},
    {1082, 1182, "date", "date", 91, Modifier::none},
    {1083, 1183, "time without time zone", "time", 92, Modifier::fraction},
    {1114, 1115, "timestamp without time zone", "timestamp", 93, Modifier::fraction},
    {1184, 1185, "timestamp with time zone", "timestamptz", 93, Modifier::fraction},
    {1186, 1187, "interval", "interval", kSqlOther, Modifier::interval},
    {1266, 1270, "time with time zone", "timetz", 92, Modifier::fraction},
    {1560, 1561, "bit", "bit", -7, Modifier::bits},
    {1562, 1563, "bit varying", "varbit", kSqlOther, Modifier::bits},
    {1700, 1231, "numeric", "numeric", 3, Modifier::precision_and_scale},
    {2950, 2951, "uuid", "uuid", kSqlOther, Modifier::none},
    {3802, 3807, "jsonb", "jsonb", kSqlVarchar, Modifier::none},
};

constexpr std::string_view kArraySuffix = "[]";

struct Found {
    const KnownType* type;  // of the element, for an array; null: not a known one
    bool array;
};

Found find(const ColumnSchema& column) {
    std::string_view name = column.type_name;
    const bool named_array = name.ends_with(kArraySuffix);
    if (named_array) name.remove_suffix(kArraySuffix.size());
    for (const KnownType& type : kKnownTypes) {
        if (type.oid == column.base_type.value) return {&type, false};
        if (type.array_oid == column.base_type.value) return {&type, true};
    }
    return {nullptr, named_array};
}

// The fields that the type is restricted to, by their mask (intervaltypmodout() in
// src/backend/utils/adt/timestamp.c); empty where it takes all.
std::string_view interval_fields(int32_t mask) {
    constexpr int32_t kMonth = 1 << 1, kYear = 1 << 2, kDay = 1 << 3, kHour = 1 << 10, kMinute = 1 << 11,
                      kSecond = 1 << 12;
    switch (mask) {
        case kYear:
            return " year";
        case kMonth:
            return " month";
        case kDay:
            return " day";
        case kHour:
            return " hour";
        case kMinute:
            return " minute";
        case kSecond:
            return " second";
        case kYear | kMonth:
            return " year to month";
        case kDay | kHour:
            return " day to hour";
        case kDay | kHour | kMinute:
            return " day to minute";
        case kDay | kHour | kMinute | kSecond:
            return " day to second";
        case kHour | kMinute:
            return " hour to minute";
        case kHour | kMinute | kSecond:
            return " hour to second";
        case kMinute | kSecond:
            return " minute to second";
        default:
            return {};
    }
}

// Empty where the column has no parameters. The encodings are those of the types' typmodin functions.
std::string parameters_of(Modifier modifier, int32_t value) {
    constexpr int32_t kHeader = 4;
    if (value < 0) return {};
    auto text = [](int32_t n) { return "(" + std::to_string(n) + ")"; };
    switch (modifier) {
        case Modifier::none:
            return {};
        case Modifier::length:
            return value >= kHeader ? text(value - kHeader) : std::string();
        case Modifier::bits:
        case Modifier::fraction:
            return text(value);
        case Modifier::interval: {
            constexpr int32_t kFullPrecision = 0xFFFF;
            const int32_t precision = value & 0xFFFF;
            const std::string fields(interval_fields(value >> 16 & 0x7FFF));
            return precision != kFullPrecision ? fields + text(precision) : fields;
        }
        case Modifier::precision_and_scale: {
            if (value < kHeader) return {};
            int32_t packed = value - kHeader;
            int32_t precision = packed >> 16 & 0xFFFF;
            int32_t scale = ((packed & 0x7FF) ^ 1024) - 1024;  // eleven bits, signed from PostgreSQL 15 on
            return "(" + std::to_string(precision) + "," + std::to_string(scale) + ")";
        }
    }
    return {};
}

}  // namespace

int sql_type(const ColumnSchema& column) {
    const auto [type, array] = find(column);
    if (array) return kSqlArray;
    if (type) return type->sql_type;
    const bool is_text = column.is_enum || column.value_class == wire::ValueClass::String;
    return is_text ? kSqlVarchar : kSqlOther;
}

std::string short_type_name(const ColumnSchema& column, bool parameters) {
    const auto [type, array] = find(column);
    if (!type) return column.type_name;
    constexpr uint32_t kBpchar = 1042;
    // "char" without a length would be char(1).
    const bool any_length = parameters && type->oid == kBpchar && column.type_modifier < 0;
    std::string name(any_length ? "bpchar" : type->short_name);
    if (parameters) name += parameters_of(type->modifier, column.type_modifier);
    if (array) name += kArraySuffix;
    return name;
}

}  // namespace walferry
