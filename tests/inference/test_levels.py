"""Running estimates: one outlier moves nothing, a step is followed after two samples, what is old counts for little."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgpt.inference.levels import APART_S, WINDOW, Fading, Level, Line
from netgpt.models.lengths import KINDS, Lengths


def level(*values: float, every_s: float = 1.0) -> Level:
    found = Level(5.0, 0.5)
    for number, value in enumerate(values):
        found.add(value, number * every_s)
    return found


def test_before_the_first_sample_the_prior_counts():
    assert (level().value, level().spread(0.0), level().count) == (5.0, 0.5, 0)


def test_one_outlier_moves_nothing_and_two_samples_that_agree_do():
    steady = [1.0, 1.02, 0.98, 1.0, 1.01]
    assert level(*steady).value == pytest.approx(1.0, abs=0.02)
    assert level(*steady, 9.0).value == pytest.approx(1.0, abs=0.05)
    assert level(*steady, 9.0, 9.2).value == pytest.approx(9.1, abs=0.2)
    assert level(*[0.02] * 8, 1.1, 2.0, 3.0).value > 1.0, "what is still climbing has left its old level"


def test_noise_is_averaged():
    assert level(0.9, 1.1, 0.95, 1.05, 0.9, 1.1, 1.0, 1.0).value == pytest.approx(1.0, abs=0.03)


def test_of_samples_in_quick_succession_some_are_taken():
    hurried = level(*[1.0] * 100, *[3.0] * 100, every_s=APART_S / 5)
    assert (hurried.count, hurried.value) == (WINDOW, pytest.approx(3.0)), "a jump is followed all the same"
    assert level(1.0, 9.0, every_s=APART_S / 2).count == 1


def test_what_is_old_is_less_sure():
    sure = level(*[2.0] * 8)
    assert sure.spread(8.0) < 0.1 < sure.spread(60.0) <= 0.5


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=40))
def test_a_level_stays_within_its_newest_samples(values: list[float]):
    kept = values[-WINDOW:]
    assert min(kept) * 0.999 <= level(*values).value <= max(kept) * 1.001


def test_a_fading_mean_forgets_with_time_not_with_samples():
    mean = Fading(2.0)
    assert mean.trust(0.0) == 0.0
    mean.add(1.0, 0.0)
    mean.add(3.0, 100.0)
    assert mean.mean == pytest.approx(3.0)
    assert mean.trust(100.0) == pytest.approx(0.5), "one sample beside a guess that counts as one"
    assert mean.trust(102.0) == pytest.approx(0.3679 / 1.3679, abs=1e-3)


def test_a_line_is_learnt_from_few_samples_and_from_one_keeps_its_slope():
    line = Line(10.0, 2.0, 50.0)
    assert (line.at(0.0), line.at(10.0)) == pytest.approx((10.0, 30.0))
    line.add(20.0, 100.0)
    assert line.at(20.0) == pytest.approx(95, abs=6)
    for x in (5.0, 40.0, 12.0, 30.0, 22.0, 45.0, 8.0, 33.0):
        line.add(x, 60.0 + 3.0 * x)
    assert line.at(100.0) == pytest.approx(360.0, rel=0.05)
    assert line.slope == pytest.approx(3.0, rel=0.05)


def test_answers_are_expected_to_be_as_long_as_earlier_ones():
    lengths = Lengths()
    assert lengths.mean("", "auto", 500) == 64
    for tokens in (10, 20, 30, 40):
        lengths.add("k", "auto", tokens, cut=False)
    assert lengths.mean("k", "auto", 500) == pytest.approx(25)
    assert lengths.mean("k", "auto", 20) == pytest.approx((10 + 20 * 3) / 4)
    assert lengths.quantile("k", "auto", 500, 0.5) == 20
    assert lengths.mean("other", "auto", 500) == pytest.approx(25), "who has asked nothing is taken for everybody"


def test_answers_that_were_cut_would_have_been_longer():
    lengths = Lengths()
    for _ in range(6):
        lengths.add("k", "auto", 16, cut=True)
    assert lengths.mean("k", "auto", 16) == 16
    assert lengths.mean("k", "auto", 48) == 48, "no answer has ended before its limit yet"
    lengths.add("k", "auto", 12, cut=False)
    assert 12 < lengths.mean("k", "auto", 200) < 200


def test_that_all_answers_were_cut_early_does_not_make_the_next_one_endless():
    lengths = Lengths()
    assert lengths.quantile("k", "auto", 2000, 0.1) < 10, "some answers are short, and nobody has seen one yet"
    for _ in range(64):
        lengths.add("k", "auto", 12, cut=True)
    assert lengths.mean("k", "auto", 12) == 12
    assert lengths.mean("k", "auto", 2000) == 12 + 64
    assert lengths.left("k", "auto", 12, 2000) == 1988, "a slot is promised to nobody too early"
    assert lengths.quantile("k", "auto", 2000, 0.1) == 12
    lengths.add("k", "auto", 500, cut=True)
    assert lengths.mean("k", "auto", 2000) == 1000
    lengths.add("k", "auto", 40, cut=False)
    assert lengths.mean("k", "auto", 2000) > 100, "one has ended: now there is a rate"


def test_what_is_left_of_an_answer_is_what_longer_ones_had_beyond():
    lengths = Lengths()
    assert lengths.left("k", "auto", 10, 500) == 64
    for tokens in (10, 20, 30, 40):
        lengths.add("k", "auto", tokens, cut=False)
    assert lengths.left("k", "auto", 0, 500) == pytest.approx(lengths.mean("k", "auto", 500))
    assert lengths.left("k", "auto", 10, 500) == pytest.approx((10 + 20 + 30) / 3)
    assert lengths.left("k", "auto", 35, 500) == pytest.approx(5)
    assert lengths.left("k", "auto", 25, 30) == pytest.approx(5), "none ended in between"
    assert 0 < lengths.left("k", "auto", 60, 500) <= 100, "longer than any"
    assert lengths.left("k", "auto", 30, 30) == 0


def test_what_is_kept_of_keys_is_bounded():
    lengths = Lengths()
    for number in range(3 * KINDS):
        lengths.add(f"key {number}", "auto", 5, cut=False)
    assert len(lengths._kinds) == KINDS
