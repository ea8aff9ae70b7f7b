// Makes the topic name of a table from a template such as "{schema}.{table}".
//
// Kafka allows [a-zA-Z0-9._-], at most 249 of them, and neither "." nor "..". PostgreSQL allows anything in a
// name, so each byte of a value that Kafka refuses becomes `_xHH_` (upper-case hexadecimal): `orders 2` gives
// `orders_x20_2`. An underscore that would look like the start of such an escape is escaped itself (`_x5F_`),
// and so are, in a template with several placeholders, the dots and hyphens that the template's own text
// uses: schema `a.b`, table `c` gives `a_x2E_b.c`. So two tables never get one name by accident, as long as
// the placeholders are kept apart by a dot or a hyphen and the template names the schema and the table; see
// distinguishes_tables().
//
// Five characters for a byte are many for names in other scripts. Where the topic would become too long, each
// value is written as `_xB32_` and its bytes in base32 (RFC 4648, lower case, unpadded) if that is shorter;
// the escapes above never give such a text. So a schema and a table of 63 bytes each always fit.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace walferry {

struct TopicNames {
    std::string_view db;
    std::string_view schema;
    std::string_view table;
    std::string_view name;  // the task's name
};

class TopicTemplate {
 public:
    // Throws Error (topic_template) on an unknown placeholder, an unclosed brace or a character that Kafka
    // refuses.
    explicit TopicTemplate(std::string_view text);

    // Throws Error (topic_name) when the name is too long, empty, "." or "..". Allocates: once per relation,
    // not per row.
    std::string expand(const TopicNames& names) const;

    // Whether different tables of one database always get different topics.
    bool distinguishes_tables() const { return distinguishes_tables_; }
    const std::string& text() const { return text_; }

 private:
    enum class Field { db, schema, table, name };
    struct Part {
        std::string literal;  // stands before the placeholder
        Field field;
    };

    std::string fill_in(const TopicNames& names, bool compact) const;
    bool needs_escape(std::string_view value, size_t at) const;
    void append_escaped(std::string& out, std::string_view value, bool compact) const;

    std::string text_;
    std::vector<Part> parts_;
    std::string tail_;        // the literal after the last placeholder
    std::string separators_;  // characters escaped in values although Kafka allows them
    bool distinguishes_tables_ = false;
};

}  // namespace walferry
