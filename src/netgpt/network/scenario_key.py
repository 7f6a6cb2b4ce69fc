"""What a key of a scenario file may be: its meaning, its kind of value, its range. One place for the reader, the
JSON Schema and the reference page.

A field of a spec that is a key is written `Annotated[type, Key(...)]`; tables within tables
`Annotated[tuple[Spec, ...], Table(...)]`, a single table `Annotated[Spec, Table(..., single=True)]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from typing import Any, get_type_hints

from netgpt.core.errors import ScenarioInvalid, UsageError
from netgpt.core.units import format_frequency, parse_duration_s, parse_frequency_hz, parse_rate_bps, parse_share, parse_speed_m_per_s


@dataclass(frozen=True, slots=True)
class Place:
    """Where a table stands, so that what is found wrong with it later can still name the line."""

    file: str = ""
    line: int = 0
    keys: Mapping[str, int] = field(default_factory=dict)

    def of(self, key: str = "") -> str:
        """`file:line` of the key, or of the table; empty if it came from no file."""
        return f"{self.file}:{self.keys.get(key) or self.line}" if self.file else ""


def refusal(place: Place, key: str, message: str, hint: str) -> ScenarioInvalid:
    """The error that says what is wrong at `key` of the table at `place`, and how to mend it."""
    where = place.of(key)
    return ScenarioInvalid(f"{where}: {message}" if where else message, hint=hint, param=key or None)


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to write values."""

    parse: Callable[[Any], Any]  # raises UsageError
    schema: Mapping[str, Any]
    unit: str = ""  # how it is written, for people
    show: Callable[[float], str] = "{:,.10g}".format


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key."""

    kind: Kind
    meaning: str
    name: str = ""  # in the file; empty: as the field
    known: tuple[str, ...] | tuple[float, ...] = ()  # all that it may be
    least: float | None = None
    above: float | None = None
    most: float | None = None

    def range_text(self) -> str:
        """Which numbers it takes, for people."""
        show = self.kind.show
        low = f"of at least {show(self.least)}" if self.least is not None else f"above {show(self.above)}" if self.above is not None else ""
        high = f"of at most {show(self.most)}" if self.most is not None else ""
        return " and ".join(part for part in (low, high) if part)

    def admits(self, value: float) -> bool:
        least, above, most = self.least, self.above, self.most
        return (least is None or value >= least) and (above is None or value > above) and (most is None or value <= most)


@dataclass(frozen=True, slots=True)
class Table:
    """Tables within a table: `[[name]]`, or a single one: `[name]`."""

    name: str
    meaning: str
    spec: type
    single: bool = False


def keys_of(spec: type) -> dict[str, tuple[Field[Any], Key | Table]]:
    """The keys of a spec by their name in the file, in order. Fields that are no key are left out."""
    return dict(_keys_of(spec))


@cache
def _keys_of(spec: type) -> tuple[tuple[str, tuple[Field[Any], Key | Table]], ...]:
    hints = get_type_hints(spec, include_extras=True)
    found = []
    for each in fields(spec):
        mark = next((mark for mark in getattr(hints[each.name], "__metadata__", ()) if isinstance(mark, Key | Table)), None)
        if mark is not None:
            found.append((mark.name or each.name, (each, mark)))
    return tuple(found)


def is_needed(each: Field[Any]) -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{value!r} is no text", hint='write it in quotes, "like this"')
    return value


def _file(value: Any) -> str:
    if not _text(value).strip():
        raise UsageError("an empty path names no file", hint="write the path of a file, relative to this one, or leave the key out")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{value!r} is no number", hint="write a finite number, without quotes")
    return float(value)


def _whole(value: Any) -> int:
    if _number(value) != int(value):
        raise UsageError(f"{value!r} is no whole number", hint="write it without a fraction")
    return int(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{value!r} is neither true nor false", hint="write true or false, without quotes")
    return value


def _quantity(parse: Callable[[str | float], float]) -> Callable[[Any], float]:
    return lambda value: parse(value) if isinstance(value, str) else parse(_number(value))


def _span(value: Any) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2 or not 0 < _whole(value[0]) <= _whole(value[1]):
        raise UsageError(f"{value!r} is no range", hint="write [lowest, highest], the lowest above 0")
    return (int(value[0]), int(value[1]))


def _ends(value: Any) -> tuple[str, str]:
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(end, str) for end in value):
        raise UsageError(f"{value!r} does not name two nodes", hint='write ["device1", "edge1"]')
    return (value[0], value[1])


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise UsageError(f"{value!r} is no list of names", hint='write ["one", "other"]')
    return tuple(value)


def _numbers(value: Any) -> dict[str, int]:
    if not isinstance(value, dict):
        raise UsageError(f"{value!r} is no table", hint="write { token = 80, update = 9 }")
    return {name: _whole(number) for name, number in value.items()}


def _written(pattern: str) -> dict[str, Any]:
    number = r"\s*[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?\s*"
    return {"anyOf": [{"type": "number"}, {"type": "string", "pattern": f"^{number}({pattern})?\\s*$"}]}


TEXT = Kind(_text, {"type": "string"}, "text")
FILE = Kind(_file, {"type": "string", "minLength": 1}, "path")
NUMBER = Kind(_number, {"type": "number"}, "number")
WHOLE = Kind(_whole, {"type": "number"}, "whole number")
FLAG = Kind(_flag, {"type": "boolean"}, "`true` or `false`")
DURATION = Kind(_quantity(parse_duration_s), _written("us|ms|s|m|min|h|d"), "`8ms`, `2s`, or seconds")
RATE = Kind(_quantity(parse_rate_bps), _written("[kKmMgG]?bps"), "`500kbps`, `20Mbps`, `1Gbps`, or bit/s")
FREQUENCY = Kind(_quantity(parse_frequency_hz), _written("[kKmMgG]?[hH]z"), "`30kHz`, `100MHz`, or Hz", format_frequency)
SPEED = Kind(_quantity(parse_speed_m_per_s), _written("km/h|m/s"), "`120km/h`, or m/s")
SHARE = Kind(_quantity(parse_share), _written("%"), "`1%`, or `0.01`")
SPAN = Kind(_span, {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 2}, "`[lowest, highest]`")
ENDS = Kind(_ends, {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}, "`[first, second]`")
TEXTS = Kind(_texts, {"type": "array", "items": {"type": "string"}}, '`["one", "other"]`')
NUMBERS = Kind(_numbers, {"type": "object", "additionalProperties": {"type": "integer"}}, "a table of whole numbers")
