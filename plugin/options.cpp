#include "options.h"

#include "common/wire/frame.h"

namespace walferry {
namespace {

constexpr const char* kKnownKeys =
    "\"version\", \"tables\", \"operations\", \"publish_via_root\", \"origin\", \"messages\", "
    "\"streaming\", \"two_phase\"";

// A text of the document as a C string in the current context. Texts with a NUL cannot occur: jsonb refuses
// them.
char* text_of(const JsonbValue* value) {
    return pnstrdup(value->val.string.val, value->val.string.len);
}

[[noreturn]] void wrong_type(const char* key, const char* expected) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("walferry: option \"%s\" must be %s", key, expected)));
    pg_unreachable();
}

bool boolean(const char* key, const JsonbValue* value) {
    if (value->type != jbvBool) wrong_type(key, "true or false");
    return value->val.boolean;
}

void parse_version(const JsonbValue* value, Options* options) {
    if (value->type != jbvNumeric) wrong_type("version", "a number");
    bool failed = false;
    int32 version = numeric_int4_opt_error(value->val.numeric, &failed);
    if (failed || version < wire::kOldestVersion || version > wire::kVersion) {
        char* asked = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
        ereport(
            ERROR,
            (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
             errmsg(
                 "walferry: option \"version\" asks for version %.64s of the wire format, this plugin writes "
                 "version %d",
                 asked, wire::kVersion),
             errhint("Install the same release of walferry on the database host and beside Kafka.")));
    }
    options->version = version;
}

// Calls `each` for every text of an array option.
template <typename Each>
int for_each_text(const char* key, const JsonbValue* value, Each each) {
    if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data) ||
        JsonContainerIsScalar(value->val.binary.data)) {
        wrong_type(key, "a list of texts");
    }
    JsonbContainer* array = value->val.binary.data;
    int count = int(JsonContainerSize(array));
    for (int i = 0; i < count; i++) {
        JsonbValue* element = getIthJsonbValueFromContainer(array, uint32(i));
        if (element->type != jbvString) wrong_type(key, "a list of texts");
        each(i, text_of(element));
    }
    return count;
}

int array_size(const JsonbValue* value) {
    return value->type == jbvBinary ? int(JsonContainerSize(value->val.binary.data)) : 0;
}

void parse_tables(const JsonbValue* value, Options* options) {
    auto* patterns = static_cast<TablePattern*>(palloc0(sizeof(TablePattern) * (array_size(value) + 1)));
    options->table_count = for_each_text("tables", value, [patterns](int i, const char* text) {
        size_t offset = 0;
        PatternError error = parse_pattern(std::string_view(text, strlen(text)), patterns[i], offset);
        if (error != PatternError::none) {
            ereport(
                ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                 errmsg("walferry: option \"tables\": pattern \"%s\" is not valid at character %zu: %s", text,
                        offset + 1, describe(error)),
                 errhint(
                     "A pattern is schema.table, with * for any text, ? for one character and ! in front to "
                     "leave out.")));
        }
    });
    options->tables = patterns;
}

void parse_operations(const JsonbValue* value, Options* options) {
    options->insert = options->update = options->del = options->truncate = false;
    for_each_text("operations", value, [options](int, const char* text) {
        if (strcmp(text, "insert") == 0) {
            options->insert = true;
        } else if (strcmp(text, "update") == 0) {
            options->update = true;
        } else if (strcmp(text, "delete") == 0) {
            options->del = true;
        } else if (strcmp(text, "truncate") == 0) {
            options->truncate = true;
        } else {
            ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                            errmsg("walferry: option \"operations\" has the unknown operation \"%s\"", text),
                            errhint("Operations are \"insert\", \"update\", \"delete\" and \"truncate\".")));
        }
    });
}

void parse_origin(const JsonbValue* value, Options* options) {
    const char* text = value->type == jbvString ? text_of(value) : "";
    if (strcmp(text, "none") == 0) {
        options->only_local_origin = true;
    } else if (strcmp(text, "any") != 0) {
        wrong_type("origin", "\"any\" or \"none\"");
    }
}

// true, false or a list of prefixes; returns whether anything is asked for.
bool parse_prefixes(const char* key, const JsonbValue* value, const Prefix** prefixes, int* count) {
    *count = 0;
    if (value->type == jbvBool) return value->val.boolean;
    if (value->type != jbvBinary) wrong_type(key, "true, false or a list of prefixes");
    auto* list = static_cast<Prefix*>(palloc0(sizeof(Prefix) * (array_size(value) + 1)));
    *count = for_each_text(key, value, [list](int i, const char* text) { list[i] = {text, strlen(text)}; });
    *prefixes = list;
    return *count > 0;
}

void parse_document(const char* text, Options* options) {
    // Raises its own ERROR, with the place, where the text is not JSON.
    Jsonb* document = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
    if (!JB_ROOT_IS_OBJECT(document)) {
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("walferry: option \"options\" must be a JSON object")));
    }
    JsonbIterator* iterator = JsonbIteratorInit(&document->root);
    JsonbValue key, value;
    JsonbIteratorToken token = JsonbIteratorNext(&iterator, &key, false);  // the object's begin
    while ((token = JsonbIteratorNext(&iterator, &key, true)) == WJB_KEY) {
        char* name = text_of(&key);
        (void)JsonbIteratorNext(&iterator, &value, true);
        if (strcmp(name, "version") == 0) {
            parse_version(&value, options);
        } else if (strcmp(name, "tables") == 0) {
            parse_tables(&value, options);
        } else if (strcmp(name, "operations") == 0) {
            parse_operations(&value, options);
        } else if (strcmp(name, "publish_via_root") == 0) {
            options->publish_via_root = boolean("publish_via_root", &value);
        } else if (strcmp(name, "origin") == 0) {
            parse_origin(&value, options);
        } else if (strcmp(name, "messages") == 0) {
            options->messages =
                parse_prefixes("messages", &value, &options->prefixes, &options->prefix_count);
        } else if (strcmp(name, "streaming") == 0) {
            options->streaming = boolean("streaming", &value);
        } else if (strcmp(name, "two_phase") == 0) {
            options->two_phase =
                parse_prefixes("two_phase", &value, &options->gid_prefixes, &options->gid_prefix_count);
        } else {
            ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                            errmsg("walferry: unknown option \"%s\"", name),
                            errhint("Known options are %s.", kKnownKeys)));
        }
    }
}

// The JSON parser's own errors say what is wrong with the text, but not whose text it is.
void name_option(void*) {
    errcontext("option \"options\" of the output plugin walferry");
}

}  // namespace

void parse_options(List* list, Options* options) {
    bool seen = false;
    ListCell* cell;
    foreach (cell, list) {
        DefElem* element = static_cast<DefElem*>(lfirst(cell));
        if (strcmp(element->defname, "options") != 0) {
            ereport(
                ERROR,
                (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                 errmsg("walferry: unknown plugin option \"%s\"", element->defname),
                 errhint("All settings travel in the option \"options\", one JSON document with the keys %s.",
                         kKnownKeys)));
        }
        if (seen) {
            ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
                            errmsg("walferry: plugin option \"options\" is given more than once")));
        }
        seen = true;
        if (element->arg == nullptr) {
            ereport(ERROR,
                    (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                     errmsg("walferry: option \"options\" has no value"),
                     errhint("Its value is a JSON document, for example {\"tables\": [\"public.*\"]}.")));
        }
        ErrorContextCallback context = {error_context_stack, name_option, nullptr};
        error_context_stack = &context;
        parse_document(strVal(element->arg), options);
        error_context_stack = context.previous;
    }
}

}  // namespace walferry
