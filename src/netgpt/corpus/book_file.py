"""Book files: a network of one's own as TOML, asked by the same families as the generated books.

`name = "..."`, then `[[site]]` (name, rarity, uplink, vendor, region, band, unit), `[[code]]` (code, vendor,
cause, rarity) and `[[word]]` (vendor, operation, word); docs/corpus.md describes them. Depths follow from the
uplinks. Graders tell the names apart regardless of case, so that these must differ that way, too.

Refuses, with file and line, what the families could not ask or grade: a duplicate site, unit, code or word,
an uplink that is no site or leads in a circle, an unknown vendor, region, band, operation or cause, and a
book without a site or code for some grade.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from netgpt.core.errors import StorageFailed, UsageError
from netgpt.core.spelling import did_you_mean
from netgpt.corpus.book import BANDS, OPERATIONS, REGIONS, VENDORS, AlarmCode, Book, Site
from netgpt.corpus.reading import read_facts
from netgpt.corpus.task import GRADES

_FORMAT = "see docs/corpus.md for the format of book files"
_FIELDS: dict[str, dict[str, type]] = {
    "site": {"name": str, "rarity": int, "uplink": str, "vendor": str, "region": str, "band": str, "unit": str},
    "code": {"code": str, "vendor": str, "cause": str, "rarity": int},
    "word": {"vendor": str, "operation": str, "word": str},
}
_NEW_NAMES = {"site": {"name": "[A-Za-z]+", "unit": "[A-Za-z0-9]+"}, "code": {"code": "[A-Za-z0-9]+"}, "word": {"word": "[A-Za-z]+"}}
_Row = tuple[int, dict[str, Any]]  # (line of its heading, fields)


def book_text(book: Book) -> str:
    """The book as the text of a book file."""
    parts = [f'name = "{book.name}"']
    parts += [_table("site", {field: getattr(site, field) for field in _FIELDS["site"]}) for site in book.sites]
    parts += [_table("code", {field: getattr(code, field) for field in _FIELDS["code"]}) for code in book.codes]
    parts += [_table("word", {"vendor": vendor, "operation": operation, "word": word}) for (vendor, operation), word in book.dialects.items()]
    return "\n\n".join(parts) + "\n"


def write_book_file(path: Path, book: Book) -> None:
    """Write a book, to be changed and read back.

    Raises:
        StorageFailed: it cannot be written.
    """
    try:
        path.write_text(book_text(book), encoding="utf-8")
    except OSError as error:
        raise StorageFailed(f"cannot write {str(path)!r}: {error.strerror}", hint="free space, or choose another file") from error


def read_book_file(path: Path) -> Book:
    """The book of a file, checked.

    Raises:
        UsageError: it cannot be read, or something in it is wrong; names the file and the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {str(path)!r}: {error}", hint="give the path of a book file in UTF-8", param=str(path)) from error
    return parse_book(text, path.name)


def parse_book(text: str, file_name: str) -> Book:
    """The book of a file's text; raises UsageError as `read_book_file`."""
    content = _content(text, file_name)
    rows = {kind: _rows(text, content, kind, file_name) for kind in _FIELDS}
    _check_names(rows, file_name)
    _check_known(rows, file_name)
    book = Book(
        name=content["name"],
        sites=_sites(rows["site"], file_name),
        codes=tuple(AlarmCode(**fields) for _, fields in rows["code"]),
        dialects=_dialects(rows["word"], file_name),
    )
    _check_complete(book, file_name)
    return book


def _table(kind: str, fields: Mapping[str, object]) -> str:
    lines = (f"{name} = {value}" if isinstance(value, int) else f'{name} = "{value}"' for name, value in fields.items())
    return "\n".join([f"[[{kind}]]", *lines])


def _wrong(file_name: str, line: int, problem: str, hint: str = _FORMAT) -> UsageError:
    return UsageError(f"{file_name}, line {line}: {problem}", hint=hint)


def _content(text: str, file_name: str) -> dict[str, Any]:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"line (\d+)", str(error))
        raise _wrong(file_name, int(found[1]) if found else text.count("\n") + 1, f"no TOML: {error}") from error
    for key in content:
        if key not in ("name", *_FIELDS):
            raise UsageError(f"{file_name}: unknown key {key!r}", hint=did_you_mean(key, ("name", *_FIELDS)))
    if not isinstance(content.get("name"), str) or not re.fullmatch(r"[\w-]+", content["name"]):
        raise _wrong(file_name, 1, f"name is {content.get('name')!r}", 'begin with a name for the book: name = "my-network"')
    return content


def _rows(text: str, content: Mapping[str, Any], kind: str, file_name: str) -> list[_Row]:
    """The tables of a kind with their lines, every field there and of the right type."""
    tables = content.get(kind, [])
    lines = [number for number, line in enumerate(text.splitlines(), start=1) if re.match(rf"\s*\[\[\s*{kind}\s*\]\]", line)]
    if not isinstance(tables, list) or len(lines) != len(tables):
        raise UsageError(f"{file_name}: {kind} is no list of tables", hint=f"write each under a heading [[{kind}]] on its own line")
    for line, table in zip(lines, tables, strict=True):
        _check_fields(line, table, kind, file_name)
    return list(zip(lines, tables, strict=True))


def _check_fields(line: int, table: Mapping[str, object], kind: str, file_name: str) -> None:
    fields = _FIELDS[kind]
    for name in {**fields, **table}:
        if name not in fields:
            raise _wrong(file_name, line, f"unknown field {name!r} of a {kind}", did_you_mean(name, fields))
        if name not in table:
            raise _wrong(file_name, line, f"missing field {name!r} of a {kind}", f"a {kind} has {', '.join(fields)}")
        if type(table[name]) is not fields[name]:
            raise _wrong(file_name, line, f"{name} is {table[name]!r}", f"{name} wants {'a whole number' if fields[name] is int else 'a text'}")
    if "rarity" in fields and table["rarity"] not in GRADES:
        raise _wrong(file_name, line, f"rarity is {table['rarity']}", f"a rarity class is a number from {GRADES[0]} to {GRADES[-1]}")


def _check_names(rows: Mapping[str, list[_Row]], file_name: str) -> None:
    """Every new name is fit to stand in a sentence, and stands for one thing."""
    taken = dict.fromkeys((name.casefold() for name in (*VENDORS, *REGIONS, *BANDS, *OPERATIONS)), 0)
    for kind, patterns in _NEW_NAMES.items():
        for line, table in rows[kind]:
            for field, pattern in patterns.items():
                name = table[field]
                if not re.fullmatch(pattern, name):
                    raise _wrong(file_name, line, f"{field} is {name!r}", f"a {kind}'s {field} is written with {pattern}")
                if name.casefold() in taken:
                    first = taken[name.casefold()]
                    where = f"first on line {first}" if first else "the name of a vendor, region, band or operation"
                    raise _wrong(file_name, line, f"duplicate {kind if field in ('name', kind) else field} {name!r}, {where}", "choose another name")
                taken[name.casefold()] = line


def _check_known(rows: Mapping[str, list[_Row]], file_name: str) -> None:
    causes = tuple(cause["name"] for cause in read_facts("alarms.toml")["cause"])
    known: dict[str, Collection[str]] = {"vendor": VENDORS, "region": REGIONS, "band": BANDS, "operation": OPERATIONS, "cause": causes}
    for line, table in (row for kind in _FIELDS for row in rows[kind]):
        for field in known.keys() & table.keys():
            if table[field] not in known[field]:
                raise _wrong(file_name, line, f"unknown {field} {table[field]!r}", did_you_mean(table[field], known[field]))


def _sites(rows: list[_Row], file_name: str) -> tuple[Site, ...]:
    """The sites with their depths, the gateways first."""
    uplinks = {table["name"]: table["uplink"] for _, table in rows}
    sites = [Site(**table, depth=_depth(table["name"], uplinks, line, file_name)) for line, table in rows]
    return tuple(sorted(sites, key=lambda site: site.depth > 0))


def _depth(name: str, uplinks: Mapping[str, str], line: int, file_name: str) -> int:
    chain = [name]
    while uplink := uplinks[chain[-1]]:
        if uplink not in uplinks:
            raise _wrong(file_name, line, f"unknown uplink {uplink!r} of site {chain[-1]!r}", did_you_mean(uplink, uplinks))
        if uplink in chain:
            raise _wrong(file_name, line, f"the uplinks lead in a circle: {' > '.join([*chain, uplink])}", 'a gateway has the uplink ""')
        chain.append(uplink)
    if len(chain) - 1 > GRADES[-1]:
        raise _wrong(file_name, line, f"site {name!r} is {len(chain) - 1} hops from its gateway", f"at most {GRADES[-1]} hops can be asked")
    return len(chain) - 1


def _dialects(rows: list[_Row], file_name: str) -> dict[tuple[str, str], str]:
    dialects: dict[tuple[str, str], str] = {}
    for line, table in rows:
        pair = table["vendor"], table["operation"]
        if pair in dialects:
            raise _wrong(file_name, line, f"a second word of {pair[0]} for {pair[1]}", "remove one of the two")
        dialects[pair] = table["word"]
    return dialects


def _check_complete(book: Book, file_name: str) -> None:
    """There is something to ask at every grade."""
    for grade in GRADES:
        counts = {
            f"no site below a gateway has rarity {grade}": book.by_rarity[grade],
            f"no site is {grade} hops from its gateway": book.by_depth[grade],
            f"no code has rarity {grade}": book.codes_by_rarity[grade],
        }
        for problem, found in counts.items():
            if not found:
                raise UsageError(f"{file_name}: {problem}", hint="every grade from 1 to 6 must have something to ask: add one")
    missing = [f"{vendor} {operation}" for vendor in VENDORS for operation in OPERATIONS if (vendor, operation) not in book.dialects]
    if missing:
        raise UsageError(f"{file_name}: no word for {missing[0]} ({len(missing)} missing)", hint="every vendor has a word for every operation")
