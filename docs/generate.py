"""Writes docs/reference/*.md from the sources of truth; `make docs` runs it.

A page holds nothing that its source does not say: the argument parsers, the tables of settings, metrics
and errors, the specs of scenarios, and the wire's definition. `tests/docs/test_reference.py` fails when a
page is not what this makes.
"""

import contextlib
import dataclasses
import inspect
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from netgpt.cli import main as cli
from netgpt.core.errors import ERRORS, NetgptError
from netgpt.core.settings import SETTINGS
from netgpt.models import card, generation, grammar
from netgpt.network import member, offer, scenario, scenario_file
from netgpt.network.profile import profiles
from netgpt.network.scenario_key import Key, Table, is_needed, keys_of
from netgpt.network.scenario_schema import schema_text
from netgpt.network.shape import shapes
from netgpt.network.topology_picture import topology_picture
from netgpt.telemetry.metrics import table as metric_table
from netgpt.wire import fault, messages

REFERENCE = Path(__file__).parent / "reference"
PICTURE = Path(__file__).parent / "pictures" / "topology" / "vehicles.svg"
SCHEMA = Path(scenario.__file__).with_name("scenario.schema.json")
MADE = "<!-- Made by docs/generate.py: change the source, then run `make docs`. -->"


def cli_page() -> str:
    """Every command's help."""
    with _columns(100):
        parts = ["# Commands", CLI_RULES, _fence("text", _help_without_verb())]
        for verb in cli.VERBS:
            parts += [f"## netgpt {verb}", _fence("text", cli.verb_parser(verb).format_help())]
    return "\n\n".join(parts)


CLI_RULES = """Listings go to standard output, with `--json` as JSON alone; progress and errors go to standard error.
Exit statuses: [errors](errors.md). Settings by environment variable: [settings](settings.md)."""


@contextlib.contextmanager
def _columns(width: int) -> Iterator[None]:
    """A terminal of this width, to which argparse wraps its help."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(width)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _help_without_verb() -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        cli.main(["--help"])
    return said.getvalue()


def settings_page() -> str:
    """The table of settings."""
    rows = [[f"`{one.name}`", f"`{one.variable}`", one.kind, _default(one.default), "yes" if one.in_scenario else "", one.help] for one in SETTINGS]
    return "\n\n".join([
        "# Settings",
        "A setting's value comes from the first of: a flag of the command, the environment variable, the scenario (where it can), the default. "
        "An unknown `NETGPT_` variable is an error. `netgpt config show` prints every value and where it comes from.",
        _table(["setting", "variable", "kind", "default", "in a scenario", "meaning"], rows),
    ])  # fmt: skip


def _default(value: object) -> str:
    return "the platform's" if value is None else f"`{value}`" if value != "" else "empty"


def metrics_page() -> str:
    """The table of metrics."""
    rows = [[f"`{one.name}`", one.kind, one.unit, " ".join(f"`{label}`" for label in one.labels), one.help] for one in metric_table()]
    buckets = [f"- `{one.name}`: {', '.join(f'{bound:g}' for bound in one.buckets)}" for one in metric_table() if one.buckets]
    return "\n\n".join([
        "# Metrics",
        "Every door, and the controller, shows them in Prometheus' text format at `/metrics`. No label carries content, a user or a request.",
        _table(["metric", "kind", "unit", "labels", "meaning"], rows),
        "## Upper bounds of the buckets",
        "\n".join(buckets),
    ])  # fmt: skip


def errors_page() -> str:
    """Errors by code, and the exit statuses of commands."""
    rows = [[f"`{error.code}`", f"`{error.type}`", error.status, error.exit_code, _meaning(error)] for error in ERRORS]
    exits = [[0, "done"], [cli.INTERRUPTED, "interrupted by Ctrl-C"], [cli.BROKEN_PIPE, "the reader of the output went away"]]
    example = NetgptError("what happened", hint="what to do next", param="the field at fault, or null").body("chatcmpl-...")
    return "\n\n".join([
        "# Errors",
        "Over HTTP an error is OpenAI's object with `request_id` and `hint` beside it; in a stream that has begun it is the last event. "
        "A command prints the message and the next step to standard error and ends with the exit status.",
        _fence("json", json.dumps(example, indent=2)),
        _table(["code", "type", "HTTP status", "exit status", "meaning"], rows),
        "Other exit statuses:",
        _table(["exit status", "meaning"], exits),
    ])  # fmt: skip


def scenario_page() -> str:
    """The keys of a scenario file, the shipped scenarios and the hardware profiles."""
    parts = [
        "# Scenarios",
        "A scenario is a TOML file that describes a whole network; [Scenarios](../scenarios.md) tells how to write one. What is unknown or out of "
        "range is refused with file, line and the way to mend it. `netgpt up SCENARIO` and `netgpt simulate SCENARIO` take a shipped scenario's "
        "name or a path, `netgpt scenario list`, `show` and `check` list, draw and check them.",
        "## The file",
        *_spec(scenario.Scenario),
    ]
    for name, (_, mark) in keys_of(scenario.Scenario).items():
        if isinstance(mark, Table):
            parts += [f"## [{name}]" if mark.single else f"## [[{name}]]", _meaning(mark.spec), *_spec(mark.spec)]
            parts += [part for inner in _tables(mark.spec) for part in (f"### [[{name}.{inner.name}]]", _meaning(inner.spec), *_spec(inner.spec))]
    machines = [
        [
            _names(one.id, *one.aliases),
            one.kind,
            f"{one.flops['bf16']:.3g}",
            f"{one.memory_bytes_per_s:.3g}",
            f"{one.memory_bytes:.3g}",
            one.busy_w,
            one.source,
        ]
        for one in profiles().values()
    ]
    headings = ["profile", "class", "16-bit FLOP/s", "bytes/s of memory", "bytes of memory", "W", "source"]
    parts += ["## Hardware profiles", "What is made of them: [hardware](../hardware.md).", _table(headings, machines)]
    cards = [[f"`{one.id}`", f"{one.parameters:,}", one.layers, one.context_tokens, one.licence, one.source] for one in shapes().values()]
    parts += ["## Cards of published models", _table(["card", "parameters", "layers", "context", "licence", "source"], cards)]
    for name in scenario_file.shipped_scenarios():
        text = (resources.files("netgpt.network") / "scenarios" / f"{name}.toml").read_text(encoding="utf-8")
        parts += [f"## Shipped: {name}", _fence("toml", text)]
    return "\n\n".join(parts)


def _names(*names: str) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _tables(spec: type) -> list[Table]:
    return [mark for _, mark in keys_of(spec).values() if isinstance(mark, Table)]


def _spec(spec: type) -> Iterable[str]:
    """The table of a spec's keys."""
    rows = []
    for name, (each, mark) in keys_of(spec).items():
        if isinstance(mark, Table):
            rows.append([f"`{name}`", "a table" if mark.single else "tables", "", mark.meaning])
        else:
            rows.append(
                [
                    f"`{name}`",
                    _written(mark),
                    "needed" if is_needed(each) and spec is not scenario.Scenario else _in_file(mark, each.default),
                    mark.meaning,
                ]
            )
    yield _table(["key", "value", "default", "meaning"], rows)


def _written(key: Key) -> str:
    """How a key's value is written, and which values there are."""
    if key.known:
        return ", ".join(f"`{one}`" if isinstance(one, str) else f"`{key.kind.show(one).replace(' ', '')}`" for one in key.known)
    return ", ".join(part for part in (key.kind.unit, key.range_text()) if part)


def _in_file(key: Key, default: Any) -> str:
    """A default as it would be written; empty if leaving the key out is something of its own."""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, int | float):
        shown = key.kind.show(default).replace(" ", "")
        return f"`{shown}`" if key.admits(default) else ""
    return f"`{list(default)}`" if isinstance(default, tuple) else f"`{default}`" if isinstance(default, str) and default else ""


def wire_page() -> str:
    """The calls and messages of `netgpt.proto`, with what their dataclasses say."""
    proto = resources.files("netgpt.wire").joinpath("netgpt.proto").read_text(encoding="utf-8")
    preface = re.sub(r"^// ?", "", proto.partition("\nsyntax")[0], flags=re.MULTILINE).partition("\nAfter a change:")[0].strip()
    calls = re.findall(r"^  rpc (\w+)\((\w+)\) returns \((stream )?(\w+)\);", proto, re.MULTILINE)
    parts = [
        "# The wire",
        preface,
        f"This is protocol version {messages.PROTOCOL_VERSION}. The definition is `src/netgpt/wire/netgpt.proto`.",
        "## Calls",
        _table(["method", "request", "reply"], [[f"`{name}`", f"`{ask}`", f"{stream}`{reply}`"] for name, ask, stream, reply in calls]),
    ]
    for name, body in re.findall(r"^message (\w+) \{(.*?)\}", proto, re.MULTILINE | re.DOTALL):
        parts += [f"## {name}", *_message(name, body)]
    return "\n\n".join(parts)


def _message(name: str, body: str) -> Iterable[str]:
    kind = next((vars(module)[name] for module in (generation, grammar, card, member, offer, messages, fault) if name in vars(module)), None)
    if kind is not None and (text := _meaning(kind)):
        yield text
    comments = _field_comments(kind) if kind else {}
    rows = []
    for rule, type_name, field, number, note in re.findall(r"(optional |repeated )?(\w+) (\w+) = (\d+);(?:\s*// (.*))?", body):
        meaning = "; ".join(dict.fromkeys(text for text in (comments.get(field, ""), note) if text))
        rows.append([number, f"`{field}`", f"{rule}{type_name}", meaning])
    yield _table(["number", "field", "type", "meaning"], rows) if rows else "It has no field."


def _field_comments(kind: type) -> dict[str, str]:
    """The comment beside each field of a dataclass."""
    found = re.findall(r"^    (\w+): [^#\n]*# (.*)$", inspect.getsource(kind), re.MULTILINE)
    return {name: text for name, text in found if name in {field.name for field in dataclasses.fields(kind)}}


def _meaning(kind: type) -> str:
    """The first paragraph of a docstring; empty for the one that dataclasses make themselves."""
    text = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    return "" if text.startswith(kind.__name__ + "(") else text


def _table(heading: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _fence(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"


PAGES: dict[str, Callable[[], str]] = {
    "cli": cli_page,
    "settings": settings_page,
    "metrics": metrics_page,
    "errors": errors_page,
    "scenario": scenario_page,
    "wire": wire_page,
}


def page(name: str) -> str:
    """The whole text of one page."""
    heading, _, rest = PAGES[name]().partition("\n")
    return f"{heading}\n\n{MADE}\n{rest}\n"


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for name in PAGES:
        (REFERENCE / f"{name}.md").write_text(page(name), encoding="utf-8")
        print(f"docs/reference/{name}.md")
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    PICTURE.write_text(topology_picture(scenario_file.load_scenario("vehicles")), encoding="utf-8")
    print(SCHEMA.name, PICTURE.name)
