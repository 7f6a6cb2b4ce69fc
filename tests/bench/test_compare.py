"""Two results of one suite: what differs, what may be noise, and what cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netgpt.bench.compare import compare
from netgpt.cli.main import main
from netgpt.core.chance import SeededChance
from netgpt.core.statistics import wilson_interval

RESULTS = Path(__file__).parents[2] / "results"


def result(figures: dict[str, Any], suite: str = "models", **conditions: Any) -> dict[str, Any]:
    return {"suite": suite, "figures": figures, "conditions": conditions}


def verdict(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    figures = compare(result(a), result(b))["figures"]
    assert list(figures) == ["x"], "bounds are no figures of their own"
    return figures["x"]


def test_bounds_tell_a_difference_from_noise_although_they_overlap() -> None:
    far = verdict({"x": 0.50, "x_low": 0.47, "x_high": 0.53}, {"x": 0.55, "x_low": 0.52, "x_high": 0.58})
    assert (far["verdict"], far["by"], far["difference"], far["relative"]) == ("differs", "95 % bounds", 0.05, 0.1)
    assert far["difference_low"] == pytest.approx(0.05 - 0.03 * 2**0.5, rel=1e-3), "of equal half-widths h the interval's is h times root 2"
    near = verdict({"x": 0.50, "x_low": 0.47, "x_high": 0.53}, {"x": 0.54, "x_low": 0.51, "x_high": 0.57})
    assert near["verdict"] == "noise"


def test_of_results_that_are_equal_but_for_chance_one_in_twenty_is_said_to_differ() -> None:
    stream = SeededChance(1).stream("draws")

    def drawn(share: float) -> dict[str, float]:
        right = int((stream.random(800) < share).sum())
        low, high = wilson_interval(right, 800)
        return {"x": right / 800, "x_low": low, "x_high": high}

    false = np.mean([verdict(drawn(0.9), drawn(0.9))["verdict"] == "differs" for _ in range(2000)])
    assert 0.03 < false < 0.07
    found = np.mean([verdict(drawn(0.9), drawn(0.84))["verdict"] == "differs" for _ in range(300)])
    assert found > 0.85


def test_ranges_differ_where_they_do_not_overlap_and_without_an_interval_nothing_is_claimed() -> None:
    assert verdict({"x": 5, "x_min": 4, "x_max": 6}, {"x": 8, "x_min": 7, "x_max": 9})["verdict"] == "differs"
    assert verdict({"x": 5, "x_min": 4, "x_max": 6}, {"x": 8, "x_min": 5.5, "x_max": 9})["verdict"] == "noise"
    assert verdict({"x": 5}, {"x": 8})["verdict"] == "no interval"
    assert verdict({"x": 5.0, "x_min": 4, "x_max": 6}, {"x": 8, "x_low": 7, "x_high": 9})["verdict"] == "no interval", "bounds are no ranges"
    assert verdict({"x": 0}, {"x": 1})["relative"] is None
    assert verdict({"x": "torch"}, {"x": "hash"})["verdict"] == "differs"
    assert verdict({"x": None}, {"x": None})["verdict"] == "same"
    assert verdict({"x": float("nan")}, {"x": float("nan")})["verdict"] == "same"


def test_conditions_that_differ_are_named_also_nested_ones() -> None:
    told = compare(
        result({"x": 1, "gone": 2}, commit="a", cpu="c", weights={"edge": {"steps": 8}}),
        result({"x": 1, "new": 2}, commit="b", cpu="c", weights={"edge": {"steps": 9}}, mix="m"),
    )
    assert told["conditions"] == {"commit": {"a": "a", "b": "b"}, "weights.edge.steps": {"a": 8, "b": 9}, "mix": {"a": None, "b": "m"}}
    assert (told["only_in_a"], told["only_in_b"]) == (["gone"], ["new"])
    assert told["verdicts"] == {"same": 1, "differs": 0, "noise": 0, "no interval": 0}


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_every_result_that_is_kept_equals_itself(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "compare", str(path), str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdicts"]["same"] == len(told["figures"]) > 0
    assert told["conditions"] == {}


def test_the_command_says_first_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.json").write_text(json.dumps(result({"y": 1, "x": 5, "x_low": 4, "x_high": 6}, commit="old")))
    (tmp_path / "b.json").write_text(json.dumps(result({"y": 2, "x": 9, "x_low": 8, "x_high": 10}, commit="new")))
    assert main(["bench", "compare", str(tmp_path / "a.json"), str(tmp_path / "b.json")]) == 0
    told = capsys.readouterr().out
    assert told.index("commit") < told.index("differs") < told.index("no interval")
    assert "1 differ, 0 differ within noise, 1 differ and have no interval" in told
    assert "0.1 would differ by chance" in told


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (["{}"], "1 files are given"),
        (["{}", "{}"], "no suite"),
        (["[", "[]"], "is not JSON"),
        ([json.dumps(result({"x": 1})), json.dumps(result({"x": 1}, suite="links"))], "'models' and 'links'"),
        ([json.dumps(result({"x": 1})), None], "cannot read"),
        ([json.dumps({**result({}), "conditions": 1}), "{}"], "conditions are no object"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_a_next_step(
    texts: list[str | None], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, text in enumerate(texts):
        if text is not None:
            (tmp_path / f"{number}.json").write_text(text)
    assert main(["bench", "compare", *(str(tmp_path / f"{number}.json") for number in range(len(texts)))]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert "next:" in told


def test_only_compare_takes_files(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "engine", "a.json"]) == 2
    assert "takes no files" in capsys.readouterr().err
