"""Evidence from log-probabilities, and calibrations: what they say, and what is refused."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from netgpt.core.chance import SeededChance
from netgpt.core.errors import UsageError
from netgpt.inference.boosting import fit_forest
from netgpt.inference.calibration import LEAST_TASKS, fit_calibration, fit_curve, fit_logistic, fit_router, isotonic
from netgpt.inference.calibration_file import calibrations_at, read_calibrations, shipped_calibrations, write_calibrations
from netgpt.inference.confidence import (
    FEATURES,
    STATELESS,
    STATELESS_SHARE,
    TREES_SHARE,
    Calibrations,
    Evidence,
    Scene,
    evidence_of,
    mixed,
    spoken,
)
from netgpt.inference.surface import SURFACE, surface_of
from netgpt.inference.words import KNOWN, Words, fit_words, words_of, words_said
from netgpt.models.generation import TopLogprobs
from netgpt.node.session import Piece


def evidence(*probabilities: float) -> Evidence:
    """Tokens of these probabilities, the rest of each at one other token."""
    return Evidence(logprobs=tuple(math.log(p) for p in probabilities), runners_up=tuple(math.log(1 - p) for p in probabilities))


def some_answers(count: int, seed: int = 3) -> tuple[list[Evidence], np.ndarray]:
    """Answers of five tokens, the least sure of which is wrong as often as its probability says: calibrated by construction."""
    stream = SeededChance(seed).stream("answers")
    least = stream.uniform(0.5, 0.999, count)
    answers = [evidence(0.99, 0.995, float(p), 0.99, 0.999) for p in least]
    return answers, stream.random(count) < (least - 0.5) * 2


def test_evidence_is_the_drawn_token_and_the_likeliest_other_one() -> None:
    tops = (TopLogprobs(ids=(7, 9), logprobs=(-0.1, -3.0)), TopLogprobs(ids=(4, 5), logprobs=(-0.2, -1.7)))
    found = evidence_of([Piece(ids=(7, 5), data=b"ab", origin="n", logprobs=(-0.1, -1.7), top=tops)])
    assert found is not None
    assert found.runners_up == (-3.0, -0.2)
    assert found.margins[1] < 0, "the second token was not the likeliest"


def test_evidence_of_a_node_of_another_tokenizer_is_by_bytes() -> None:
    top = TopLogprobs(ids=(), logprobs=(-0.1, -3.0), tokens=(b"ab", b"c"))
    piece = Piece(ids=(), data=b"ab", origin="n", logprobs=(-0.1,), top=(top,), recoded=True, made=1, tokens=(b"ab",))
    found = evidence_of([piece])
    assert found is not None
    assert found.runners_up == (-3.0,)


@pytest.mark.parametrize("top", [(), (TopLogprobs(ids=(7,), logprobs=(-0.1,)),)])
def test_no_evidence_without_two_alternatives(top: tuple[TopLogprobs, ...]) -> None:
    assert evidence_of([Piece(ids=(7,), data=b"a", origin="n", logprobs=(-0.1,), top=top)]) is None
    assert evidence_of([]) is None


def test_a_surer_answer_has_higher_margins_and_less_surprise() -> None:
    sure, unsure = evidence(0.99, 0.98, 0.99).features(), evidence(0.99, 0.55, 0.9).features()
    assert len(sure) == len(FEATURES)
    assert sure[FEATURES.index("surprise")] < unsure[FEATURES.index("surprise")]
    assert all(sure[FEATURES.index(name)] > unsure[FEATURES.index(name)] for name in ("margin_q0", "margin_mean", "mean_logprob", "log_margin_q0"))


def test_a_calibration_recovers_probabilities_that_are_known() -> None:
    answers, right = some_answers(6000)
    calibration = fit_calibration("m", answers, right, {}, {})
    for least in (0.6, 0.75, 0.9):
        said = calibration.judge(evidence(0.99, 0.995, least, 0.99, 0.999)).right
        assert said == pytest.approx((least - 0.5) * 2, abs=0.06)


def test_isotonic_regression_rises_and_keeps_the_mean() -> None:
    stream = SeededChance(5).stream("isotonic")
    scores = stream.normal(size=4000)
    right = stream.random(4000) < 1 / (1 + np.exp(-scores))
    knots, heights, counts = isotonic(scores, right)
    assert all(a < b for a, b in pairwise(knots))
    assert all(a <= b for a, b in pairwise(heights))
    assert sum(counts) == 4000
    assert np.average(heights, weights=counts) == pytest.approx(right.mean(), abs=0.005)
    assert np.interp(scores, knots, heights).mean() == pytest.approx(right.mean(), abs=0.01)


def test_logistic_regression_finds_the_weights_that_made_the_data() -> None:
    stream = SeededChance(6).stream("logistic")
    features = stream.normal(size=(20_000, 3))
    right = stream.random(20_000) < 1 / (1 + np.exp(-(features @ [1.0, -2.0, 0.0] + 0.5)))
    assert fit_logistic(features, right) == pytest.approx([0.5, 1.0, -2.0, 0.0], abs=0.08)


def test_a_curve_of_outcomes_that_never_vary_is_flat_and_finite() -> None:
    answers, _ = some_answers(400)
    features = np.array([one.features() for one in answers])
    probabilities = fit_curve(features, np.ones(400, dtype=np.bool_)).probabilities(features)
    assert np.isfinite(probabilities).all()
    assert probabilities.min() > 0.95


def test_a_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    answers, right = some_answers(400)
    written = Calibrations(price=0.25, models={"m": fit_calibration("m", answers, right, {"large": ~right}, {"large": right})})
    write_calibrations(written, tmp_path / "calibration.json")
    assert calibrations_at(tmp_path) == written
    assert calibrations_at(tmp_path / "nothing") == shipped_calibrations() == calibrations_at(None)


def test_trees_and_routers_say_the_same_after_they_were_written_and_read(tmp_path: Path) -> None:
    answers, right = some_answers(600)
    beside_NG = SeededChance(9).stream("beside").normal(size=(600, len(SURFACE) + len(KNOWN) + 8))
    right_too = beside_NG[:, -1] > 0
    words, said = fit_words([words_of((("user", "where is Bekal"),))] * 3), fit_words([words_said("at Tonvar")] * 3)
    calibration = fit_calibration("m", answers, right, {"large": right_too}, {}, beside_NG=beside_NG, words=words, said=said)
    router = fit_router(beside_NG, {"m": right, "large": right_too}, kind="knn", price=0.5, words=words)
    write_calibrations(Calibrations(price=0.25, models={"m": calibration}, routers={"m": router}), tmp_path / "calibration.json")
    read = calibrations_at(tmp_path)
    features_NF = np.array([one.features() for one in answers])
    for model, expected_N in calibration.expected(features_NF, beside_NG).items():
        assert (read.models["m"].expected(features_NF, beside_NG)[model] == expected_N).all()
    for kind in ("boosted", "knn"):
        assert (read.routers["m"].expected(beside_NG, kind) == router.expected(beside_NG, kind)).all()
    assert (read.models["m"].words, read.models["m"].said, read.routers["m"].words) == (words, said, words)
    assert (read.routers["m"].kind, read.routers["m"].price) == ("knn", 0.5)


def test_what_is_known_beside_an_answer_is_used_where_it_is_as_it_was_fitted() -> None:
    answers, right = some_answers(2000)
    state = SeededChance(9).stream("state").normal(size=(2000, 4))
    large = state[:, 0] > 0
    messages = (("user", "how many of 12 cells?"),)
    usual, told = Words().features([words_of(messages)]), Words().features([words_said("3")])
    beside_NG = np.concatenate((np.tile(surface_of(messages), (2000, 1)), np.tile(usual, (2000, 1)), np.tile(told, (2000, 1)), state), axis=1)
    calibration = fit_calibration("m", answers, right, {"large": large}, {}, beside_NG=beside_NG)
    assert calibration.needs_state
    scenes = [Scene(messages=messages, answer="3", state=(first, 0.0, 0.0, 0.0)) for first in (-2.0, 2.0)]
    low, high = (calibration.judge(answers[0], scene).others["large"] for scene in scenes)
    assert low < 0.3 < 0.7 < high, "most of it by trees, the rest by the evidence, which knows nothing of it"
    blind, foreign = calibration.judge(answers[0]), calibration.judge(answers[0], Scene(messages=messages, answer="3", state=(2.0,)))
    assert blind == foreign, "of another model's state nothing is known"
    assert 0.3 < blind.others["large"] < 0.7


def test_trees_say_more_of_an_answer_whose_states_they_read() -> None:
    answers, right = some_answers(600)
    features_NF = np.array([one.features() for one in answers])
    curve = fit_curve(features_NF, right)
    for states, share in ((8, TREES_SHARE), (0, STATELESS_SHARE)):
        whole_NF = np.concatenate((features_NF, SeededChance(9).stream("beside").normal(size=(600, STATELESS - len(FEATURES) + states))), axis=1)
        forest = fit_forest(whole_NF, right)
        wanted_N = share * forest.probabilities(whole_NF) + (1 - share) * curve.probabilities(features_NF)
        assert mixed(forest, curve, whole_NF) == pytest.approx(wanted_N)
    assert STATELESS_SHARE < TREES_SHARE


def test_the_token_that_ends_an_answer_is_no_part_of_what_it_says() -> None:
    assert spoken((5, 6, 2), {2}) == (5, 6)
    assert spoken((5, 6), {2}) == (5, 6)
    assert spoken((2,), {2}) == (2,)


def test_shipped_calibrations_cover_the_shipped_models_but_the_largest() -> None:
    models = shipped_calibrations().models
    assert {name: set(one.others) for name, one in models.items()} == {
        "netgpt-device": {"netgpt-edge", "netgpt-cloud"},
        "netgpt-edge": {"netgpt-cloud"},
    }
    unsure, sure = evidence(0.4, 0.5, 0.35, 0.5), evidence(0.999, 0.999, 0.9999, 0.999)
    for one in models.values():
        assert one.judge(unsure).right < 0.5 < one.judge(sure).right


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda table: table.update(format=99), "another release"),
        (lambda table: table.update(features=["x"]), "another release"),
        (lambda table: table.pop("price"), "no calibration"),
        (lambda table: table["models"]["netgpt-edge"]["right"].update(weights=[1.0]), "no calibration"),
        (lambda table: table["models"]["netgpt-edge"]["right"].update(counts=[1.0]), "no calibration"),
        (lambda table: table["models"]["netgpt-edge"]["right"]["counts"].__setitem__(0, 0), "no calibration"),
        (lambda table: table["models"].update({"netgpt-edge": 3}), "no calibration"),
        (lambda table: table.update(words=["AAA="]), "no calibration"),
        (lambda table: table.update(words=[2 * table["words"][0]]), "no calibration"),
        (lambda table: table["models"]["netgpt-edge"].update(words=7), "no calibration"),
        (lambda table: table["models"]["netgpt-device"]["forests"]["netgpt-device"].update(width=1), "no calibration"),
        (lambda table: table["routers"]["netgpt-device"].update(kind="oracle"), "no calibration"),
        (lambda table: table["routers"]["netgpt-device"]["nearest"].update(points="?"), "no calibration"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, change: object, says: str) -> None:
    write_calibrations(shipped_calibrations(), tmp_path / "calibration.json")
    table = json.loads((tmp_path / "calibration.json").read_text())
    change(table)  # type: ignore[operator]
    with pytest.raises(UsageError, match=says) as refused:
        read_calibrations(json.dumps(table), "calibration.json")
    assert "netgpt calibrate" in refused.value.hint


def test_too_few_tasks_are_refused() -> None:
    answers, right = some_answers(LEAST_TASKS - 1)
    with pytest.raises(UsageError, match="too few"):
        fit_calibration("m", answers, right, {}, {})
