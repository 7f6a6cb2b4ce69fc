"""When a larger model is asked: prices, budgets, and drift. Pure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgpt.core.chance import SeededChance
from netgpt.inference.confidence import Judgement
from netgpt.inference.escalation import WINDOW, Drift, Outlook, choose_next, price_for_accuracy, price_for_share, shifted

COSTS = {"edge": 0.1, "cloud": 1.0}
SHARES = st.floats(0.01, 0.99)


def judged(right: float, edge: float = 0.8, cloud: float = 0.95) -> Judgement:
    return Judgement(right=right, others={"edge": edge, "cloud": cloud}, agrees={})


def test_a_sure_answer_is_kept_and_an_unsure_one_goes_where_it_gains_most() -> None:
    assert choose_next(judged(0.94), COSTS, 0.05).model == ""
    assert choose_next(judged(0.3), COSTS, 0.0).model == "cloud"
    assert choose_next(judged(0.3), COSTS, 0.3).model == "edge", "the cloud's 15 points more are not worth 27"
    assert choose_next(judged(0.3), {"edge": 0.1}, 0.0).model == "edge", "only what can be asked is"


def test_of_an_unknown_model_the_best_is_expected() -> None:
    assert choose_next(judged(0.5), {"other": 1.0}, 0.4).model == "other"
    assert choose_next(judged(0.7), {"other": 1.0}, 0.4).model == ""


@given(SHARES, SHARES, SHARES, st.floats(0, 1), st.floats(0, 1))
def test_what_is_asked_at_a_high_price_is_asked_at_a_low_one(right: float, edge: float, cloud: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    if choose_next(judged(right, edge, cloud), COSTS, high).model:
        assert choose_next(judged(right, edge, cloud), COSTS, low).model


@given(SHARES, SHARES, st.floats(0, 1))
def test_a_surer_answer_is_kept_where_a_less_sure_one_is(one: float, other: float, price: float) -> None:
    less, more = sorted((one, other))
    if not choose_next(judged(less), COSTS, price).model:
        assert not choose_next(judged(more), COSTS, price).model


def outlook(price: float, accuracy: float, large_share: float) -> Outlook:
    return Outlook(price=price, accuracy=accuracy, large_share=large_share, cost=large_share + 0.05)


OUTLOOKS = [outlook(0.0, 0.92, 0.8), outlook(0.1, 0.90, 0.5), outlook(0.3, 0.80, 0.2), outlook(1.0, 0.60, 0.0)]


@pytest.mark.parametrize(("accuracy", "price"), [(0.9, 0.1), (0.85, 0.1), (0.5, 1.0), (0.99, 0.0)])
def test_an_accuracy_has_its_cheapest_price(accuracy: float, price: float) -> None:
    assert price_for_accuracy(OUTLOOKS, accuracy).price == price


@pytest.mark.parametrize(("share", "price"), [(0.8, 0.0), (0.6, 0.1), (0.1, 1.0)])
def test_a_share_of_calls_has_its_most_accurate_price(share: float, price: float) -> None:
    assert price_for_share(OUTLOOKS, share).price == price


def seen(shift: float, labels: int, seed: int = 1) -> Drift:
    """A drift that has seen labels of a world whose probabilities are moved by `shift` logits."""
    stream, drift = SeededChance(seed).stream("drift"), Drift()
    for expected in stream.uniform(0.1, 0.9, labels):
        drift.see(float(expected), bool(stream.random() < shifted(float(expected), shift)))
    return drift


def test_drift_finds_the_shift_and_raises_the_alarm() -> None:
    found = [seen(-1.5, WINDOW, seed) for seed in range(8)]
    assert np.mean([one.shift for one in found]) == pytest.approx(-1.5, abs=0.35)
    assert all(one.alarm for one in found)


def test_no_alarm_without_drift() -> None:
    found = [seen(0.0, WINDOW, seed) for seed in range(40)]
    assert sum(one.alarm for one in found) <= 1
    assert abs(np.mean([one.shift for one in found])) < 0.1


def test_few_labels_move_little_and_old_ones_are_forgotten() -> None:
    assert abs(seen(-3.0, 3).shift) < 1.0
    drift = seen(-1.5, WINDOW)
    stream = SeededChance(9).stream("after")
    for expected in stream.uniform(0.1, 0.9, WINDOW):
        drift.see(float(expected), bool(stream.random() < expected))
    assert abs(drift.shift) < 0.4
    assert not drift.alarm


def test_a_shift_changes_what_is_chosen() -> None:
    assert choose_next(judged(0.9), COSTS, 0.1).model == ""
    assert choose_next(judged(0.9), COSTS, 0.1, shift=-2.0).model != ""
