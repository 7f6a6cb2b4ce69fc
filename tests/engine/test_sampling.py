"""The choice of a token: exact filters, exact shares, and noise that depends on seed and position alone."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgpt.core.errors import InvalidRequest
from netgpt.engine.sampling import check_sampling, choose, gumbel, kept_tokens
from netgpt.models.generation import GREEDY, Sampling

LOGITS = np.log(np.array([0.05, 0.4, 0.15, 0.3, 0.1], dtype=np.float32))


def test_greedy_takes_the_likeliest() -> None:
    assert choose(LOGITS, GREEDY, 3) == 1
    assert choose(LOGITS, Sampling(temperature=0.0, seed=5), 4) == 1


@pytest.mark.parametrize(
    ("top_k", "top_p", "kept"),
    [
        (0, 1.0, [0, 1, 2, 3, 4]),
        (2, 1.0, [1, 3]),
        (9, 1.0, [0, 1, 2, 3, 4]),
        (0, 0.39, [1]),
        (0, 0.5, [1, 3]),
        (0, 0.8, [1, 2, 3]),
        (0, 1e-9, [1]),
        (3, 0.5, [1, 3]),  # of the three kept, 0.4 / 0.85 is not enough
        (2, 0.5, [1]),  # of the two kept, 0.4 / 0.7 is
    ],
)
def test_filters_keep_the_likeliest(top_k: int, top_p: float, kept: list[int]) -> None:
    assert kept_tokens(LOGITS.astype(np.float64), top_k, top_p).tolist() == kept


@given(st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=40), st.integers(0, 50), st.floats(0.01, 1.0))
def test_filters_never_keep_nothing_and_never_drop_a_likelier_token(values: list[float], top_k: int, top_p: float) -> None:
    scaled = np.array(values)
    kept = kept_tokens(scaled, top_k, top_p)
    assert scaled.argmax() in kept
    assert not len(np.setdiff1d(np.flatnonzero(scaled >= scaled[kept].min()), kept))


def test_only_what_is_allowed_is_drawn_and_with_the_same_noise() -> None:
    some = np.array([0, 2, 4])
    assert choose(LOGITS, GREEDY, 3, some) == 2
    warm = Sampling(temperature=1.0, seed=1)
    draws = [(choose(LOGITS, warm, position), choose(LOGITS, warm, position, some)) for position in range(200)]
    assert {token for _, token in draws} == {0, 2, 4}
    assert all(token == free for free, token in draws if free in some)
    assert {choose(LOGITS, Sampling(temperature=1.0, top_k=1, seed=1), position, some) for position in range(50)} == {2}  # filters see what is left
    assert choose(LOGITS, warm, 7, np.array([3])) == 3


def test_draws_have_the_softmaxs_shares() -> None:
    count = 4000
    draws = np.bincount([choose(LOGITS, Sampling(temperature=1.0, seed=1), position) for position in range(count)], minlength=5)
    assert np.abs(draws / count - np.exp(LOGITS)).max() < 0.03  # 4 standard deviations
    cold = np.bincount([choose(LOGITS, Sampling(temperature=0.5, seed=1), position) for position in range(count)], minlength=5)
    assert np.abs(cold / count - np.exp(2 * LOGITS) / np.exp(2 * LOGITS).sum()).max() < 0.03


def test_a_draw_depends_on_seed_and_position_alone() -> None:
    def draws(seed: int) -> list[int]:
        return [choose(LOGITS, Sampling(temperature=1.0, seed=seed), position) for position in range(50)]

    assert draws(3) == draws(3)
    assert draws(3) != draws(4)
    backwards = [choose(LOGITS, Sampling(temperature=1.0, seed=3), position) for position in reversed(range(50))]
    assert backwards[::-1] == draws(3)


def test_extremes_give_a_token_and_no_warning() -> None:
    wide = np.array([-1e30, 3e4, -3e4, 0.0], dtype=np.float32)
    assert choose(wide, Sampling(temperature=1e-6, top_p=0.5, seed=-7), 0) == 1
    assert np.isfinite(gumbel(np.array([0.0, 0.5, 1 - 2**-53]))).all()


@pytest.mark.parametrize(
    ("sampling", "param"),
    [
        (Sampling(temperature=-0.1), "temperature"),
        (Sampling(temperature=float("nan")), "temperature"),
        (Sampling(temperature=float("inf")), "temperature"),
        (Sampling(top_p=0.0), "top_p"),
        (Sampling(top_p=1.1), "top_p"),
        (Sampling(top_k=-1), "top_k"),
    ],
)
def test_meaningless_settings_are_refused(sampling: Sampling, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_sampling(sampling)
    assert caught.value.param == param


def test_sampling_loads_no_torch() -> None:
    code = "import sys, netgpt.engine.sampling; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
