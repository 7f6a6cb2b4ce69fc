"""How late first tokens are told to come at worst: from how late they came, apart for those that are to wait, forgotten in time."""

import pytest

from netgpt.core.chance import SeededChance
from netgpt.inference.lateness import FIRST_GUESSES, KEPT, Lateness


def test_before_anything_is_known_who_is_to_wait_may_come_later():
    lateness = Lateness()
    assert lateness.rare()[False] == pytest.approx(FIRST_GUESSES[0])
    assert lateness.rare()[True] == pytest.approx(FIRST_GUESSES[1])


def test_one_in_twenty_comes_later_than_is_told():
    lateness, stream = Lateness(), SeededChance(1).stream("late")
    ratios = stream.lognormal(0.0, 0.5, size=2000)
    later = 0
    for place, ratio in enumerate(ratios):
        later += place >= KEPT and ratio > lateness.rare()[True]
        lateness.add(2.0, 2.0 * float(ratio), waits=True)
    assert later / (len(ratios) - KEPT) == pytest.approx(0.05, abs=0.02)
    assert lateness.rare()[False] == pytest.approx(FIRST_GUESSES[0]), "the other kind has learnt nothing"


def test_what_was_long_ago_is_forgotten_and_nothing_is_told_to_come_early():
    lateness = Lateness()
    for ratio in [9.0] * KEPT + [0.5] * KEPT:
        lateness.add(1.0, ratio, waits=False)
    assert lateness.rare()[False] == 1.0
    lateness.add(0.0, 1.0, waits=False)
