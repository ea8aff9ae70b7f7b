// Canal JSON: one message per row, members as in Canal's FlatMessage; docs/canal-json.md describes every one.
//
// A relation is prepared once, a row is then copied together from prepared pieces and value texts: no
// allocation but the output's own growth, one pass. Rendering is const: any number of threads may share one
// CanalJson and its prepared relations, each with its own Output.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/task.h"
#include "error/error.h"
#include "format/value_text.h"
#include "record/output.h"
#include "record/row.h"

namespace walferry {

// What became of one call.
enum class Rendered : uint8_t {
    message,    // the output has a message (or key) more
    nothing,    // there is none for this row, by option or because it has no key; the output is as it was
    bad_value,  // a value is not one of its type; the output is as it was
};

struct RenderStatus {
    Rendered outcome = Rendered::message;
    ValueError error = ValueError::none;  // for bad_value
    uint16_t column = 0;                  // for bad_value: its place in the relation
};

// For a status of bad_value.
Error bad_value_error(const RelationSchema& relation, const RenderStatus& status);

// What is the same for all rows of a relation. Made by CanalJson::prepare(); borrowed by nothing.
struct PreparedRelation {
    struct Column {
        uint32_t piece;  // where `,"name":"` begins in `pieces`
        uint32_t piece_size;
        wire::ValueClass value_class;
    };

    std::string names;     // ,"database":"s","table":"t"
    std::string head;      // names and `,"pkNames":[...],"isDdl":false,"type":"`
    std::string types;     // ,"sql":"","sqlType":{...},"mysqlType":{...},"data":[
    std::string truncate;  // TRUNCATE TABLE "s"."t", escaped
    std::string pieces;    // the columns' names, with room for reading a step too far
    TextOptions text;      // the format's, and what the server's version says
    std::vector<Column> columns;
    std::vector<uint16_t> key;  // columns of the message key, in order
};

// The type of a snapshot's row (operation Read): Canal knows INSERT only, DTS writes INIT.
enum class ReadType : uint8_t { insert, init };

class CanalJson {
 public:
    // `database` is the source database's name; used where the config asks for it.
    CanalJson(const CanalConfig& config, std::string database, ReadType read_type = ReadType::insert);

    // `key`: names of the columns of the message key; empty: the relation's own key. Throws Error (WF4101) if
    // a name is not that of a column.
    PreparedRelation prepare(const RelationSchema& relation, const std::vector<std::string>& key = {}) const;

    // Appends the row's message. `prepared` is that of row.relation; `now_ms` is milliseconds since
    // 1970-01-01 UTC.
    [[nodiscard]] RenderStatus render(const PreparedRelation& prepared, const Row& row, int64_t now_ms,
                                      Output& out) const;

    // Appends the row's message key: a JSON object of the key columns' texts, from the after image, for a
    // delete from the before image. Nothing for a truncate, a relation without key, and where an image lacks
    // a key column.
    [[nodiscard]] RenderStatus render_key(const PreparedRelation& prepared, const Row& row,
                                          Output& out) const;

 private:
    void render_truncate(const PreparedRelation& prepared, const Row& row, int64_t now_ms, Output& out) const;

    TextOptions text_;
    CanalTruncate truncate_;
    ReadType read_type_;
    bool type_parameters_;
    bool use_database_;
    std::string database_;
};

}  // namespace walferry
