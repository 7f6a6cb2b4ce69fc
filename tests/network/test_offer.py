"""What a node says of its pace is what the declared machine keeps."""

import pytest

from netgpt.network.offer import Offer, offer_of, pace_of
from netgpt.network.profile import find_profile
from netgpt.network.roofline import declare
from netgpt.network.shape import find_shape, shapes, sized_shape

MACHINES = [
    ("phone", sized_shape(1e9)),
    ("h200", sized_shape(70e9)),
    ("epyc-9654", sized_shape(8e9)),
    ("orin-agx-64", find_shape(next(iter(shapes())))),
]


@pytest.mark.parametrize(("profile", "shape"), MACHINES, ids=[name for name, _ in MACHINES])
def test_a_pace_is_the_roofline_in_eight_numbers(profile: str, shape: object):
    declared = declare(find_profile(profile), shape)  # type: ignore[arg-type]
    pace = pace_of(declared)
    for tokens, past in ((1, 0), (40, 0), (700, 0), (2000, 0), (30, 900)):
        assert pace.prefill_s(tokens, past) == pytest.approx(declared.prefill_s(tokens, past))
    for contexts in ([100], [50, 700], [300] * 16):
        assert pace.decode_s(len(contexts), sum(contexts)) == pytest.approx(declared.decode_s(contexts))
    assert pace.prefill_s(0) == 0.0


def test_a_price_is_that_of_a_million_tokens():
    assert Offer(price_prompt=2.0, price_answer=10.0).cost(1_000_000, 500_000) == 7.0


def test_a_node_that_keeps_its_own_pace_says_only_what_it_costs():
    assert offer_of(None, price_answer=3.0, quality=0.5) == Offer(price_answer=3.0, quality=0.5)
