"""Recordings: what models said to tasks, token by token, with what and when, as one Parquet file.

One row is one model's answer to one task; docs/recordings.md lists the columns, from `COLUMNS` here. The
file says which schema it has and how it was made. `bench.recorder` writes it, `engine.replay_engine` plays it.
Knows neither graders nor engines. Reading and writing need pyarrow (the extra `replay`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from netgpt import __version__
from netgpt.core.errors import MissingExtra, StorageFailed, UsageError
from netgpt.core.spelling import did_you_mean

SCHEMA_VERSION = 1
SCHEMA_KEY, RELEASE_KEY, RUNS_KEY = b"netgpt.schema_version", b"netgpt.version", b"netgpt.runs"
ROWS_A_GROUP = 256


class Column(NamedTuple):
    """One column: its type in pyarrow's words, its unit, and what it holds."""

    type: str
    unit: str
    meaning: str


COLUMNS: dict[str, Column] = {
    "schema_version": Column("int32", "", "version of this table; a reader refuses one that it does not know"),
    "task_id": Column("string", "", "the task's id, equal for equal questions"),
    "family": Column("string", "", "the task's family, which has its grader"),
    "grade": Column("int32", "", "latent depth of the task, 1 to 6"),
    "language": Column("string", "", "`en` or `zh`"),
    "template": Column("string", "", "id of the wording"),
    "messages": Column("string", "JSON", 'the prompt: a list of `{"role", "content"}`'),
    "reference": Column("string", "", "the answer that is wanted"),
    "upstream": Column("string", "URL", "base URL that was asked, without user and password"),
    "model": Column("string", "", "the model's id at the upstream"),
    "answer": Column("string", "", "the text of the answer"),
    "finish_reason": Column("string", "", "`stop`, `length`, or what else the upstream said"),
    "correct": Column("bool", "", "whether the family's grader accepts the answer; null if there is no such grader"),
    "tokens": Column("list<binary>", "bytes", "the answer's tokens, without the one that ends it; joined they are its text. "
                     "Without log-probabilities: the pieces as they came"),
    "logprobs": Column("list<double>", "nats", "log-probability of each token; null if the upstream gives none"),
    "top_tokens": Column("list<list<binary>>", "bytes", "the likeliest tokens at each position; null as `logprobs`"),
    "top_logprobs": Column("list<list<double>>", "nats", "their log-probabilities; null as `logprobs`"),
    "arrivals_s": Column("list<double>", "s", "when each token arrived, from when the request was sent; tokens of one chunk arrive at once"),
    "time_to_first_token_s": Column("double", "s", "the first arrival; null if no token came"),
    "total_s": Column("double", "s", "from when the request was sent to the end of the answer"),
    "prompt_tokens": Column("int64", "tokens", "of the prompt, as the upstream counts them; null if it does not say"),
    "completion_tokens": Column("int64", "tokens", "of the answer, as the upstream counts them; null if it does not say"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """One model's answer to one task; the fields are the columns of `COLUMNS`."""

    task_id: str
    family: str
    grade: int
    language: str
    template: str
    messages: tuple[tuple[str, str], ...]  # (role, content)
    reference: str
    upstream: str
    model: str
    answer: str
    finish_reason: str
    correct: bool | None
    tokens: tuple[bytes, ...]
    logprobs: tuple[float, ...] | None
    top_tokens: tuple[tuple[bytes, ...], ...] | None
    top_logprobs: tuple[tuple[float, ...], ...] | None
    arrivals_s: tuple[float, ...]
    time_to_first_token_s: float | None
    total_s: float
    prompt_tokens: int | None
    completion_tokens: int | None
    schema_version: int = SCHEMA_VERSION

    @property
    def source(self) -> tuple[str, str]:
        """Who answered: (upstream, model)."""
        return (self.upstream, self.model)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A whole file."""

    path: str
    rows: tuple[Recorded, ...]
    runs: tuple[Mapping[str, Any], ...] = ()  # settings of each run that added to it

    def models(self) -> dict[str, tuple[str, str]]:
        """The recorded models by name, as first met: the model's id, or `model@upstream` where two upstreams have that id."""
        sources = list(dict.fromkeys(row.source for row in self.rows))
        ids = [model for _, model in sources]
        return {model if ids.count(model) == 1 else f"{model}@{upstream}": (upstream, model) for upstream, model in sources}

    def of_model(self, name: str) -> list[Recorded]:
        """The rows of one model.

        Raises:
            UsageError: it is not in the recording.
        """
        known = self.models()
        if name not in known:
            raise UsageError(f"recording {self.path!r} has no model {name!r}", hint=did_you_mean(name, known), param="model")
        return [row for row in self.rows if row.source == known[name]]


def read_recording(path: Path) -> Recording:
    """A recording, all of it in memory.

    Raises:
        UsageError: no such file, no recording, or one of another schema version.
        MissingExtra: pyarrow is not installed.
    """
    with _parquet_file(path) as file:
        rows = tuple(_rows(file))
        runs = json.loads((file.schema_arrow.metadata or {}).get(RUNS_KEY, b"[]"))
    return Recording(path=str(path), rows=rows, runs=tuple(runs))


def stream_recording(path: Path) -> Iterator[Recorded]:
    """The rows of a recording as they are read; raises as `read_recording`."""
    with _parquet_file(path) as file:
        yield from _rows(file)


def recorded_runs(path: Path) -> list[dict[str, Any]]:
    """The settings of each run that added to a recording; raises as `read_recording`."""
    with _parquet_file(path) as file:
        return json.loads((file.schema_arrow.metadata or {}).get(RUNS_KEY, b"[]"))


def write_recording(path: Path, rows: Iterable[Recorded], runs: Iterable[Mapping[str, Any]] = ()) -> int:
    """Write a recording and return its number of rows; the file appears, or is replaced, when it is whole.

    Raises:
        StorageFailed: it cannot be written.
        MissingExtra: pyarrow is not installed.
    """
    pa, pq = load_pyarrow()
    schema = _schema(pa).with_metadata(
        {SCHEMA_KEY: str(SCHEMA_VERSION).encode(), RELEASE_KEY: __version__.encode(), RUNS_KEY: json.dumps(list(runs)).encode()}
    )
    draft, count, left = path.with_name(path.name + ".new"), 0, iter(rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with pq.ParquetWriter(draft, schema, compression="zstd") as writer:
            while group := [_cells(row) for row in islice(left, ROWS_A_GROUP)]:
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                count += len(group)
        draft.replace(path)
    except OSError as error:
        raise StorageFailed(f"cannot write {str(path)!r}: {error}", hint="free space, or choose another file with --output") from error
    return count


def load_pyarrow() -> tuple[Any, Any]:
    """(pyarrow, pyarrow.parquet).

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtra("recordings are Parquet files, and pyarrow is not installed", hint="pip install 'netgpt[replay]'") from error
    return pyarrow, pyarrow.parquet


def columns_table() -> str:
    """`COLUMNS` as the Markdown table that docs/recordings.md shows."""
    rows = [f"| `{name}` | `{column.type}` | {column.unit} | {column.meaning} |" for name, column in COLUMNS.items()]
    return "\n".join(["| column | type | unit | meaning |", "| --- | --- | --- | --- |", *rows])


def _parquet_file(path: Path) -> Any:
    pa, pq = load_pyarrow()
    how = "record one: netgpt record --upstream URL --tasks FILE --output FILE.parquet"
    if not path.is_file():
        raise UsageError(f"no recording {str(path)!r}", hint=how, param=str(path))
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{str(path)!r} cannot be read as Parquet: {error}", hint=f"restore the file, or {how}", param=str(path)) from error
    version = (file.schema_arrow.metadata or {}).get(SCHEMA_KEY, b"").decode()
    missing = [name for name in COLUMNS if name not in file.schema_arrow.names]
    if version != str(SCHEMA_VERSION) or missing:
        what = f"lacks the column {missing[0]!r}" if missing else f"has schema version {version or 'none'}, this release reads {SCHEMA_VERSION}"
        file.close()
        raise UsageError(f"{str(path)!r} is no recording that can be read: it {what}", hint=how, param=str(path))
    return file


def _rows(file: Any) -> Iterator[Recorded]:
    for batch in file.iter_batches(batch_size=ROWS_A_GROUP, columns=list(COLUMNS)):
        for cells in batch.to_pylist():
            yield _row(cells)


def _row(cells: dict[str, Any]) -> Recorded:
    messages = tuple((message["role"], message["content"]) for message in json.loads(cells.pop("messages")))
    return Recorded(messages=messages, **{name: _frozen(value) for name, value in cells.items()})


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _cells(row: Recorded) -> dict[str, Any]:
    messages = [{"role": role, "content": content} for role, content in row.messages]
    cells = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    return cells | {"messages": json.dumps(messages, ensure_ascii=False)}


def _schema(pa: Any) -> Any:
    plain = {"int32": pa.int32(), "int64": pa.int64(), "string": pa.string(), "bool": pa.bool_(), "double": pa.float64(), "binary": pa.binary()}

    def kind(text: str) -> Any:
        return pa.list_(kind(text[len("list<") : -1])) if text.startswith("list<") else plain[text]

    return pa.schema([pa.field(name, kind(one.type), metadata={"unit": one.unit, "meaning": one.meaning}) for name, one in COLUMNS.items()])
