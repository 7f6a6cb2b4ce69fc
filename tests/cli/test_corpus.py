"""`netgpt corpus`: figures, tasks to read, and files that are read back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netgpt.cli.main import main
from netgpt.corpus.draw import judged_tasks
from netgpt.corpus.families import BY_NAME, FAMILIES
from netgpt.corpus.files import read_tasks
from netgpt.corpus.task import is_held_out

Capture = pytest.CaptureFixture[str]


def printed(capsys: Capture, *arguments: str) -> str:
    assert main(["corpus", *arguments]) == 0
    return capsys.readouterr().out


def test_a_sample_is_readable_and_follows_from_its_seed(capsys: Capture) -> None:
    arguments = ("sample", "--family", "route", "--grade", "3", "--language", "zh", "--count", "2")
    text = printed(capsys, *arguments)
    assert text.count("answer: ") == 2
    assert text.count("# route-") == text.count(", grade 3, zh") == 2
    assert printed(capsys, *arguments) == text
    assert printed(capsys, *arguments, "--seed", "1") != text


def test_a_sample_may_be_long_and_held_out(capsys: Capture) -> None:
    tasks = json.loads(printed(capsys, "sample", "--family", "kpi", "logs", "--long", "--held-out", "--json", "--count", "4"))
    assert len({task["id"] for task in tasks}) == 4
    assert all(len(task["messages"][-1]["content"]) > 1000 for task in tasks)


def test_a_sample_says_when_there_are_no_more(capsys: Capture) -> None:
    assert main(["corpus", "sample", "--family", "terms", "--grade", "1", "--language", "en", "--held-out", "--count", "5000"]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("there are no more: ")
    assert captured.out.count("# terms-") > 3


@pytest.mark.parametrize("file_format", ["tasks", "chat"])
def test_a_training_export_replays_and_holds_nothing_back(file_format: str, capsys: Capture, tmp_path: Path) -> None:
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for file in files:
        printed(capsys, "export", "--output", str(file), "--training", "60", "--seed", "5", "--format", file_format)
    assert files[0].read_bytes() == files[1].read_bytes()
    lines = [json.loads(line) for line in files[0].read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 60
    if file_format == "tasks":
        assert not any(map(is_held_out, read_tasks(files[0])))
    else:
        assert all(line["messages"][-1]["role"] == "assistant" for line in lines)


def test_the_judged_tasks_are_exported_as_they_are(capsys: Capture, tmp_path: Path) -> None:
    printed(capsys, "export", "--output", str(tmp_path / "judged.jsonl"), "--judged", "--family", "kpi", "explain")
    assert read_tasks(tmp_path / "judged.jsonl") == [task for task in judged_tasks() if task.family in ("kpi", "explain")]


def test_stats_has_every_family_and_no_shared_key(capsys: Capture) -> None:
    report = json.loads(printed(capsys, "stats", "--json", "--draws", "48", "--training", "500"))
    assert [row["family"] for row in report["families"]] == [row["family"] for row in report["overlap"]] == [family.name for family in FAMILIES]
    assert sum(row["share"] for row in report["families"]) == pytest.approx(1, abs=0.02)
    assert all(row["languages"] == "en zh" and row["prompt_mean"] <= row["prompt_max"] for row in report["families"])
    assert all(row["keys"] == 0 for row in report["overlap"])


def test_stats_prints_tables_of_the_families_asked_for(capsys: Capture) -> None:
    text = printed(capsys, "stats", "--family", "handover", "route", "--draws", "24", "--training", "100")
    assert BY_NAME["handover"].depth in text
    assert "GRAMS_13" in text
    assert "kpi" not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sample", "--family", "rout"], "did you mean 'route'?"),
        (["sample", "--grade", "7"], "known: 1, 2, 3, 4, 5, 6"),
        (["sample", "--language", "de"], "known: en, zh"),
        (["sample", "--family", "terms", "--long"], "families with long tasks: "),
        (["sample", "--count", "0"], "--count is 0"),
        (["sample", "--judged"], "sample takes no --judged"),
        (["stats", "--output", "x"], "stats takes no --output"),
        (["export", "--training", "3"], "no file to write"),
        (["export", "--output", "x"], "--judged and --training"),
        (["export", "--output", "x", "--judged", "--training", "3"], "--judged and --training"),
        (["export", "--output", "x", "--training", "-1"], "--training is -1"),
        (["show"], "invalid choice"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(arguments: list[str], said: str, capsys: Capture) -> None:
    assert main(["corpus", *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert "next: " in captured.err
    assert not captured.out
