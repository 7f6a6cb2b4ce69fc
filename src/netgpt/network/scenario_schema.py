"""The JSON Schema of scenario files, made from the specs: editors complete and check with it (`#:schema`).

It says what a single value may be; what only the whole file can tell stays with the reader.
"""

from __future__ import annotations

import json
import re
from typing import Any

from netgpt.network.scenario import Scenario
from netgpt.network.scenario_key import NUMBERS, Key, Table, is_needed, keys_of

DRAFT = "http://json-schema.org/draft-07/schema#"  # the newest that editors' TOML plugins know
NEEDED_IN_FILE = ("node",)  # all else of a scenario has a value without being written


def scenario_schema() -> dict[str, Any]:
    """The schema as JSON values."""
    return {
        "$schema": DRAFT,
        "title": "NetGPT scenario",
        **_object(Scenario),
        "required": list(NEEDED_IN_FILE),
    }


def schema_text() -> str:
    """The schema as the file `scenario.schema.json` holds it."""
    return json.dumps(scenario_schema(), indent=2, ensure_ascii=False) + "\n"


def _object(spec: type) -> dict[str, Any]:
    known = keys_of(spec)
    properties = {name: _table(mark) if isinstance(mark, Table) else _value(mark) for name, (_, mark) in known.items()}
    needed = [name for name, (each, _) in known.items() if is_needed(each)]
    return {"type": "object", "additionalProperties": False, "required": needed, "properties": properties}


def _table(table: Table) -> dict[str, Any]:
    if table.single:
        return {"description": table.meaning, **_object(table.spec)}
    return {"type": "array", "description": table.meaning, "items": _object(table.spec)}


def _value(key: Key) -> dict[str, Any]:
    schema = {"description": re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", key.meaning), **key.kind.schema}
    limits = {"minimum": key.least, "exclusiveMinimum": key.above, "maximum": key.most}
    limits = {word: limit for word, limit in limits.items() if limit is not None}
    if key.known and isinstance(key.known[0], str):
        schema["enum"] = list(key.known)
    if limits and key.kind is not NUMBERS:
        if "anyOf" in schema:  # written with a unit or as a plain number: only the latter has a range here
            schema["anyOf"] = [schema["anyOf"][0] | limits, schema["anyOf"][1]]
        else:
            schema |= limits
    return schema
