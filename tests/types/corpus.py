"""Hard values of every type that a column can have: plain data, to be imported by whoever tests a format.

`CASES` holds one entry for each base type, range, multirange and domain of the server, and for types that users make.
Arrays are derived from the values of their element type by `array_expressions`, rows of the catalogs' own composite
types by `catalog_composites`. A value is text for the type's input function, or an SQL expression (`Sql`).
"""

from dataclasses import dataclass


class Sql(str):
    """An expression instead of a text."""


@dataclass(frozen=True)
class Case:
    """One type and its values; NULL is always one of them and not listed."""

    name: str  # of the case, and of the table made for it
    type: str  # as a column is declared
    values: tuple[str, ...]
    setup: str = ""  # SQL that makes the type
    since: int = 0  # the first major version of the server that takes the values
    until: int = 99  # and the last one


def cases_of(major: int) -> list[Case]:
    """The cases for a server of this major version."""
    return [case for case in CASES if case.since <= major <= case.until]


def literal(text: str) -> str:
    """Text as an SQL string constant."""
    quoted = text.replace("'", "''")
    return "E'" + quoted.replace("\\", "\\\\") + "'" if "\\" in text else "'" + quoted + "'"


def expression(case_type: str, value: str) -> str:
    """The value as an SQL expression of its type."""
    return f"({value})::{case_type}" if isinstance(value, Sql) else f"{literal(value)}::{case_type}"


def expressions(case: Case) -> list[str]:
    """All values of the case, as SQL expressions, NULL at the end."""
    return [expression(case.type, value) for value in case.values] + [f"NULL::{case.type}"]


def array_expressions(case: Case) -> list[str]:
    """Arrays of the case's type: empty, of all values, with NULLs, with two dimensions and lower bounds."""
    array, items = case.type + "[]", expressions(case)
    first, null = items[0], items[-1]
    return [f"'{{}}'::{array}",
            f"ARRAY[{', '.join(items)}]::{array}",
            f"ARRAY[{null}]::{array}",
            f"ARRAY[ARRAY[{first}, {null}], ARRAY[{null}, {items[len(items) // 2]}]]::{array}",
            f"array_fill({first}, ARRAY[2, 1, 2], ARRAY[-1, 0, 7])::{array}",
            f"NULL::{array}"]


# Text that is hard for someone between the server and a reader: quotes, escapes, what JSON or arrays mean something by,
# controls, and code points at the ends of UTF-8's lengths.
TEXTS = ("", " ", "a", "plain", "'", '"', "\\", '\\"', "''", '""', "{}", "{", "}", "[1]", "(,)", ",", "NULL", "null",
         "true", "NaN", "a,b", "a b", " lead", "trail ", "\t", "\n", "\r\n", "\x01\x02\x08\x0b\x0c\x1f\x7f", "\u0080",
         "é", "\u07ff", "\u0800", "\u2028\u2029", "\ufeff", "\ufffd", "\uffff", "日本語", "🐘", "\U0010ffff", "e\u0301",
         "\\u0000", "\\x41", "%s %n {0}", "</script>", "2026-01-02T03:04:05Z")

# Around the lengths where the stored form, the wire's varint or the renderer's chunks change.
LENGTHS = (31, 32, 33, 125, 126, 127, 128, 129, 2000, 2040, 8191, 8192, 8193, 16383, 16384, 70000)
LONG_TEXTS = tuple(Sql(f"repeat('x', {n})") for n in LENGTHS) + (
    Sql("repeat(E'\"\\\\', 5000)"), Sql("repeat('🐘', 6000)"), Sql("repeat(E'\\x01', 3000)"),
    Sql("(select string_agg(md5(n::text), '') from generate_series(1, 3000) n)"))

_INT2 = ("0", "1", "-1", "9", "10", "99", "100", "12345", "32767", "-32768")
_INT4 = (*_INT2, "65535", "999999999", "1000000000", "2147483647", "-2147483648")
_INT8 = (*_INT4, "4294967296", "9999999999999999", "9223372036854775807", "-9223372036854775808")
_XID = ("0", "1", "2", "3", "2147483648", "4294967295")

_FLOATS = ("0", "-0", "1", "-1", "0.1", "0.3", "1.5", "100", "123456", "1234567", "1e5", "1e15", "1e16", "1e17",
           "123456789012345", "1e-4", "1e-5", "1e22", "1e23", "NaN", "Infinity", "-Infinity")
_FLOAT4 = (*_FLOATS, "3.4028235e38", "-3.4028235e38", "1.1754944e-38", "1e-45", "16777216", "16777217", "8.589973e9",
           "0.33333334")
_FLOAT8 = (*_FLOATS, "1.7976931348623157e308", "-1.7976931348623157e308", "2.2250738585072014e-308", "5e-324",
           "9007199254740993", "0.30000000000000004", "1.2345678901234567e-300", "4.35", "9e-265", "5.0e-324")

_NUMERIC = ("0", "0.0", "0.00", "-0", "1", "-1", "1.0", "1.10", "10", "100", "9999", "10000", "10001", "99999999",
            "100000000", "0.1", "0.01", "0.001", "0.0001", "0.00001", "0.00000000000000000001", "19.90", "-19.90",
            "123456789.123456789", "NaN", "Infinity", "-Infinity", "1e63", "1e64", "1e255", "1e256", "1e1000",
            "1e-1000", "1e-16383", "1e131071", "-1e131071", "0.9999", "0.99990", "1.0000", "1.00000",
            "12345678901234567890123456789012345678901234567890.5", "100000000000000000000.00000000000000000001",
            "0e-16383", Sql("repeat('9', 131072)"),
            Sql("'-' || repeat('1234567890', 13107) || '.' || repeat('7', 16383)"),
            Sql("'0.' || repeat('0', 16000) || repeat('3', 383)"))

_DATES = ("2000-01-01", "1999-12-31", "1970-01-01", "2024-02-29", "1900-02-28", "0001-01-01", "0001-12-31 BC",
          "0044-03-15 BC", "4714-11-24 BC", "9999-12-31", "10000-01-01", "99999-12-31", "5874897-12-31", "infinity",
          "-infinity")
_TIMES = ("00:00:00", "00:00:00.000001", "00:00:01", "03:04:05.1", "03:04:05.12", "03:04:05.123456", "12:34:56",
          "23:59:59", "23:59:59.999999", "23:59:60", "24:00:00", "allballs", "04:05 PM")
_ZONES = ("+00", "+01", "-01", "+05:30", "-03:30", "+15:59:59", "-15:59:59", "-00:00:01", "+00:00:01", "-12", "+14")
_TIMESTAMPS = ("2000-01-01 00:00:00", "1999-12-31 23:59:59.999999", "1970-01-01 00:00:00", "2024-02-29 12:34:56.789",
               "2026-01-02 03:04:05.1", "2016-12-31 23:59:60", "2026-06-30 24:00:00", "0001-01-01 00:00:00",
               "0001-12-31 23:59:59.5 BC", "0044-03-15 12:00:00 BC", "4714-11-24 00:00:00 BC",
               "9999-12-31 23:59:59.999999", "10000-01-01 00:00:00", "294276-12-31 23:59:59.999999", "infinity",
               "-infinity", "epoch", "2000-01-01 00:00:00.000001")
_INTERVALS = ("0", "1 second", "-1 second", "00:00:00.000001", "-00:00:00.000001", "1 day", "-1 day", "1 mon", "-1 mon",
              "11 mons", "1 year", "-1 year", "1 year 2 mons 3 days 04:05:06.789",
              "-1 year -2 mons +3 days -04:05:06.789", "1 mon -1 days", "-1 mon +1 day",
              "-1 mons +1 days -00:00:00.000001", "1 day -00:00:01", "-1 day +00:00:01", "100:00:00",
              "-100:59:59.999999", "2562047788:00:54.775807", "-2562047788:00:54.775807", "178000000 years",
              "-178000000 years", "2147483647 days", "-2147483648 days", "178956970 years 7 mons", "P1Y2M3DT4H5M6S",
              "1.5 days", "-178956970 years -8 mons -2147483648 days -2562047788:00:54.775807")

_JSON = ("null", "true", "0", "-0", "1.10", "1e5", '""', '"a"', '"\\""', '"\\\\"', '"\\u00e9"', '"é🐘"', "[]", "{}",
         "[1, 2,   3]", '{"a" :  1}', '{"b": 1, "a": 2, "a": 3}', '{"a": {"b": [null, true, "x", 1.50]}}',
         '"\\n\\t\\r\\b\\f"', '"\\ud83d\\udc18"', ' {"space" : "kept" } ', "123456789012345678901234567890.123456789",
         "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]")

_NETS = ("192.168.1.5", "192.168.1.5/24", "0.0.0.0", "0.0.0.0/0", "255.255.255.255", "10.1.2.3/32", "::", "::1", "::/0",
         "2001:db8::1/64", "2001:db8:0:0:1:0:0:1", "::ffff:1.2.3.4", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
         "fe80::1/10")

_SNAPSHOTS = ("1:1:", "10:20:10,14,15", "4294967295:4294967300:4294967296", "9223372036854775807:9223372036854775807:")

_BITS_GTSVECTOR = "'\\x01000000010000000200000003000000'::bytea"

BASE = (
    Case("bool", "bool", ("t", "f", "yes", "0")),
    Case("bytea", "bytea",
         ("", "\\x00", "\\x00ff", "\\xff00ff", "\\x5c22", "\\x27", "\\xc3a9", "\\x0a0d09", "abc\\000\\377",
          *(Sql(f"decode(repeat('00ff', {n}), 'hex')") for n in (63, 64, 255, 256, 257, 1000, 4096, 8192, 40000)),
          Sql("decode(repeat('80', 1025), 'hex')"), Sql("decode('00010203', 'hex')"))),
    Case("char_internal", '"char"',
         ("", "a", " ", "'", '"', "\\", "{", ",", "\x01", "\x7f", "\\200", "\\377", "é", "long")),
    Case("name", "name",
         (*(text for text in TEXTS if len(text.encode()) < 64), "n" * 62, "n" * 63, "n" * 64, "ü" * 31, "ü" * 32,
          "🐘" * 16)),
    Case("int8", "int8", _INT8),
    Case("int2", "int2", _INT2),
    Case("int2vector", "int2vector", ("", "0", "1 2 3", "-32768 32767 0", " ".join(["7"] * 100))),
    Case("int4", "int4", _INT4),
    Case("regproc", "regproc", ("-", "now", "pg_catalog.now", "999999", "4294967295")),
    Case("text", "text", (*TEXTS, *LONG_TEXTS)),
    Case("oid", "oid", _XID),
    Case("tid", "tid", ("(0,0)", "(0,1)", "(4294967295,65535)", "(12345,678)")),
    Case("xid", "xid", _XID),
    Case("cid", "cid", _XID),
    Case("oidvector", "oidvector", ("", "0", "1 2 3", "4294967295 0 23", " ".join(["4294967295"] * 100))),
    Case("json", "json", (*_JSON, Sql("to_json(repeat('x', 70000))"), Sql("to_json(repeat(E'\"', 2000))"))),
    Case("xml", "xml",
         ("", "a", "<a/>", "<a>b</a>", "<a b=\"c\">d &amp; e</a>", "<?xml version=\"1.0\" encoding=\"UTF-8\"?><é/>",
          "<?xml version=\"1.0\" standalone=\"yes\"?><a/>", "<?xml version=\"1.1\"?><a/>", "<a>\n</a>",
          "<!-- c --><a>🐘</a>", "<a><![CDATA[ ]] > ]]></a>", "x<a/>y", Sql("'<a>' || repeat('b', 20000) || '</a>'"))),
    Case("pg_node_tree", "pg_node_tree",
         (Sql("(select ev_action from pg_catalog.pg_rewrite where ev_class = 'pg_catalog.pg_user'::regclass and "
              "ev_type = '1')"),
          Sql("(select ev_action from pg_catalog.pg_rewrite order by length(ev_action::text) desc, oid limit 1)"))),
    Case("point", "point",
         ("(0,0)", "(1.5,-2)", "(1e300,-1e-300)", "(NaN,Infinity)", "(-Infinity,-0)", "(0.1,0.30000000000000004)")),
    Case("lseg", "lseg", ("[(0,0),(1,1)]", "[(1.5,-2),(NaN,Infinity)]", "[(0,0),(0,0)]")),
    Case("path", "path",
         ("[(0,0),(1,1),(2,0)]", "((0,0),(1,1),(2,0))", "((0,0))", "[(1,2)]",
          Sql("('[' || repeat('(1,2),', 2000) || '(3,4)]')"))),
    Case("box", "box", ("((2,2),(1,1))", "((1,1),(2,2))", "((0,0),(0,0))", "((Infinity,0),(-Infinity,0.1))")),
    Case("polygon", "polygon",
         ("((0,0),(1,1),(2,0))", "((0,0))", "((1.5,-2),(1e300,-0))", Sql("polygon(200, circle '<(0.1,0.2),3.3>')"))),
    Case("line", "line", ("{1,-1,0}", "{0,1,-5.5}", "[(0,0),(1,2)]", "{1e300,1e-300,0.1}")),
    Case("cidr", "cidr", ("10.0.0.0/8", "0.0.0.0/0", "192.168.1.5/32", "192.168", "::/0", "2001:db8::/32", "::1/128")),
    Case("float4", "float4", _FLOAT4),
    Case("float8", "float8", _FLOAT8),
    Case("circle", "circle",
         ("<(1,2),3>", "<(0,0),0>", "<(1e300,-1e-300),Infinity>", "<(0.1,0.2),0.30000000000000004>")),
    Case("macaddr8", "macaddr8",
         ("08:00:2b:01:02:03:04:05", "00:00:00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff:ff:ff", "08002b:0102030405",
          "08:00:2b:01:02:03")),
    Case("money", "money",
         ("0", "0.01", "-0.01", "12.34", "-99999.99", "1234567.89", "92233720368547758.07", "-92233720368547758.08")),
    Case("macaddr", "macaddr", ("08:00:2b:01:02:03", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "08002b010203")),
    Case("inet", "inet", _NETS),
    Case("aclitem", "aclitem",
         ("=r/postgres", "postgres=arwdDxt/postgres", "postgres=r*w/postgres", "pg_monitor=X/postgres")),
    Case("bpchar", "char(10)", ("", "x", "  x  ", "é", "日本語", "🐘", "full size!", '"', "\\", "a\tb", "{}")),
    Case("bpchar_one", "char", ("", "x", "é", "'")),
    Case("bpchar_free", "bpchar", ("", "x   ", "  x  ", "é ")),
    Case("bpchar_long", "char(3000)", ("x", Sql("repeat('é', 3000)"))),
    Case("varchar", "varchar", (*TEXTS, *LONG_TEXTS)),
    Case("varchar_20", "varchar(20)", (*(text for text in TEXTS if len(text) <= 20), "é" * 20, "🐘" * 20)),
    Case("date", "date", _DATES),
    Case("time", "time", _TIMES),
    Case("time_3", "time(3)", _TIMES),
    Case("timestamp", "timestamp", _TIMESTAMPS),
    Case("timestamp_0", "timestamp(0)", _TIMESTAMPS),
    Case("timestamptz", "timestamptz",
         (*_TIMESTAMPS, "2026-01-02 03:04:05+05:30", "2026-01-02 03:04:05-15:59:59", "4714-11-24 00:00:00+00 BC",
          "294276-12-31 23:59:59.999999+00", "2024-03-31 02:30:00 Europe/Berlin", "2024-01-01 00:00+01:02:03")),
    Case("timestamptz_2", "timestamptz(2)", _TIMESTAMPS),
    Case("interval", "interval", _INTERVALS),
    Case("interval_fields", "interval day to second(2)",
         ("1 day 02:03:04.567", "-1 day", "1 year 2 mons 3 days 04:05:06.789")),
    Case("interval_end", "interval", ("178956970 years 7 mons 2147483647 days 2562047788:00:54.775807",), until=16),
    Case("interval_infinite", "interval", ("infinity", "-infinity"), since=17),
    Case("timetz",
         "timetz",
         tuple(f"{time}{zone}" for time,
               zone in zip(("00:00:00", "24:00:00", "23:59:59.999999", "23:59:60", "12:34:56.7") * 3, _ZONES))),
    Case("timetz_1", "timetz(1)", ("12:34:56.789+02", "00:00-15:59:59")),
    Case("bit", "bit", ("0", "1")),
    Case("bit_33", "bit(33)", (Sql("repeat('10', 16)::bit(33)"), Sql("repeat('1', 33)"), "0" * 33)),
    Case("varbit", "varbit",
         ("", "0", "1", "0001", "10101010", "101010101", Sql("repeat('10', 500)"), Sql("repeat('1', 100001)"))),
    Case("varbit_8", "varbit(8)", ("", "10101010")),
    Case("numeric", "numeric", _NUMERIC),
    Case("numeric_12_2", "numeric(12,2)", ("0", "-0.01", "9999999999.99", "-9999999999.99", "NaN", "19.9")),
    Case("numeric_1000", "numeric(1000,500)", ("0", "NaN", Sql("repeat('9', 500)"), "1e-500")),
    Case("refcursor", "refcursor", TEXTS),
    Case("regprocedure", "regprocedure", ("-", "sum(int4)", "now()", "pg_catalog.format(text, \"any\")", "999999")),
    Case("regoper", "regoper", ("0", "||/", "pg_catalog.||/", "999999")),
    Case("regoperator", "regoperator", ("0", "+(int4,int4)", "-(none,int4)", "999999")),
    Case("regclass", "regclass",
         ("-", "pg_catalog.pg_class", "information_schema.tables", '"hard ""Name"""."Ta.ble\\"', "999999"),
         setup='create schema "hard ""Name"""; create table "hard ""Name"""."Ta.ble\\" (id int)'),
    Case("regtype", "regtype",
         ("-", "int", "int[]", "timestamp with time zone", '"char"', "information_schema.yes_or_no", "999999")),
    Case("uuid", "uuid",
         ("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
          "{A0EEBC99-9C0B4EF8-BB6D6BB9-BD380A11}")),
    Case("txid_snapshot", "txid_snapshot", _SNAPSHOTS),
    Case("pg_lsn", "pg_lsn", ("0/0", "0/1", "16/B374D848", "FFFFFFFF/FFFFFFFF", "A/0", "0/FFFFFFFF")),
    Case("tsvector", "tsvector",
         ("", "a", "a:1A fat:2B,4C cat:5D", "'it''s' '\\\\' 'a b' '\"'", "a:16383", "é 🐘:3,4", "b a c",
          Sql("(select string_agg('w' || n || ':' || n, ' ') from generate_series(1, 2000) n)"))),
    Case("tsquery", "tsquery",
         ("", "a", "fat & (rat | !cat)", "a <-> b <3> c", "'it''s' & '\\\\'", "a:*", "a:AB*", "!!a", "é | 🐘")),
    Case("gtsvector", "gtsvector", (Sql(_BITS_GTSVECTOR),), setup="create cast (bytea as gtsvector) without function"),
    Case("regconfig", "regconfig", ("english", "pg_catalog.simple", "999999")),
    Case("regdictionary", "regdictionary", ("simple", "pg_catalog.english_stem", "999999")),
    Case("jsonb", "jsonb",
         (*_JSON, '{"long key ' + "k" * 300 + '": [1.0, 2e5, -0]}', Sql("to_jsonb(repeat('x', 70000))"),
          Sql("(select jsonb_object_agg(n, md5(n::text)) from generate_series(1, 1000) n)"))),
    Case("jsonpath", "jsonpath",
         ("$", "$.a[*] ? (@ > 1)", "strict $.\"a b\"[0 to last]", "lax $.**{2 to 3}",
          "$.x ? (@ like_regex \"^a\" flag \"i\")", "$ ? (exists (@.é))", "-$.a", "$.\"\\\"\"")),
    Case("regnamespace", "regnamespace", ("-", "pg_catalog", "public", '"hard ""Name"""', "999999")),
    Case("regrole", "regrole", ("-", "postgres", "pg_monitor", "999999")),
    Case("regcollation", "regcollation", ("-", '"C"', "pg_catalog.\"POSIX\"", "999999")),
    Case("pg_mcv_list", "pg_mcv_list", (Sql("(select stxdmcv from pg_catalog.pg_statistic_ext_data limit 1)"),)),
    Case("pg_ndistinct", "pg_ndistinct", (Sql("(select stxdndistinct from pg_catalog.pg_statistic_ext_data limit 1)"),),
         setup="create unlogged table public.statistics_source as "
               "select n % 3 as a, n % 3 as b from generate_series(1, 100) n; "
               "create statistics public.three (ndistinct, dependencies, mcv) on a, b from public.statistics_source; "
               "analyze public.statistics_source"),
    Case("pg_dependencies", "pg_dependencies",
         (Sql("(select stxddependencies from pg_catalog.pg_statistic_ext_data limit 1)"),)),
    Case("pg_brin_bloom_summary", "pg_brin_bloom_summary", (Sql("'\\x000007000800000000000000ff'::bytea"),),
         setup="create cast (bytea as pg_brin_bloom_summary) without function"),
    Case("pg_brin_minmax_multi_summary", "pg_brin_minmax_multi_summary",
         (Sql("'\\x170000000100000001000000200000000100000002000000ffffffff'::bytea"),),
         setup="create cast (bytea as pg_brin_minmax_multi_summary) without function"),
    Case("pg_snapshot", "pg_snapshot", _SNAPSHOTS),
    Case("xid8", "xid8", ("0", "1", "4294967296", "18446744073709551615")),
)

_RANGES = ("empty", "(,)", "[{a},{b})", "[{a},{b}]", "({a},{b}]", "({a},{b})", "[{a},{a}]", "[{a},)", "(,{b}]",
           "(,{b})")
_BOUNDS = {"int4range": ("-2147483648", "2147483646"), "int8range": ("-9223372036854775808", "9223372036854775806"),
           "numrange": ("-1.10", "1e50"), "daterange": ("4714-11-24 BC", "infinity"),
           "tsrange": ("-infinity", '"2026-01-02 03:04:05.123456"'),
           "tstzrange": ('"0044-03-15 12:00:00+00 BC"', '"2026-01-02 03:04:05+05:30"')}
_MULTIRANGES = {"int4range": "{[1,2),[4,6),[9,)}", "int8range": "{(,-9223372036854775807),[4,6)}",
                "numrange": "{[1.10,2.0],(3,4)}",
                "daterange": "{[2024-02-29,2024-03-01),[2025-01-01,)}",
                "tsrange": '{["2024-01-01 00:00","2024-01-02 00:00"),[infinity,]}',
                "tstzrange": '{["2024-01-01 00:00+05","2024-01-02 00:00+05")}'}


def _ranges() -> tuple[Case, ...]:
    cases = []
    for name, (low, high) in _BOUNDS.items():
        values = tuple(form.format(a=low, b=high) for form in _RANGES)
        multirange = name.replace("range", "multirange")
        cases += [Case(name, name, values), Case(multirange, multirange, ("{}", "{(,)}", _MULTIRANGES[name]))]
    return tuple(cases)


RANGES = _ranges()

# The standard's views are made of these.
INFORMATION_SCHEMA = (
    Case("cardinal_number", "information_schema.cardinal_number", ("0", "2147483647")),
    Case("character_data", "information_schema.character_data", ("", "a\"b", "é")),
    Case("sql_identifier", "information_schema.sql_identifier", ("", "a\"b", "é")),
    Case("time_stamp", "information_schema.time_stamp", ("2026-01-02 03:04:05.678+01", "infinity")),
    Case("yes_or_no", "information_schema.yes_or_no", ("YES", "NO")),
)

# What users make of these.
USER_MADE = (
    Case("mood", "public.mood", ("sad", "ok", 'a, "b"', "it's \\", "{}", "🐘", "NULL", "added while running"),
         setup="create type public.mood as enum ('sad', 'ok', 'a, \"b\"', 'it''s \\', '{}', '🐘', 'NULL'); "
               "alter type public.mood add value 'added while running' before 'ok'"),
    Case("mood_elsewhere", '"Other Schema".mood', ("sad", "glad"),
         setup='create schema "Other Schema"; create type "Other Schema".mood as enum (\'glad\', \'sad\')'),
    Case("positive", "public.positive", ("1", "2147483647"),
         setup="create domain public.positive as int check (value > 0)"),
    Case("very_positive", "public.very_positive", ("101",),
         setup="create domain public.very_positive as public.positive check (value > 100)"),
    Case("price", "public.price", ("0", "19.9", "NaN"), setup="create domain public.price as numeric(12,2)"),
    Case("code", "public.code", ("", "x"), setup="create domain public.code as char(4)"),
    Case("flag", "public.flag", ("t", "f"), setup="create domain public.flag as bool"),
    Case("blob", "public.blob", ("\\x", "\\x00ff"), setup="create domain public.blob as bytea"),
    Case("moment", "public.moment", _TIMESTAMPS[:4], setup="create domain public.moment as timestamptz(3)"),
    Case("feeling", "public.feeling", ("sad", "NULL"), setup="create domain public.feeling as public.mood"),
    Case("words", "public.words", ("{}", '{a,NULL,"b c","\\"","\\\\","NULL",""}', "[5:6]={a,b}"),
         setup="create domain public.words as text[]"),
    Case("span", "public.span", ("empty", "(,)", "[1.5,2.5)", "[-Infinity,NaN]"),
         setup="create type public.span as range (subtype = float8, multirange_type_name = public.spans)"),
    Case("spans", "public.spans", ("{}", "{[1.5,2.5),[3,)}")),
    Case("text_span", "public.text_span", ('["","a"]', '[a,"b c"]', '["\\"","\\\\"]', '["a,b","é)"]', "(,z]"),
         setup='create type public.text_span as range (subtype = text, collation = "C")'),
    Case("pair", "public.pair",
         ("(,,)", '(1,"x, ""y""",sad)', '(-1,"\\\\","a, ""b""")', '(0,"",)', '(2,"( )",🐘)', '(3," ",ok)'),
         setup="create type public.pair as (a int, b text, m public.mood)"),
    Case("good_pair", "public.good_pair", ("(2,,ok)", '(1,"{}",)'),
         setup="create domain public.good_pair as public.pair"),
    Case("nested", "public.nested", ("(,,,)", '("(1,""x"",sad)","{1,NULL}","[1,2)","(1,1)")', '("(,,)","{}",empty,)'),
         setup="create type public.nested as (p public.pair, i int[], r int4range, q point)"),
    Case("settings_inside", "public.settings_inside",
         ('(t,"\\\\x00ff","2026-01-02 03:04:05+05:30","1 mon -1 day","1e300","12.34")', "(,,,,,)"),
         setup="create type public.settings_inside as (b bool, y bytea, t timestamptz, i interval, f float8, m money)"),
    Case("no_fields", "public.no_fields", ("()",), setup="create type public.no_fields as ()"),
    Case("shouting", 'public."UPPER Case"', ("a",), setup='create type public."UPPER Case" as enum (\'a\')'),
    Case("brackets", 'public."int[]"', ("x",), setup='create domain public."int[]" as text'),
)

CASES = (*BASE, *RANGES, *INFORMATION_SCHEMA, *USER_MADE)
