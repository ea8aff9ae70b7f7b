"""Random types and texts for their input functions. A text may be refused by the server: whoever uses it finds out.

A value comes from a pool that Hypothesis has drawn, or from a pseudo-random generator that Hypothesis has seeded:
drawing every one of 100 000 values by itself would take minutes.
"""

import datetime
import json
import random
import string
import struct
from collections.abc import Callable
from dataclasses import dataclass

from corpus import TEXTS, literal
from hypothesis import strategies as st


@dataclass(frozen=True)
class Pools:
    """What Hypothesis has drawn for one table."""

    texts: tuple[str, ...]
    integers: tuple[int, ...]
    floats: tuple[float, ...]
    moments: tuple[datetime.datetime, ...]
    binaries: tuple[bytes, ...]


# What PostgreSQL takes as text: any code point but NUL and the surrogates.
CHARACTERS = st.characters(exclude_characters="\0", exclude_categories=("Cs",))


@st.composite
def pools(draw: st.DrawFn) -> Pools:
    def some(strategy: st.SearchStrategy) -> tuple:
        return tuple(draw(st.lists(strategy, min_size=3, max_size=8)))

    return Pools(some(st.text(CHARACTERS, max_size=60)), some(st.integers(-2**66, 2**66)), some(st.floats()),
                 some(st.datetimes()),
                 some(st.binary(max_size=80)))


class Source:
    """Makes texts of values. Deterministic for the same pools and seed."""

    def __init__(self, drawn: Pools, seed: int) -> None:
        self.pools, self.random = drawn, random.Random(seed)

    def pick(self, *choices: str) -> str:
        return self.random.choice(choices)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    # --- building blocks ---

    def text(self, longest: int = 40) -> str:
        kind = self.random.random()
        if kind < 0.25:
            return self.random.choice(self.pools.texts)
        if kind < 0.4:
            return self.random.choice(TEXTS)
        alphabet = self.random.choice(("ab", "'\"\\{}(),[] \t\n", string.printable, "\x01\x02\x1f\x7f\u0080\u00ff",
                                       "äöüßéñ", "日本語漢字", "🐘🎉\U0010ffff", None))
        size = min(int(self.random.expovariate(0.1)), longest)
        if self.chance(0.004):
            size = self.random.randrange(2000, 9000)
        if alphabet is None:
            return "".join(chr(self.random.choice((self.random.randrange(1, 0xD800),
                                                   self.random.randrange(0xE000, 0x110000)))) for _ in range(size))
        return "".join(self.random.choices(alphabet, k=size))

    def integer(self, bits: int, signed: bool = True) -> int:
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        kind = self.random.random()
        if kind < 0.2:
            return max(low, min(high, self.random.choice(self.pools.integers)))
        if kind < 0.3:
            return self.random.choice((low, high, 0))
        value = self.random.getrandbits(self.random.randrange(1, bits + 1))
        return max(low, min(high, -value if signed and self.chance(0.5) else value))

    def float_(self, form: str = "d") -> str:
        kind = self.random.random()
        if kind < 0.2:
            value = self.random.choice(self.pools.floats)
        elif kind < 0.6:
            value = struct.unpack(form, self.random.randbytes(struct.calcsize(form)))[0]
        else:
            value = self.random.choice((self.random.random(), self.random.uniform(-1e6, 1e6),
                                        float(self.random.randrange(-10**6, 10**6)),
                                        round(self.random.uniform(-1e4, 1e4), 2)))
        return repr(value)

    def digits(self, most: int) -> str:
        return "".join(self.random.choices("0123456789", weights=(4, 1, 1, 1, 1, 1, 1, 1, 1, 3),
                                           k=self.random.randrange(1, most)))

    def numeric(self) -> str:
        if self.chance(0.05):
            return self.pick("NaN", "Infinity", "-Infinity", "0", "-0.0")
        most = 600 if self.chance(0.02) else 30
        text = self.pick("", "-") + self.digits(most)
        if self.chance(0.6):
            text += "." + self.digits(most)
        if self.chance(0.1):
            text += f"e{self.random.randrange(-300, 300)}"
        return text

    def date(self) -> str:
        if self.chance(0.05):
            return self.pick("infinity", "-infinity", "epoch")
        if self.chance(0.2):
            return self.random.choice(self.pools.moments).date().isoformat()
        year = self.random.choice((self.random.randrange(1, 4713), self.random.randrange(1900, 2100),
                                   self.random.randrange(1, 290000)))
        text = f"{year:04}-{self.random.randrange(1, 13):02}-{self.random.randrange(1, 29):02}"
        return text + (" BC" if year < 4713 and self.chance(0.3) else "")

    def time(self) -> str:
        if self.chance(0.03):
            return self.pick("24:00:00", "23:59:60", "00:00:00")
        if self.chance(0.1):
            return self.random.choice(self.pools.moments).time().isoformat()
        fraction = "." + self.digits(8) if self.chance(0.6) else ""
        return f"{self.random.randrange(24):02}:{self.random.randrange(60):02}:{self.random.randrange(60):02}{fraction}"

    def zone(self) -> str:
        return f"{self.pick('+', '-')}{self.random.randrange(16):02}:{self.random.randrange(60):02}" + (
            f":{self.random.randrange(60):02}" if self.chance(0.3) else "")

    def timestamp(self, zone: bool) -> str:
        date = self.date()
        if not date[-1].isdigit() and not date.endswith("BC"):
            return date
        day, _, era = date.partition(" ")
        return f"{day} {self.time()}{self.zone() if zone else ''}{' BC' if era else ''}"

    def interval(self) -> str:
        units = ("years", "mons", "days", "hours", "mins", "secs", "microseconds")
        chosen = self.random.sample(units, self.random.randrange(1, 5))
        most = self.random.choice((2, 30, 10**5))
        return " ".join(f"{self.random.randrange(-most, most)} {unit}" for unit in chosen)

    def bits(self, most: int) -> str:
        return "".join(self.random.choices("01", k=self.random.randrange(most)))

    def bytea(self) -> str:
        if self.chance(0.3):
            return "\\x" + self.random.choice(self.pools.binaries).hex()
        return "\\x" + self.random.randbytes(self.random.choice((0, 1, 2, 3, 7, 40, 127, 300))).hex()

    def json_value(self, depth: int = 3) -> object:
        kind = self.random.randrange(8 if depth else 5)
        if kind == 0:
            return self.random.choice((None, True, False))
        if kind == 1:
            return self.integer(60)
        if kind == 2:
            return self.random.uniform(-1e9, 1e9)
        if kind <= 4:
            return self.text(12)
        if kind == 5:
            return [self.json_value(depth - 1) for _ in range(self.random.randrange(4))]
        return {self.text(6): self.json_value(depth - 1) for _ in range(self.random.randrange(4))}

    def json(self) -> str:
        return json.dumps(self.json_value(), ensure_ascii=self.chance(0.5), indent=self.random.choice((None, None, 1)))

    def xml(self) -> str:
        printable = "".join(c for c in self.text() if c.isprintable())
        escaped = printable.replace("&", "&amp;").replace("<", "&lt;").replace("]]>", "")
        return f"<a b='{self.integer(16)}'>{escaped}</a>"

    def net(self, least: int) -> str:
        if self.chance(0.5):
            address = ".".join(str(self.random.randrange(256)) for _ in range(4))
            return f"{address}/{self.random.randrange(least, 33)}" if self.chance(0.6) else address
        address = ":".join(self.pick("0", "0", "ffff", f"{self.random.getrandbits(16):x}") for _ in range(8))
        return f"{address}/{self.random.randrange(least, 129)}" if self.chance(0.6) else address

    def points(self, count: int) -> str:
        return ",".join(f"({self.float_()},{self.float_()})" for _ in range(count))

    def words(self, least: int) -> list[str]:
        texts = (self.text(10).replace("\\", "\\\\").replace("'", "''") for _ in range(self.random.randrange(least, 5)))
        return [f"'{text}'" for text in texts]

    def hex(self, digits: int) -> str:
        return f"{self.random.getrandbits(4 * digits):0{digits}x}"


Make = Callable[[Source], str]


@dataclass(frozen=True)
class RandomType:
    """A type as a column is declared, what makes it, and what makes its values."""

    sql: str
    make: Make
    setup: tuple[str, ...] = ()
    elementary: bool = False


def _base(sql: str, make: Make) -> RandomType:
    return RandomType(sql, make, elementary=True)


BASE_TYPES = (
    _base("bool", lambda s: s.pick("t", "f")),
    _base("int2", lambda s: str(s.integer(16))),
    _base("int4", lambda s: str(s.integer(32))),
    _base("int8", lambda s: str(s.integer(64))),
    _base("oid", lambda s: str(s.integer(32, signed=False))),
    _base("xid", lambda s: str(s.integer(32, signed=False))),
    _base("cid", lambda s: str(s.integer(32, signed=False))),
    _base("xid8", lambda s: str(s.integer(64, signed=False))),
    _base("tid", lambda s: f"({s.integer(32, signed=False)},{s.integer(16, signed=False)})"),
    _base("float4", lambda s: s.float_("f")),
    _base("float8", lambda s: s.float_()),
    _base("numeric", Source.numeric),
    _base("numeric(20,5)", Source.numeric),
    _base("numeric(500,250)", Source.numeric),
    _base("money", lambda s: str(s.integer(64) / 100)),
    _base("text", Source.text),
    _base("varchar", Source.text),
    _base("varchar(12)", lambda s: s.text(12)),
    _base("char(9)", lambda s: s.text(9)),
    _base('"char"', lambda s: s.text(1)),
    _base("name", lambda s: s.text(15)),
    _base("refcursor", Source.text),
    _base("bytea", Source.bytea),
    _base("json", Source.json),
    _base("jsonb", Source.json),
    _base("xml", Source.xml),
    _base("date", Source.date),
    _base("time", Source.time),
    _base("time(2)", Source.time),
    _base("timetz", lambda s: s.time() + s.zone()),
    _base("timestamp", lambda s: s.timestamp(False)),
    _base("timestamp(3)", lambda s: s.timestamp(False)),
    _base("timestamptz", lambda s: s.timestamp(True)),
    _base("interval", Source.interval),
    _base("uuid", lambda s: s.hex(32)),
    _base("inet", lambda s: s.net(0)),
    _base("cidr", lambda s: s.net(32)),
    _base("macaddr", lambda s: s.hex(12)),
    _base("macaddr8", lambda s: s.hex(16)),
    _base("bit(7)", lambda s: f"{s.random.getrandbits(7):07b}"),
    _base("varbit", lambda s: s.bits(70)),
    _base("point", lambda s: s.points(1)),
    _base("lseg", lambda s: s.points(2)),
    _base("box", lambda s: s.points(2)),
    _base("path", lambda s: s.pick("[{}]", "({})").format(s.points(s.random.randrange(1, 6)))),
    _base("polygon", lambda s: f"({s.points(s.random.randrange(1, 6))})"),
    _base("line", lambda s: f"{{{s.float_()},{s.float_()},{s.float_()}}}"),
    _base("circle", lambda s: f"<{s.points(1)},{abs(s.integer(20))}>"),
    _base("pg_lsn", lambda s: f"{s.integer(32, signed=False):X}/{s.integer(32, signed=False):X}"),
    _base("tsvector",
          lambda s: " ".join(f"{w}:{s.random.randrange(1, 17000)}{s.pick('', 'A', 'B', 'C')}" for w in s.words(0))),
    _base("tsquery", lambda s: s.pick(" & ", " | ", " <-> ", " & !").join(s.words(1))),
    _base("int2vector", lambda s: " ".join(str(s.integer(16)) for _ in range(s.random.randrange(5)))),
    _base("oidvector", lambda s: " ".join(str(s.integer(32, signed=False)) for _ in range(s.random.randrange(5)))),
    _base("regtype", lambda s: str(s.random.choice((16, 23, 25, 1009, 1043, 3904, s.integer(32, signed=False))))),
    _base("jsonpath", lambda s: "$." + json.dumps(s.text(8)) + s.pick("", "[*]", " ? (@ > 1)", ".size()")),
    _base("pg_snapshot", lambda s: (lambda low: f"{low}:{low + 9}:{low + 1},{low + 5}")(s.random.randrange(1, 2**62))),
)


def _ordered(make: Callable[[Source], object]) -> Make:
    def values(source: Source) -> str:
        low, high = sorted((make(source), make(source)))  # type: ignore[type-var]
        low_text, high_text = ("" if source.chance(0.1) else f'"{bound}"' for bound in (low, high))
        if source.chance(0.05):
            return "empty"
        return f"{source.pick('[', '(')}{low_text},{high_text}{source.pick(')', ']')}"
    return values


def _moment(source: Source) -> datetime.datetime:
    return datetime.datetime(2000, 1, 1) + datetime.timedelta(microseconds=source.integer(56))


_RANGE_OF: dict[str, Make] = {
    "int4range": _ordered(lambda s: s.integer(32)), "int8range": _ordered(lambda s: s.integer(64)),
    "numrange": _ordered(lambda s: s.integer(50) / 4), "daterange": _ordered(lambda s: _moment(s).date()),
    "tsrange": _ordered(_moment), "tstzrange": _ordered(_moment)}


def _multirange(of: Make) -> Make:
    def values(source: Source) -> str:
        ranges = (of(source) for _ in range(source.random.randrange(4)))
        return "{" + ",".join(ranges) + "}"
    return values


RANGE_TYPES = tuple(RandomType(name, make, elementary=True) for name, make in _RANGE_OF.items()) + tuple(
    RandomType(name.replace("range", "multirange"), _multirange(make), elementary=True) for name,
    make in _RANGE_OF.items())


def _in_quotes(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def array_of(item: RandomType) -> RandomType:
    def make(source: Source) -> str:
        def one() -> str:
            return "NULL" if source.chance(0.15) else _in_quotes(item.make(source))

        sizes = [source.random.randrange(1, 4) for _ in range(source.random.choice((0, 1, 1, 1, 2, 3)))]
        if not sizes:
            return "{}"

        def level(left: list[int]) -> str:
            return "{" + ",".join(level(left[1:]) if left[1:] else one() for _ in range(left[0])) + "}"

        bounds = ""
        if source.chance(0.2):
            for size in sizes:
                low = source.random.randrange(-5, 6)
                bounds += f"[{low}:{low + size - 1}]"
            bounds += "="
        return bounds + level(sizes)

    return RandomType(item.sql + "[]", make, item.setup)


def domain_over(item: RandomType, name: str) -> RandomType:
    return RandomType(name, item.make, (*item.setup, f"create domain {name} as {item.sql}"))


def enum_of(labels: list[str], name: str) -> RandomType:
    return RandomType(name, lambda source: source.random.choice(labels),
                      (f"create type {name} as enum ({', '.join(map(literal, labels))})",))


def composite_of(fields: list[tuple[str, RandomType]], name: str) -> RandomType:
    def make(source: Source) -> str:
        return "(" + ",".join("" if source.chance(0.15) else _in_quotes(type_.make(source)) for _,
                              type_ in fields) + ")"

    setup = tuple(dict.fromkeys(statement for _, type_ in fields for statement in type_.setup))
    listed = ", ".join(f"{field} {type_.sql}" for field, type_ in fields)
    return RandomType(name, make, (*setup, f"create type {name} as ({listed})"))
