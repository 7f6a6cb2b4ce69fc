"""Scenario files: TOML in, a checked `Scenario` out. Whatever is wrong is named with its file, its line and the way to mend it.

Shipped scenarios lie beside this module in `scenarios/`. What a key may be stands with the specs; what only the
whole file can tell is `scenario_check`; tables that stand for many are written out by `scenario_count`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path as FilePath
from typing import Any, TypeVar

from netgpt.core.errors import ScenarioInvalid, UsageError
from netgpt.core.spelling import did_you_mean
from netgpt.network.scenario import Scenario
from netgpt.network.scenario_check import check_files, check_scenario, is_file_name
from netgpt.network.scenario_count import write_out
from netgpt.network.scenario_key import Key, Place, Table, is_needed, keys_of, refusal
from netgpt.network.toml_lines import Path, line_of, toml_lines

Spec = TypeVar("Spec")


def shipped_scenarios() -> list[str]:
    """Names of the scenarios that come with the package."""
    folder = resources.files("netgpt.network") / "scenarios"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_scenario(name_or_path: str) -> Scenario:
    """A shipped scenario by name, or a file by path; the traces that it names must be there.

    Raises:
        ScenarioInvalid: unknown name, unreadable file, or anything wrong inside, named with its file and line.
    """
    if name_or_path in shipped_scenarios():
        text = (resources.files("netgpt.network") / "scenarios" / f"{name_or_path}.toml").read_text(encoding="utf-8")
        scenario = parse_scenario(text, where=f"{name_or_path}.toml")
    else:
        path = FilePath(name_or_path)
        if not path.is_file():
            hint = did_you_mean(name_or_path, shipped_scenarios()) + "; or give the path of a .toml file"
            raise ScenarioInvalid(f"no scenario {name_or_path!r}", hint=hint)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ScenarioInvalid(f"scenario {name_or_path!r} cannot be read: {error}", hint="check the path and its permissions") from error
        scenario = _beside(parse_scenario(text, where=str(path)), path.parent)
    check_files(scenario)
    return scenario


def parse_scenario(text: str, *, where: str) -> Scenario:
    """The scenario that `text` describes; `where` is the file that errors name. Other files are not looked at.

    Raises:
        ScenarioInvalid: with `where`, the line, and the way to mend it.
    """
    try:
        rows = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _not_toml(text, where, str(error)) from error
    source = _Source(where, toml_lines(text))
    place = source.place(())
    if not rows.get("node"):
        raise refusal(place, "node", "the scenario has no node", "add at least one [[node]] table")
    given = {"name": FilePath(where).stem, "description": "", "link": [], "default_node": _first_id(rows["node"])}
    scenario = _read(source, Scenario, given | rows, (), "the scenario")
    check_scenario(scenario)
    return write_out(scenario)


def _not_toml(text: str, where: str, said: str) -> ScenarioInvalid:
    at = re.search(r" \(at line (\d+), column (\d+)\)| \(at end of document\)", said)
    line = int(at[1]) if at and at[1] else max(1, len(text.splitlines()))
    said = said.replace(at[0], f" in column {at[2]}" if at[1] else " at the end of the file") if at else said
    return ScenarioInvalid(f"{where}:{line}: not valid TOML: {said}", hint="mend that line: https://toml.io/en/v1.0.0")


def _first_id(nodes: Any) -> str:
    first = nodes[0] if isinstance(nodes, list) else nodes
    return str(first.get("id", "")) if isinstance(first, dict) else ""


def _beside(scenario: Scenario, folder: FilePath) -> Scenario:
    """The scenario with the paths in it, which are relative to its folder, made whole."""

    def whole(path: str) -> str:
        return str(folder / path) if path else ""

    def trace(name: str) -> str:
        return whole(name) if is_file_name(name) else name

    def model(name: str) -> str:
        return str(folder / name) if name.startswith(("./", "../")) else name

    return replace(
        scenario,
        nodes=tuple(replace(node, recording=whole(node.recording), model=model(node.model)) for node in scenario.nodes),
        links=tuple(replace(link, up_trace=trace(link.up_trace), down_trace=trace(link.down_trace)) for link in scenario.links),
        attachments=tuple(replace(each, up_trace=trace(each.up_trace), down_trace=trace(each.down_trace)) for each in scenario.attachments),
        users=tuple(replace(user, trace=whole(user.trace)) for user in scenario.users),
    )


@dataclass(frozen=True)
class _Source:
    """The text that is read, as far as errors need it."""

    file: str
    lines: dict[Path, int]

    def place(self, path: Path) -> Place:
        depth = len(path)
        keys = {str(at[depth]): line for at, line in self.lines.items() if len(at) == depth + 1 and at[:depth] == path}
        return Place(self.file, line_of(self.lines, path) or 1, keys)


def _read(source: _Source, spec: type[Spec], row: Mapping[str, Any], path: Path, what: str) -> Spec:
    """One table as its spec."""
    place, known = source.place(path), keys_of(spec)
    for key in row:
        if key not in known:
            raise refusal(place, key, f"unknown key {key!r} in {what}", did_you_mean(key, known))
    values: dict[str, Any] = {"place": place} if "place" in getattr(spec, "__dataclass_fields__", {}) else {}
    for name, (each, mark) in known.items():
        if name not in row:
            if is_needed(each):
                raise refusal(place, "", f"{what} lacks {name!r}", f"add {name} = ...")
        elif isinstance(mark, Table):
            read = _read_single if mark.single else _read_all
            values[each.name] = read(source, mark, row[name], (*path, name), place)
        else:
            values[each.name] = _value(mark, row[name], each.default, place, name, what)
    return spec(**values)


def _read_all(source: _Source, table: Table, rows: Any, path: Path, place: Place) -> tuple[Any, ...]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise refusal(place, table.name, f"{table.name!r} is not a list of tables", f"write [[{table.name}]] above the keys of each")
    return tuple(_read(source, table.spec, row, (*path, number), f"{table.name} {number + 1}") for number, row in enumerate(rows))


def _read_single(source: _Source, table: Table, row: Any, path: Path, place: Place) -> Any:
    if not isinstance(row, dict):
        raise refusal(place, table.name, f"{table.name!r} is not a table", f"write [{table.name}] above its keys")
    return _read(source, table.spec, row, path, table.name)


def _value(key: Key, raw: Any, default: Any, place: Place, name: str, what: str) -> Any:
    try:
        value = key.kind.parse(raw)
    except UsageError as error:
        raise refusal(place, name, f"{name!r} of {what}: {error.message}", error.hint) from error
    if key.known and value not in key.known and value != default:
        raise refusal(place, name, f"unknown {name} {raw!r} in {what}", _hint(raw, key.known))
    if isinstance(value, int | float) and not key.admits(value):
        raise refusal(place, name, f"{name!r} of {what} is {raw!r}", f"give a value {key.range_text()}")
    return value


def _hint(raw: Any, known: tuple[Any, ...]) -> str:
    return did_you_mean(raw, known) if isinstance(raw, str) and isinstance(known[0], str) else "known: " + ", ".join(f"{one:g}" for one in known)
