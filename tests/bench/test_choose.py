"""The choose suite on outcomes whose law is known: what its measures must say of a good, a blind and a perfect score."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netgpt.bench.auto_steps import STEP_CELL
from netgpt.bench.choose_cascade import calibrate, cascade_figures, confidence_figures, deferral_scores, fitted_price
from netgpt.bench.choose_ceiling import ceiling_figures
from netgpt.bench.choose_consistency import consistency_figures, result_of, share_reaching
from netgpt.bench.choose_kept import first_asked, kept_figures
from netgpt.bench.choose_policy import policy_figures
from netgpt.bench.choose_route import route_figures, router_of
from netgpt.bench.measures import area_share, auroc, brier_skill, calibration_error
from netgpt.bench.outcomes import Continued, Outcomes, calibration_tasks, installed_costs, recorded_outcomes
from netgpt.cli.main import main
from netgpt.core.chance import SeededChance
from netgpt.core.errors import UsageError
from netgpt.corpus.draw import judged_tasks
from netgpt.corpus.task import is_held_out
from netgpt.inference.calibration_file import calibrations_at
from netgpt.inference.confidence import Evidence
from netgpt.inference.policy import NamedPolicy, Situation
from netgpt.inference.surface import SURFACE
from netgpt.inference.words import words_of, words_said
from netgpt.models.recording import Recorded, Recording, write_recording

FAMILIES = ("a", "b", "c", "d", "e")


def made(count: int, seed: int) -> Outcomes:
    """A small model whose least sure token says how probably it is right, and a large one that is right nine times of ten.

    The first number of the prompt's state says whether the small one will be sure; the others are noise.
    """
    stream = SeededChance(seed).stream("outcomes")
    sure_N = stream.uniform(0.5, 0.999, count)
    small_N, large_N = stream.random(count) < (sure_N - 0.5) * 2, stream.random(count) < 0.9
    states = np.concatenate((sure_N[:, None], stream.normal(size=(count, 7))), axis=1)
    rows = [(math.log(0.99), math.log(p), math.log(0.995)) for p in sure_N]
    rest = [(math.log(0.01), math.log(1 - p), math.log(0.005)) for p in sure_N]
    return Outcomes(
        models=("small", "large"),
        families=tuple(FAMILIES[i % len(FAMILIES)] for i in range(count)),
        messages=tuple((("user", str(i)),) for i in range(count)),
        right={"small": small_N, "large": large_N},
        texts={
            "small": tuple("y" if hit else f"n {i}" for i, hit in enumerate(small_N)),
            "large": tuple("y" if hit else "n" for hit in large_N),
        },
        evidence={"small": tuple(Evidence(logprobs=row, runners_up=other) for row, other in zip(rows, rest, strict=True))},
        prompt_tokens=np.full(count, 20),
        surface=np.zeros((count, len(SURFACE))),
        words=tuple(words_of((("user", str(i)),)) for i in range(count)),
        said={"small": (words_said("y"),) * count},
        states=states,
    )


def test_the_area_of_the_oracle_is_one_and_of_chance_nothing() -> None:
    stream = SeededChance(1).stream("area")
    gain_N = stream.choice([-1.0, 0.0, 1.0], size=5000, p=[0.03, 0.57, 0.4])
    assert area_share(gain_N, gain_N) == pytest.approx(1.0)
    assert area_share(np.zeros(5000), gain_N) == pytest.approx(0.0, abs=1e-9), "equal scores are chance"
    assert abs(area_share(stream.random(5000), gain_N)) < 0.05
    assert area_share(-gain_N, gain_N) < -0.9


def test_within_groups_a_score_that_only_knows_the_group_is_worth_nothing() -> None:
    groups_N = np.repeat([0, 1], 500)
    gain_N = np.where(SeededChance(2).stream("gain").random(1000) < np.where(groups_N, 0.8, 0.1), 1.0, 0.0)
    assert area_share(groups_N.astype(float), gain_N) > 0.4
    assert area_share(groups_N.astype(float), gain_N, groups_N) == pytest.approx(0.0, abs=1e-9)


def test_measures_of_probabilities_agree_with_their_definitions() -> None:
    right_N = np.array([True, True, False, False])
    assert auroc(np.array([0.9, 0.8, 0.2, 0.1]), right_N) == 1.0
    assert auroc(np.array([0.9, 0.2, 0.2, 0.1]), right_N) == pytest.approx(3.5 / 4)
    assert brier_skill(right_N.astype(float), right_N) == 1.0
    assert brier_skill(np.full(4, 0.5), right_N) == pytest.approx(0.0)
    assert calibration_error(np.array([1.0, 1.0, 0.0, 0.0]), right_N, bins=2) == 0.0
    assert calibration_error(np.full(4, 0.9), right_N, bins=1) == pytest.approx(0.4)


def test_a_cascade_on_known_outcomes_beats_chance_and_is_calibrated() -> None:
    fitted_on, judged, costs = made(4000, 1), made(4000, 2), {"small": 0.1, "large": 1.0}
    figures, curves = cascade_figures(fitted_on, judged, costs)
    assert figures["cascade_area"] > 0.5
    assert abs(figures["random_area"]) < 0.06
    assert figures["cascade_area_low"] < figures["cascade_area"] < figures["cascade_area_high"]
    assert figures["cascade_accuracy_share_of_large"] == pytest.approx(0.97, abs=0.02)
    assert figures["cascade_cost"] == pytest.approx(0.1 + figures["cascade_large_share"], abs=1e-3), "failed attempts are paid for"
    assert figures["climb_small_large_share"] == figures["cascade_large_share"], "of two models it is the whole cascade"
    assert figures["climb_small_large_accuracy"] == figures["cascade_accuracy"]
    assert figures["climb_small_large_share_foretold"] == pytest.approx(figures["climb_small_large_share"], abs=0.05)
    assert figures["climb_small_large_accuracy_foretold"] == pytest.approx(figures["climb_small_large_accuracy"], abs=0.03)
    assert curves["oracle"][0] == curves["random"][0]
    assert curves["oracle"][-1] == curves["random"][-1]
    confidence = confidence_figures(fitted_on, judged)
    assert confidence["ece"] < 0.04
    assert confidence["auroc"] > 0.75
    assert confidence["brier_skill"] > 0.1


def about_names(count: int, seed: int) -> Outcomes:
    """Questions about names of which few are asked about often: of these alone the small model knows, and its tokens do not show it."""
    plain, stream = made(count, seed), SeededChance(seed).stream("names")
    number_N = (400 * stream.random(count) ** 3).astype(int)
    messages = tuple((("user", f"where is Bek{chr(97 + number // 26)}{chr(97 + number % 26)}"),) for number in number_N)
    small_N = number_N < 60
    right = {"small": small_N, "large": np.ones(count, dtype=np.bool_)}
    truth_NT = np.stack((small_N, stream.random(count)), axis=1).astype(float)
    return replace(plain, messages=messages, words=tuple(map(words_of, messages)), right=right, truth=truth_NT)


def test_rare_words_tell_route_and_cascade_whom_to_ask_and_the_truth_about_tasks_tells_more() -> None:
    fitted_on, judged = about_names(4000, 1), about_names(2000, 2)
    gain_N = judged.right["large"].astype(float) - judged.right["small"]
    knows = deferral_scores(fitted_on, judged, "small", "large")["cascade"]
    blind = replace(judged, words=tuple(words_of(()) for _ in range(len(judged))))
    router = router_of(fitted_on)
    route = {name: router.expected(of.prompts(router.words)) for name, of in (("words", judged), ("blind", blind))}
    lead = {name: area_share(found[:, 1] - found[:, 0], gain_N) for name, found in route.items()}
    assert lead["words"] > 0.8 > 0.2 > abs(lead["blind"])
    assert area_share(knows, gain_N) > 0.8
    ceiling = ceiling_figures(fitted_on, judged)
    assert ceiling["route_ceiling_lead"] == pytest.approx(1.0, abs=0.02)
    assert ceiling["cascade_ceiling_area_low"] <= ceiling["cascade_ceiling_area"] <= ceiling["cascade_ceiling_area_high"]
    assert ceiling_figures(made(400, 1), made(400, 2)) == {}, "of a recording the truth is not known"


def test_agreement_of_drawn_answers_is_a_score_whose_draws_are_paid_for() -> None:
    plain, stream, costs = made(2000, 2), SeededChance(5).stream("samples"), {"small": 0.1, "large": 1.0}
    sure_N = np.exp([one.logprobs[1] for one in plain.evidence["small"]])
    samples = [
        tuple(text if stream.random() < sure else f"other {n}" for n in range(5)) for text, sure in zip(plain.texts["small"], sure_N, strict=True)
    ]
    judged = replace(plain, samples=tuple(samples))
    scores = deferral_scores(made(400, 1), judged, "small", "large")
    assert "self_consistency" not in deferral_scores(made(400, 1), plain, "small", "large"), "nobody drew"
    gain_N = judged.right["large"].astype(float) - judged.right["small"]
    area = area_share(scores["self_consistency"], gain_N)
    assert 0.2 < area < area_share(scores["likelihood"], gain_N), "five draws tell less than the probability itself"
    figures = consistency_figures(judged, scores, costs, 0.97)
    assert figures["self_consistency_area_low"] < area < figures["self_consistency_area_high"]
    assert figures["self_consistency_area_within_low"] < figures["self_consistency_area_within_high"]
    assert figures["self_consistency_samples"] == 5
    assert figures["self_consistency_cost_at_97"] == pytest.approx(0.6 + figures["self_consistency_large_share_at_97"], abs=1e-3)
    assert figures["likelihood_cost_at_97"] == pytest.approx(0.1 + figures["likelihood_large_share_at_97"], abs=1e-3)
    assert len(judged.only(np.arange(3)).samples) == 3


def test_results_are_compared_and_not_the_way_to_them() -> None:
    assert result_of("Bekal = Orbex h6 3, end: 7") == result_of("Bekal = Orbex h6 2, h7 5, end: 7.") == "7"
    assert result_of("站点：Orbex") == "Orbex"
    assert result_of('{"sst":4,"area":"coast"}') == '{"sst":4,"area":"coast"}'
    assert share_reaching(0.75, np.array([3.0, 2.0, 1.0, 0.0]), np.array([0.0, 1.0, 0.0, 0.0]), 0.5) == 0.5
    assert share_reaching(0.9, np.array([3.0, 2.0]), np.array([0.0, 0.0]), 0.5) == 1.0


def test_what_keeping_sure_beginnings_does_is_told_of_the_tasks_that_go_up() -> None:
    judged = made(400, 2)
    worse = judged.right["large"] & (np.arange(400) % 4 != 0)
    continued = Continued(right=worse, made=np.full(400, 15), anew=np.full(400, 20))
    asked_N = np.where(np.arange(400) < 200, 1, 0)
    figures = kept_figures(replace(judged, continued={"large": continued}), asked_N)
    assert figures["cascade_kept_tasks"] == 200
    assert figures["cascade_kept_accuracy"] == pytest.approx(worse[:200].mean(), abs=1e-4)
    assert figures["cascade_kept_change"] == pytest.approx((worse[:200].mean() - judged.right["large"][:200].mean()), abs=2e-4)
    assert figures["cascade_kept_change_low"] < figures["cascade_kept_change"] < figures["cascade_kept_change_high"] < 0
    assert figures["cascade_kept_spared"] == figures["cascade_kept_spared_low"] == 0.25
    calibration = calibrate(made(400, 1), "small")
    free, dear = (first_asked(judged, calibration, {"small": 0.1, "large": 1.0}, price) for price in (0.0, 2.0))
    assert 0 < free.sum() < 400, "sure answers stay, however cheap the larger model"
    assert dear.sum() == 0
    assert kept_figures(replace(judged, continued={"large": continued}), dear) == {"cascade_kept_tasks": 0}


def test_a_route_on_known_outcomes_leads_chance_and_on_noise_does_not() -> None:
    fitted_on, judged, costs = made(3000, 1), made(3000, 2), {"small": 0.1, "large": 1.0}
    assert route_figures(fitted_on, judged, costs)[0]["route_lead"] > 0.3, "trees read the state"
    seen = [replace(of, surface=of.surface + of.states[:, :1]) for of in (fitted_on, judged)]
    figures, curves = route_figures(seen[0], seen[1], costs)
    for name in ("route", "route_knn"):
        assert figures[f"{name}_lead"] > 0.3
        assert figures[f"{name}_lead_low"] < figures[f"{name}_lead"] < figures[f"{name}_lead_high"]
        assert figures[f"{name}_unseen_lead"] > 0.3, "what the text says holds for every family here"
        assert figures[f"{name}_auroc"] > 0.7
        assert figures[f"{name}_ece"] < 0.06
        assert len(curves[name]) > 10
    assert figures["route_decision_ms_p99"] > 0
    blind = replace(fitted_on, states=fitted_on.states[:, 1:7]), replace(judged, states=judged.states[:, 1:7])
    assert abs(route_figures(*blind, costs)[0]["route_lead"]) < 0.08


def test_a_free_larger_model_is_asked_where_it_gains_and_a_dear_one_never() -> None:
    outcomes = made(2000, 3)
    best = fitted_price(outcomes, {"small": 0.0, "large": 1.0}, lambda outlooks: max(outlooks, key=lambda one: one.accuracy))
    dear = fitted_price(outcomes, {"small": 0.0, "large": 1.0}, lambda outlooks: outlooks[-1])
    assert best.accuracy >= float(outcomes.right["large"].mean()) - 0.005, "a sure small model's answer costs no accuracy"
    assert dear.large_share < 0.05


def row(task: str, model: str, *, correct: bool, logprobs: bool = True) -> Recorded:
    sure = 0.95 if correct else 0.6
    known = (math.log(sure), math.log(0.98)) if logprobs else None
    return Recorded(
        task_id=task,
        family="terms",
        grade=1,
        language="en",
        template="t",
        messages=(("user", task),),
        reference="x",
        upstream="http://127.0.0.1:1/v1",
        model=model,
        answer="x" if correct else f"{model} {task}",
        finish_reason="stop",
        correct=correct,
        tokens=(b"x", b"y"),
        logprobs=known,
        top_tokens=((b"x", b"z"), (b"y", b"z")) if logprobs else None,
        top_logprobs=((math.log(sure), math.log(1 - sure)), (math.log(0.98), math.log(0.02))) if logprobs else None,
        arrivals_s=(0.1, 0.2),
        time_to_first_token_s=0.1,
        total_s=0.2,
        prompt_tokens=None,
        completion_tokens=2,
    )


def recorded(count: int = 600, **changes: bool) -> Recording:
    stream = SeededChance(4).stream("rows")
    rows = [
        row(f"t{i}", model, correct=bool(stream.random() < share), **changes)
        for i in range(count)
        for model, share in (("small", 0.5), ("large", 0.95))
    ]
    return Recording(path="r.parquet", rows=tuple(rows))


def test_a_recording_is_read_by_task_and_calibrated_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = recorded_outcomes(recorded(), ("small", "large"))
    assert len(outcomes) == 600
    assert outcomes.evidence["small"][0].runners_up[1] == pytest.approx(math.log(0.02))
    write_recording(tmp_path / "r.parquet", recorded().rows)
    asked = [
        "calibrate",
        "--recording",
        str(tmp_path / "r.parquet"),
        "--models",
        "small",
        "large",
        "--large-share",
        "0.6",
        "--router",
        "knn",
        "--home",
        str(tmp_path),
        "--json",
    ]
    assert main(asked) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["large_share"] <= 0.6
    assert told["accuracy"] > told["accuracies"]["small"]
    assert calibrations_at(tmp_path).price == told["price"]
    assert set(calibrations_at(tmp_path).models) == {"small"}
    router = calibrations_at(tmp_path).routers["small"]
    assert (router.models, router.kind, router.price) == (("small", "large"), "knn", told["route"]["price"])
    assert not router.needs_state, "a recording has no states"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--models", "a", "b"], "are of a recording"),
        (["--recording", "r.parquet"], "which of its models is larger"),
        (["--keep-accuracy", "1.5"], "share from 0 to 1"),
        (["--recording", "r.parquet", "--models", "a", "b", "--costs", "1"], "1 costs for 2 models"),
        (["--recording", "missing.parquet", "--models", "a", "b"], "no recording"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", *arguments, "--home", str(tmp_path)]) != 0
    assert says in capsys.readouterr().err


def test_recordings_that_tell_too_little_are_refused() -> None:
    with pytest.raises(UsageError, match="leaves nothing to choose"):
        recorded_outcomes(recorded(10), ("small",))
    with pytest.raises(UsageError, match="no model"):
        recorded_outcomes(recorded(10), ("small", "huge"))
    with pytest.raises(UsageError, match="no log-probabilities"):
        recorded_outcomes(recorded(10, logprobs=False), ("small", "large"))


def test_policies_are_fitted_on_held_out_tasks_that_are_not_judged() -> None:
    tasks = calibration_tasks(2)
    assert len(tasks) > 100
    assert all(is_held_out(task) for task in tasks)
    assert not {task.id for task in tasks} & {task.id for task in judged_tasks()}
    costs = installed_costs()
    assert costs["netgpt-device"] < costs["netgpt-edge"] < costs["netgpt-cloud"] == 1


class Likely:
    """Keeps what was likely, by the mean log-probability; before an answer it knows nothing."""

    def weigh(self, situation: Situation) -> list[float]:
        first = situation.confidence.get("mean_logprob", 0.0)
        return [first, *(-0.2 for _ in situation.options[1:])]


class Failing:
    def weigh(self, situation: Situation) -> list[float]:
        raise KeyError("battery")


def test_a_policy_is_judged_on_the_same_tasks_and_by_the_same_measures_as_the_cascade() -> None:
    fitted_on, judged, costs = made(1000, 1), made(1000, 2), {"small": 0.1, "large": 1.0}
    ours, curves = cascade_figures(fitted_on, judged, costs)
    figures, lines = policy_figures(NamedPolicy("likely", Likely()), fitted_on, judged, costs, STEP_CELL)
    assert figures["policy_area"] == ours["likelihood_area"]
    assert figures["policy_area_within"] == ours["likelihood_area_within"]
    assert lines["policy"] == curves["likelihood"]
    assert figures["policy_area_low"] < figures["policy_area"] < figures["policy_area_high"]  # type: ignore[operator]
    assert figures["policy_cost"] == pytest.approx(0.1 + figures["policy_large_share"], abs=1e-3), "failed attempts are paid for"
    assert 0 < figures["policy_large_share"] < 1  # type: ignore[operator]
    assert figures["policy_before_area"] == pytest.approx(0.0, abs=1e-9)
    assert figures["policy_before_cost"] == 0.1, "it always keeps to the first"


def test_a_policy_that_fails_is_named_with_the_task() -> None:
    outcomes = made(400, 3)
    with pytest.raises(UsageError, match="policy 'mine' failed") as refused:
        policy_figures(NamedPolicy("mine", Failing()), outcomes, outcomes, {"small": 0.1, "large": 1.0}, STEP_CELL)
    assert "small's answer" in refused.value.hint


def test_parts_and_policies_are_of_choose_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "engine", "--part", "auto"]) == 2
    assert "takes no part" in capsys.readouterr().err
    assert main(["bench", "choose", "--policy", "nobody"]) == 2
    assert "unknown policy 'nobody'" in capsys.readouterr().err
