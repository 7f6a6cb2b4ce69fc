"""The matrix played with the shipped models: what the parts must say of each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netgpt.bench.matrix import FIRST_S, row, way_figures
from netgpt.bench.matrix_data import COLUMN, begun_with, site_named, told_of, with_data
from netgpt.bench.matrix_play import PROFILE, WAYS, Seen, Way, network_of, play, shipped_tokenizer
from netgpt.cli.main import main
from netgpt.corpus.draw import judged_tasks
from netgpt.learn.evaluate import answer_tasks, grade
from netgpt.models.checkpoint import load_model
from netgpt.models.store import find_model, search_path
from netgpt.network.profile import find_profile
from netgpt.network.roofline import declare
from netgpt.network.shape import sized_shape

TASKS = judged_tasks()[::400]
ALONE, NEAR = Way(inference="device"), Way(inference="cloud", compute=True)


def test_a_phone_alone_says_what_its_model_says_at_the_pace_of_its_processor() -> None:
    seen = play(ALONE, TASKS, 1)
    model = load_model(find_model("netgpt-device", search_path(None)), "float32")
    assert [one.right for one in seen] == grade(TASKS, answer_tasks(model, shipped_tokenizer(), TASKS)).tolist()
    profile, parameters, slots = PROFILE["device"]
    machine = declare(find_profile(profile), sized_shape(parameters), slots=slots)
    for one, task in zip(seen, TASKS, strict=True):
        prompt = len(shipped_tokenizer().render(task.messages))
        assert one.first_s == pytest.approx(machine.prefill_s(prompt), rel=1e-3)
        computing_w = machine.profile.busy_w - machine.profile.idle_w
        assert one.energy_j == pytest.approx(computing_w * one.total_s, rel=0.1, abs=0.2), "no radio is needed"
        assert one.node == "phone"


def test_the_same_seed_is_the_same_run_and_the_clouds_model_is_sooner_heard_from_the_site() -> None:
    tasks = TASKS[:4]
    far, near = play(Way(inference="cloud"), tasks, 1), play(NEAR, tasks, 1)
    assert play(NEAR, tasks, 1) == near
    assert [one.right for one in far] == [one.right for one in near], "the same model answers"
    gains_s = np.array([one.first_s - other.first_s for one, other in zip(far, near, strict=True)])
    assert np.median(gains_s) == pytest.approx(0.042, abs=0.01), "twice the delay behind the site"
    assert {one.node for one in far} == {"cloud"}
    assert {one.node for one in near} == {"edge"}


def test_the_register_tells_the_one_fact_that_an_answer_begins_with() -> None:
    told = [(task, asked) for task in judged_tasks() if (asked := site_named(task))]
    assert {task.family for task, _ in told} == set(COLUMN)
    for task, asked in told:
        value = told_of(*asked).removeprefix(f"{asked.site} = ")
        assert value in task.answer, f"{task.family} does not need its {asked.column}"
        assert with_data(task, told_of(*asked))[-1][1] == f"{asked.site} = {value}\n{task.question}"
        assert task.answer.startswith(begun_with(task, told_of(*asked)))
    assert all(site_named(task) is None for task in judged_tasks() if task.family in ("book", "terms", "explain", "reverse"))
    with pytest.raises(KeyError):
        told_of("Nowhere", "unit")


def test_every_way_has_its_network() -> None:
    assert [way.name for way in WAYS[:4]] == ["device_none", "device_compute", "device_data", "device_both"]
    assert {way.at_site for way in WAYS} == {"edge", "cloud"}
    for way in WAYS:
        site = network_of(way).node("edge")
        assert site.parameters == PROFILE[way.at_site][1]


def test_figures_are_of_all_requests_and_gains_are_request_by_request() -> None:
    alone = [Seen(task=str(i), right=i % 2 == 0, first_s=0.1 + i / 1000, total_s=1.0, energy_j=2.0, node="phone") for i in range(100)]
    helped = [replace(one, right=True, first_s=one.first_s - 0.05, energy_j=0.5) for one in alone]
    way = Way(inference="device", compute=True)
    figures = way_figures(way, helped, alone)
    assert figures["device_compute_first_s"] == pytest.approx(0.0995, abs=1e-4)
    assert figures["device_compute_first_s_gain"] == figures["device_compute_first_s_gain_low"] == pytest.approx(-0.05)
    assert figures["device_compute_accuracy"] == 1.0
    assert figures["device_compute_accuracy_gain"] == 0.5
    assert 0.38 < figures["device_compute_accuracy_gain_low"] < 0.5 < figures["device_compute_accuracy_gain_high"]
    assert figures["device_compute_energy_j_gain"] == -1.5
    assert figures["device_compute_in_time"] == np.mean([one.first_s <= FIRST_S for one in helped])
    assert row(way, figures)[:2] == ["device", "compute"]
    assert row(way, figures)[-1] == "100.0% (96.3% to 100.0%)"


def test_a_quick_run_gives_every_cell_and_draws_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert main(["bench", "matrix", "--quick", "--pictures", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "FIRST TOKEN, s" in shown
    assert "cloud_both_accuracy" in shown
    assert (tmp_path / "matrix.png").read_bytes().startswith(b"\x89PNG")
