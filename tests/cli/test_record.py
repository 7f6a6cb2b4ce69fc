"""`netgpt record`: what an upstream says is in the file, whatever happens on the way, and plays back the same."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from netgpt.cli.main import main
from netgpt.core.errors import AuthenticationFailed, InvalidRequest, MissingExtra, ModelNotFound, NodeUnreachable, ScenarioInvalid, UsageError
from netgpt.core.storage import SimulatedStorage
from netgpt.corpus.families import BY_NAME
from netgpt.corpus.files import write_tasks
from netgpt.corpus.task import Task
from netgpt.models.recording import COLUMNS, Recording, columns_table, load_pyarrow, read_recording
from netgpt.network.scenario_file import parse_scenario
from netgpt.world.simulated import EVENTS, simulate

from .openai_server import LOGPROB, OTHER_LOGPROB, OpenAIServer, serving, words

TASKS = 12


def drawn() -> list[Task]:
    stream, tasks = np.random.default_rng(3), {}
    while len(tasks) < TASKS:
        task = BY_NAME["arithmetic"].draw(stream, 1, "en")
        tasks[task.question] = task
    return list(tasks.values())


DRAWN = drawn()


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.jsonl"
    write_tasks(path, DRAWN)
    return path


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """`large` is always right, `small` at every second task; it then begins like the large one."""
    large = {task.question: f"Well, it is {task.answer}" for task in DRAWN}
    small = {task.question: large[task.question] if n % 2 else "Well, it was unknown" for n, task in enumerate(DRAWN)}
    with serving(OpenAIServer({"small": small, "large": large})) as running:
        yield running


def command(server: OpenAIServer, tasks: Path, *more: str, output: Path | None = None) -> list[str]:
    path = output or tasks.with_name("out.parquet")
    return ["record", "--upstream", f"{server.url}=small", "--upstream", f"{server.url}=large", "--tasks", str(tasks), "--output", str(path), *more]


def recorded(tasks: Path) -> Recording:
    return read_recording(tasks.with_name("out.parquet"))


def test_every_column_holds_what_the_upstream_said(server: OpenAIServer, tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(server, tasks, "--top-logprobs", "2", "--max-tokens", "50")) == 0
    recording = recorded(tasks)
    assert [(row.task_id, row.model) for row in recording.rows] == [(task.id, model) for task in DRAWN for model in ("small", "large")]
    assert all(body["temperature"] == 0 and body["top_logprobs"] == 2 and body["max_tokens"] == 50 for body in server.asked)
    for row in recording.rows:
        tokens = [word.encode() for word in words(server.answers[row.model][row.messages[-1][1]])]
        assert list(row.tokens) == tokens, "the token that ends the turn is no text"
        assert (b"".join(row.tokens).decode(), row.finish_reason) == (row.answer, "stop")
        assert row.logprobs == (LOGPROB,) * len(tokens)
        assert row.top_tokens == tuple((token, b"other") for token in tokens)
        assert row.top_logprobs == ((LOGPROB, OTHER_LOGPROB),) * len(tokens)
        assert len(row.arrivals_s) == len(tokens)
        assert list(row.arrivals_s) == sorted(row.arrivals_s)
        assert row.time_to_first_token_s == row.arrivals_s[0]
        assert row.arrivals_s[-1] <= row.total_s
        assert (row.prompt_tokens, row.completion_tokens, row.upstream) == (7, len(tokens) + 1, server.url)
    assert [row.correct for row in recording.of_model("large")] == [True] * TASKS
    assert [row.correct for row in recording.of_model("small")] == [bool(n % 2) for n in range(TASKS)]
    assert recording.runs[0]["top_logprobs"] == 2
    assert "24 of 24 answers" in capsys.readouterr().err


def test_the_summary_tells_accuracies_and_joint_outcomes(server: OpenAIServer, tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(command(server, tasks))
    capsys.readouterr()
    path = str(tasks.with_name("out.parquet"))
    assert main(["record", "--summary", path, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(one["model"], one["accuracy"]) for one in told["models"]] == [("small", 0.5), ("large", 1.0)]
    (pair,) = told["pairs"]
    assert [pair[name] for name in ("both", "only_small", "only_large", "neither")] == [6, 0, 6, 0]
    assert pair["phi"] is None
    assert pair["draft_tokens"] > pair["draft_agreed"] > 0
    assert main(["record", "--summary", path]) == 0
    assert "both right 6" in capsys.readouterr().out


def test_a_run_that_fails_keeps_what_was_answered_and_resumes(server: OpenAIServer, tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server.fails_after = 9
    assert main(command(server, tasks, "--concurrency", "1")) == InvalidRequest.exit_code
    assert "this task is too long" in capsys.readouterr().err
    assert len(recorded(tasks).rows) == 9
    server.fails_after = None
    assert main(command(server, tasks)) == UsageError.exit_code
    assert "--resume" in capsys.readouterr().err
    assert main(command(server, tasks, "--resume")) == 0
    assert len(recorded(tasks).rows) == len({(row.task_id, row.model) for row in recorded(tasks).rows}) == 2 * TASKS
    assert len(server.asked) == 2 * TASKS, "nothing is asked twice"
    assert len(recorded(tasks).runs) == 2


def test_a_killed_run_loses_at_most_its_torn_last_line(server: OpenAIServer, tasks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from netgpt.bench.journal import Journal

    monkeypatch.setattr(Journal, "finish", lambda *_: 0)  # as if the process ended before it
    main(command(server, tasks, "--concurrency", "1"))
    monkeypatch.undo()
    journal = tasks.with_name("out.parquet.journal")
    journal.write_bytes(journal.read_bytes()[:-20])
    assert main(command(server, tasks, "--resume")) == 0
    assert len(server.asked) == 2 * TASKS + 1
    assert len(recorded(tasks).rows) == 2 * TASKS
    assert not journal.exists()


@pytest.mark.parametrize("knob", ["no logprobs", "refused"])
def test_an_upstream_without_logprobs_is_recorded_with_one_warning(
    server: OpenAIServer, tasks: Path, knob: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.logprobs, server.refuses_logprobs = knob != "no logprobs", knob == "refused"
    assert main([*command(server, tasks)[:3], *command(server, tasks)[5:]]) == 0
    assert capsys.readouterr().err.count("warning:") == 1
    for row in recorded(tasks).rows:
        assert (row.logprobs, row.top_tokens, row.top_logprobs) == (None, None, None)
        assert b"".join(row.tokens).decode() == row.answer


def test_a_busy_upstream_is_asked_again(server: OpenAIServer, tasks: Path) -> None:
    server.busy = 2
    assert main(command(server, tasks)) == 0
    assert len(recorded(tasks).rows) == 2 * TASKS


def test_a_key_goes_in_the_header_and_nowhere_else(
    server: OpenAIServer, tasks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server.key = "canary-key"
    assert main(command(server, tasks)) == AuthenticationFailed.exit_code
    assert "--api-key-env" in capsys.readouterr().err
    assert not tasks.with_name("out.parquet").exists()
    monkeypatch.setenv("A_KEY", "canary-key")
    assert main(command(server, tasks, "--api-key-env", "A_KEY")) == 0
    assert b"canary-key" not in tasks.with_name("out.parquet").read_bytes()
    assert main(command(server, tasks, "--api-key-env", "NO_KEY")) == UsageError.exit_code


def test_what_is_wrong_is_named_with_the_next_step(server: OpenAIServer, tasks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rest = ["--tasks", str(tasks), "--output", str(tasks.with_name("x.parquet"))]
    for arguments, error, words_said in (
        (["--upstream", "http://127.0.0.1:9/v1", *rest], NodeUnreachable, "does not answer"),
        (["--upstream", "no url", *rest], UsageError, "no base URL"),
        (["--upstream", f"{server.url}=larg", *rest], ModelNotFound, "did you mean 'large'"),
        (["--upstream", server.url, "--top-logprobs", "21", *rest], UsageError, "0 to 20"),
        (["--upstream", server.url, "--upstream", server.url, *rest], UsageError, "named twice"),
        (["--tasks", str(tasks)], UsageError, "--upstream is missing"),
        (["--summary", str(tasks)], UsageError, "cannot be read as Parquet"),
        (["--summary", "nowhere.parquet"], UsageError, "no recording"),
    ):
        assert main(["record", *arguments]) == error.exit_code
        said = capsys.readouterr().err
        assert words_said in said
        assert "next: " in said
    tasks.write_text(tasks.read_text() + "{}\n")
    assert main(["record", "--upstream", server.url, *rest]) == UsageError.exit_code
    assert f"line {TASKS + 1}" in capsys.readouterr().err


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra) as caught:
        load_pyarrow()
    assert "netgpt[replay]" in caught.value.hint


def test_the_page_shows_every_column() -> None:
    page = (Path(__file__).parents[2] / "docs" / "recordings.md").read_text(encoding="utf-8")
    assert columns_table() in page
    assert len(COLUMNS) == 22


SCENARIO = """
[[node]]
id = "edge1"
tier = "edge"
model = "large"
profile = "edge-server"
parameters = 8e9
engine = "replay"
recording = "{path}"
timing = "{timing}"

[[node]]
id = "device1"
tier = "device"
model = "small"
profile = "phone"
parameters = 1e9
engine = "replay"
recording = "{path}"
timing = "{timing}"

[[link]]
between = ["device1", "edge1"]
up = "40Mbps"
down = "100Mbps"
delay = "8ms"

[[user]]
at = "device1"
requests_per_s = 4
model = "netgpt-device"

[[user]]
at = "device1"
requests_per_s = 4
"""


@pytest.mark.parametrize("timing", ["recorded", "profile"])
def test_a_recording_plays_in_a_simulated_network(server: OpenAIServer, tasks: Path, timing: str) -> None:
    main(command(server, tasks))
    scenario = parse_scenario(SCENARIO.format(path=tasks.with_name("out.parquet"), timing=timing), where="test")
    storages = [SimulatedStorage(), SimulatedStorage()]
    reports = [simulate(scenario, seed=5, duration_s=20, output=storage) for storage in storages]
    assert storages[0].read(EVENTS) == storages[1].read(EVENTS)
    report = reports[0]
    assert report == reports[1]
    assert report["finished"] == report["answers_checked"] > 100
    assert (report["answers_wrong"], report["failed"].keys() - {"unfinished"}) == (0, set())
    assert 0.5 < report["answers_correct"] / report["answers_graded"] < 1


def test_what_a_door_says_is_recorded_and_a_network_that_replays_it_says_the_same(network, tasks: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "first.parquet", tmp_path / "again.parquet"
    upstream = ["--upstream", f"{network.url}/v1=netgpt-edge", "--tasks", str(tasks)]
    assert main(["record", *upstream, "--output", str(first), "--max-tokens", "30"]) == 0
    (tmp_path / "replay.toml").write_text(EDGE_ALONE)
    replaying = dataclasses.replace(network, environment=network.environment | {"NETGPT_HOME": str(tmp_path / "home")})
    try:
        started = replaying.run("netgpt", "up", "--detach", str(tmp_path / "replay.toml"))
        assert started.returncode == 0, started.stderr
        port = next(one["port"] for one in json.loads(replaying.run("netgpt", "ps", "--json").stdout) if one["role"] == "door")
        assert main(["record", "--upstream", f"http://127.0.0.1:{port}/v1=netgpt-edge", "--tasks", str(tasks), "--output", str(again)]) == 0
    finally:
        replaying.run("netgpt", "down")
    said, replayed = read_recording(first).rows, read_recording(again).rows
    assert [(row.task_id, row.answer, row.finish_reason) for row in replayed] == [(row.task_id, row.answer, row.finish_reason) for row in said]
    assert [sum(row.logprobs or ()) for row in replayed] == pytest.approx([sum(row.logprobs or ()) for row in said])


EDGE_ALONE = """
[[node]]
id = "edge1"
tier = "edge"
model = "netgpt-edge"
profile = "edge-server"
engine = "replay"
recording = "first.parquet"
"""


@pytest.mark.parametrize(
    ("change", "words_said"),
    [
        (('engine = "replay"', 'engine = "repla"'), "unknown engine 'repla'"),
        (('recording = "first.parquet"', ""), "names no recording"),
        (('engine = "replay"', ""), "has 'recording' and not engine 'replay'"),
        (('engine = "replay"', 'engine = "replay"\ntiming = "slow"'), "unknown timing 'slow'"),
    ],
)
def test_a_scenario_that_cannot_replay_is_refused(change: tuple[str, str], words_said: str) -> None:
    with pytest.raises(ScenarioInvalid, match=words_said) as caught:
        parse_scenario(EDGE_ALONE.replace(*change), where="test")
    assert caught.value.hint
