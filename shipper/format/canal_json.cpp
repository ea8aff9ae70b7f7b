#include "format/canal_json.h"

#include <cstring>
#include <utility>

#include "format/column_types.h"
#include "format/json_escape.h"
#include "format/json_value.h"

namespace walferry {
namespace {

using wire::Operation;
using wire::ValueState;
using wire::ValueView;

TextOptions text_options(const CanalConfig& config) {
    TextOptions options;
    switch (config.boolean) {
        case CanalBoolean::words:
            options.boolean = BoolText::word;
            break;
        case CanalBoolean::letters:
            options.boolean = BoolText::letter;
            break;
        case CanalBoolean::digits:
            options.boolean = BoolText::digit;
            break;
    }
    switch (config.bytea) {
        case CanalBytea::base64:
            options.bytea = ByteaText::base64;
            break;
        case CanalBytea::hex:
            options.bytea = ByteaText::hex;
            break;
        case CanalBytea::latin1:
            options.bytea = ByteaText::latin1;
            break;
    }
    options.timestamp = config.timestamp == CanalTimestamp::iso ? TimestampText::iso : TimestampText::sql;
    options.timestamptz =
        config.timestamptz == CanalTimestampTz::z ? TimestampTzText::z : TimestampTzText::offset;
    return options;
}

std::string escaped(std::string_view text) {
    Output out;
    append_json_text(out, text);
    return std::string(out.view());
}

std::string quoted(std::string_view text) {
    return '"' + escaped(text) + '"';
}

// As the server's quote_identifier() would with quote_all_identifiers on.
std::string quoted_identifier(std::string_view name) {
    std::string result = "\"";
    for (char c : name) {
        if (c == '"') result += '"';
        result += c;
    }
    return result + '"';
}

// A value that this image really has.
bool known(const ValueView& view) {
    return view.state == ValueState::value || view.state == ValueState::null;
}

bool same(const ValueView& a, const ValueView& b) {
    return a.state == b.state && a.size == b.size &&
           (a.size == 0 || std::memcmp(a.data, b.data, a.size) == 0);
}

// The value after the change: one that was not logged is what it was before.
const ValueView& current(const Row& row, size_t column) {
    const ValueView& after = row.after[column];
    return after.state == ValueState::unchanged ? row.before[column] : after;
}

char* write_literal(char* p, std::string_view text) {
    std::memcpy(p, text.data(), text.size());
    return p + text.size();
}

// Members come with a comma in front; that of the first one becomes the brace.
void close_object(Output& out, size_t start) {
    if (out.size() == start) {
        out.append("{}");
        return;
    }
    out.data()[start] = '{';
    out.push_back('}');
}

// Appends the object of those columns for which `pick` gives a value (null: left out).
template <typename Pick>
RenderStatus append_row(Output& out, const PreparedRelation& prepared, const TextOptions& text, Pick&& pick) {
    const size_t start = out.size();
    const char* pieces = prepared.pieces.data();
    const size_t count = prepared.columns.size();
    for (size_t i = 0; i < count; i++) {
        const ValueView* value = pick(i);
        if (!value) continue;
        const PreparedRelation::Column& column = prepared.columns[i];
        ValueError error = append_json_member(out, pieces + column.piece, column.piece_size,
                                              column.value_class, *value, text);
        if (error != ValueError::none) return {Rendered::bad_value, error, static_cast<uint16_t>(i)};
    }
    close_object(out, start);
    return {};
}

std::string_view type_of(Operation operation, ReadType read_type) {
    switch (operation) {
        case Operation::Update:
            return "UPDATE";
        case Operation::Delete:
            return "DELETE";
        case Operation::Read:
            return read_type == ReadType::init ? "INIT" : "INSERT";
        default:
            return "INSERT";
    }
}

}  // namespace

Error bad_value_error(const RelationSchema& relation, const RenderStatus& status) {
    const std::string column =
        status.column < relation.columns.size() ? relation.columns[status.column].name : "?";
    return Error(ErrorCode::record_value,
                 "A value of column \"" + column + "\" of table " + relation.schema + "." + relation.table +
                     " cannot be rendered",
                 describe(status.error),
                 "Check that plugin and shipper are of the same release; if they are, report this with the "
                 "column's type; sink.unrenderable chooses what is sent in place of such a row");
}

CanalJson::CanalJson(const CanalConfig& config, std::string database, ReadType read_type)
    : text_(text_options(config)),
      truncate_(config.truncate),
      read_type_(read_type),
      type_parameters_(config.type_parameters),
      use_database_(config.database == CanalDatabase::database),
      database_(std::move(database)) {}

PreparedRelation CanalJson::prepare(const RelationSchema& relation,
                                    const std::vector<std::string>& key) const {
    PreparedRelation prepared;
    prepared.text = text_;
    prepared.text.infinite_intervals = has_infinite_intervals(relation.server_version);
    prepared.names = ",\"database\":" + quoted(use_database_ ? database_ : relation.schema) +
                     ",\"table\":" + quoted(relation.table);
    std::string key_names;
    for (uint16_t column : relation.key_columns) {
        key_names += (key_names.empty() ? "[" : ",") + quoted(relation.columns[column].name);
    }
    prepared.head = prepared.names + ",\"pkNames\":" + (key_names.empty() ? "null" : key_names + "]") +
                    ",\"isDdl\":false,\"type\":\"";

    std::string sql_types, names_of_types;
    for (const ColumnSchema& column : relation.columns) {
        const std::string piece = "," + quoted(column.name) + ":\"";
        prepared.columns.push_back({static_cast<uint32_t>(prepared.pieces.size()),
                                    static_cast<uint32_t>(piece.size()), column.value_class});
        prepared.pieces += piece;
        const std::string member = (sql_types.empty() ? "" : ",") + quoted(column.name) + ":";
        sql_types += member + std::to_string(sql_type(column));
        names_of_types += member + quoted(short_type_name(column, type_parameters_));
    }
    prepared.pieces.append(kPieceStep, '\0');
    prepared.types =
        ",\"sql\":\"\",\"sqlType\":{" + sql_types + "},\"mysqlType\":{" + names_of_types + "},\"data\":[";
    prepared.truncate = escaped("TRUNCATE TABLE " + quoted_identifier(relation.schema) + "." +
                                quoted_identifier(relation.table));

    prepared.key = relation.key_columns;
    if (!key.empty()) prepared.key.clear();
    for (const std::string& name : key) {
        std::optional<uint16_t> column = relation.find_column(name);
        if (!column) {
            throw Error(ErrorCode::record_key_column,
                        "Table " + relation.schema + "." + relation.table + " has no column \"" + name + "\"",
                        "The message key of this table is configured to hold that column",
                        "Correct `key` of the [[table]] entry that matches the table, or remove it to use "
                        "the table's own "
                        "key");
        }
        prepared.key.push_back(*column);
    }
    return prepared;
}

RenderStatus CanalJson::render(const PreparedRelation& prepared, const Row& row, int64_t now_ms,
                               Output& out) const {
    if (row.operation == Operation::Truncate) {
        if (truncate_ == CanalTruncate::skip) return {Rendered::nothing};
        render_truncate(prepared, row, now_ms, out);
        return {};
    }

    constexpr size_t kNumbers = 128;  // three numbers and the literals around them
    const size_t start = out.size();
    char* p = out.reserve(prepared.head.size() + prepared.types.size() + kNumbers);
    p = write_literal(p, "{\"id\":");
    p = write_integer(p, row.commit_lsn.value);
    p = write_literal(p, prepared.head);
    p = write_literal(p, type_of(row.operation, read_type_));
    p = write_literal(p, "\",\"es\":");
    p = write_integer(p, row.commit_unix_ms);
    p = write_literal(p, ",\"ts\":");
    p = write_integer(p, now_ms);
    p = write_literal(p, prepared.types);
    out.commit(p);

    RenderStatus status;
    std::string_view tail = "],\"old\":null,\"gtid\":\"\"}";
    switch (row.operation) {
        case Operation::Delete:
            status = append_row(out, prepared, prepared.text,
                                [&](size_t i) { return known(row.before[i]) ? &row.before[i] : nullptr; });
            break;
        case Operation::Update:
            status = append_row(out, prepared, prepared.text, [&](size_t i) {
                const ValueView& value = current(row, i);
                return known(value) ? &value : nullptr;
            });
            if (status.outcome != Rendered::message) break;
            out.append("],\"old\":[");
            // An after value that was not logged is no change.
            status = append_row(out, prepared, prepared.text, [&](size_t i) {
                const bool changed =
                    known(row.before[i]) && known(row.after[i]) && !same(row.before[i], row.after[i]);
                return changed ? &row.before[i] : nullptr;
            });
            tail = "],\"gtid\":\"\"}";
            break;
        default:
            status = append_row(out, prepared, prepared.text,
                                [&](size_t i) { return known(row.after[i]) ? &row.after[i] : nullptr; });
    }
    if (status.outcome != Rendered::message) {
        out.truncate(start);
        return status;
    }
    out.append(tail);
    return status;
}

void CanalJson::render_truncate(const PreparedRelation& prepared, const Row& row, int64_t now_ms,
                                Output& out) const {
    char number[24];
    auto append_number = [&](auto n) {
        out.append(number, static_cast<size_t>(write_integer(number, n) - number));
    };
    const bool canal = truncate_ == CanalTruncate::canal;
    out.append("{\"id\":");
    append_number(row.commit_lsn.value);
    out.append(prepared.names);
    out.append(canal ? ",\"pkNames\":null,\"isDdl\":true,\"type\":\"TRUNCATE\",\"es\":"
                     : ",\"isDdl\":true,\"type\":\"DDL\",\"es\":");
    append_number(row.commit_unix_ms);
    out.append(",\"ts\":");
    append_number(now_ms);
    out.append(",\"sql\":\"");
    out.append(prepared.truncate);
    if (row.images & wire::kRestartIdentity) out.append(" RESTART IDENTITY");
    if (row.images & wire::kCascade) out.append(" CASCADE");
    out.append(canal ? "\",\"sqlType\":null,\"mysqlType\":null,\"data\":null,\"old\":null,\"gtid\":\"\"}"
                     : "\"}");
}

RenderStatus CanalJson::render_key(const PreparedRelation& prepared, const Row& row, Output& out) const {
    if (prepared.key.empty() || row.operation == Operation::Truncate) return {Rendered::nothing};
    const size_t start = out.size();
    for (uint16_t i : prepared.key) {
        const ValueView& value = row.operation == Operation::Delete ? row.before[i] : current(row, i);
        if (!known(value)) {
            out.truncate(start);
            return {Rendered::nothing};
        }
        const PreparedRelation::Column& column = prepared.columns[i];
        ValueError error = append_json_member(out, prepared.pieces.data() + column.piece, column.piece_size,
                                              column.value_class, value, prepared.text);
        if (error != ValueError::none) {
            out.truncate(start);
            return {Rendered::bad_value, error, i};
        }
    }
    close_object(out, start);
    return {};
}

}  // namespace walferry
