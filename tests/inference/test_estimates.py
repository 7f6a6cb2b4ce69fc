"""What a door learns of a node: factors correct what was told, load counts once, what is overdue counts before it ends."""

from dataclasses import replace

import pytest

from netgpt.inference.estimates import ASSUMED_PACE, NODES, OUTLOOK_S, Estimates, NodeView, Sample, token_time_s
from netgpt.models.generation import Load
from netgpt.network.member import Member
from netgpt.network.offer import Offer, Pace

PACE = Pace(layers_s=0.0002, head_s=0.001, read_s=0.02)
CLOUD = Member(
    id="cloud1", tier="cloud", engine_address="-", door_url="-", slots=4, context_tokens=2048, state="ready", quality=0.9, offer=Offer(pace=PACE)
)
SAMPLE = Sample(
    at_s=1.0,
    prompt_tokens=200,
    answer_tokens=21,
    sent_bytes=350,
    received_bytes=310,
    first_s=0.15,
    queue_s=0.02,
    prefill_s=1.2 * PACE.prefill_s(200),
    token_s=1.1 * token_time_s(PACE, 0.0, 210.5),
)


def seen(*samples: Sample, member: Member = CLOUD, now_s: float = 1.0, own: int = 0) -> NodeView:
    estimates = Estimates("device1")
    estimates.view(member, 0.0, own=0)
    for sample in samples:
        estimates.answered(member, sample)
    return estimates.view(member, now_s, own=own)


def test_before_anything_is_known_what_a_node_says_counts():
    view = seen()
    assert (view.pace, view.prefill_ratio, view.step_ratio) == (PACE, 1.0, 1.0)
    assert (view.pace_from, view.way_from, view.quality_from, view.quality) == ("told", "assumed", "card", 0.9)
    silent = seen(member=replace(CLOUD, offer=None, quality=0.0))
    assert (silent.pace, silent.pace_from, silent.quality_from) == (ASSUMED_PACE, "assumed", "assumed")
    assert silent.quality > 0.5
    assert silent.pace_spread > view.pace_spread


def test_one_answer_corrects_the_pace_the_way_and_the_bytes():
    view = seen(SAMPLE)
    assert view.prefill_ratio == pytest.approx(1.2)
    assert view.step_ratio == pytest.approx(1.1)
    assert view.rtt_s + view.byte_s * 350 == pytest.approx(0.15 - 0.02 - SAMPLE.prefill_s)
    assert (view.up.at(200), view.down.at(21)) == pytest.approx((350, 310), rel=0.05)
    assert (view.pace_from, view.way_from) == ("learnt", "measured")


def test_an_answer_from_the_cache_says_nothing_of_how_long_a_prompt_takes():
    assert seen(replace(SAMPLE, cached=150)).prefill_ratio == 1.0


def test_a_probe_tells_the_round_trip_and_the_rate():
    estimates = Estimates("device1")
    assert estimates.wants_rate(CLOUD, 0.04, 1.0)
    estimates.probed(CLOUD, 0.04, 1.0)
    estimates.probed_rate(CLOUD, 0.01, 1000, 1.0)
    assert not estimates.wants_rate(CLOUD, 0.041, 1.5)
    assert estimates.wants_rate(CLOUD, 0.06, 1.5), "it took longer than it used to"
    assert estimates.wants_rate(CLOUD, 0.04, 9.0), "that was long ago"
    view = estimates.view(CLOUD, 1.0, own=0)
    assert (view.rtt_s, view.byte_s) == pytest.approx((0.04, 1e-5))
    assert estimates.stale(CLOUD, 3.0) == 2.0


def test_requests_of_others_wait_for_slots_and_the_doors_own_count_once():
    estimates = Estimates("device1")
    busy = replace(CLOUD, running=4, waiting=1)
    estimates.view(CLOUD, 0.0, own=0)
    for second in (1.0, 2.0, 3.0):
        estimates.report(busy, Load(running=4, waiting=1), second, own=0)
    assert estimates.view(CLOUD, 3.0, own=0).full == pytest.approx(1.5, abs=0.3)
    own = Estimates("device1")
    own.view(CLOUD, 0.0, own=3)
    own.report(CLOUD, Load(running=3), 1.0, own=3)
    assert own.view(CLOUD, 1.0, own=3).full == 0
    assert own.view(CLOUD, 1.0, own=5).full > 0


def told(estimates: Estimates, *free_s: float, asked_s: float = 1.0, now_s: float = 1.1, **more: float) -> None:
    estimates.view(CLOUD, 0.0, own=0)
    estimates.report(CLOUD, Load(running=4, free_s=free_s, **more), now_s, own=0, asked_s=asked_s)  # type: ignore[arg-type]


def test_what_a_node_says_of_its_slots_ages_and_is_forgotten():
    estimates = Estimates("device1")
    assert estimates.view(CLOUD, 1.0, own=0).free_s == ()
    told(estimates, 0.3, 0.9)
    assert estimates.view(CLOUD, 1.25, own=0).free_s == pytest.approx((0.1, 0.7)), "it was said half a round trip before it was heard"
    assert estimates.view(CLOUD, 1.05 + 2 * OUTLOOK_S, own=0).free_s == ()
    assert estimates.is_busy(CLOUD)
    told(estimates, 0.0, 0.0, asked_s=3.0, now_s=3.1)
    assert estimates.load_age_s(CLOUD, 3.1) == pytest.approx(0.05)


def test_what_the_door_has_sent_since_takes_the_slots_that_get_free_first():
    estimates = Estimates("device1")
    told(estimates, 0.3, 0.9)
    estimates.send("cloud1", "mine", 1.1, 0.3, 1.3)
    assert estimates.view(CLOUD, 1.15, own=1).free_s == pytest.approx((0.8, 1.2))
    told(estimates, 0.2, 0.9, asked_s=1.2, now_s=1.3)
    assert estimates.view(CLOUD, 1.25, own=1).free_s == pytest.approx((0.2, 0.9)), "now the node has counted it"


def test_a_door_that_holds_requests_back_waits_for_its_own_to_end():
    estimates = Estimates("device1")
    estimates.view(CLOUD, 0.0, own=0)
    for call, total_s in (("a", 2.0), ("b", 1.0), ("c", 3.0)):
        estimates.send("cloud1", call, 0.0, 0.1, total_s)
    assert estimates.view(CLOUD, 0.5, own=3).held_s == 0
    assert estimates.view(CLOUD, 0.5, own=3, ahead=2).held_s == pytest.approx(1.5)
    estimates.end("cloud1", "b")
    assert estimates.view(CLOUD, 0.5, own=2, ahead=2).held_s == pytest.approx(2.5)


def test_before_the_first_answer_the_pace_is_what_the_node_has_measured():
    estimates = Estimates("device1")
    told(estimates, 0.3, 0.3, 0.4, 0.4, step_s=1.3 * token_time_s(PACE, 3.0, 200), prompt_token_s=1.2 * PACE.prefill_s(200) / 200)
    view = estimates.view(CLOUD, 1.1, own=0)
    assert (view.step_ratio, view.prefill_ratio) == pytest.approx((1.3, 1.2))
    estimates.answered(CLOUD, SAMPLE)
    assert estimates.view(CLOUD, 1.1, own=0).prefill_ratio == pytest.approx(1.2)


def test_that_a_node_had_short_prompts_does_not_make_it_slow():
    estimates = Estimates("device1")
    told(estimates, 0.3, 0.3, 0.4, 0.4, prompt_token_s=1.2 * PACE.prefill_s(8) / 8, prompt_tokens=8.0)
    assert estimates.view(CLOUD, 1.1, own=0).prefill_ratio == pytest.approx(1.2)


def test_what_is_overdue_counts_until_something_younger_is_heard_of():
    estimates = Estimates("device1")
    estimates.view(CLOUD, 0.0, own=0)
    estimates.ask("cloud1", "first", 0.0, 0.2)
    assert estimates.view(CLOUD, 0.3, own=0).late_s == 0
    assert estimates.view(CLOUD, 2.0, own=0).late_s == pytest.approx(2.0 - 0.2)
    estimates.ask("cloud1", "second", 2.0, 0.2)
    estimates.hear("cloud1", "second", 2.1)
    assert estimates.view(CLOUD, 2.1, own=0).late_s == 0, "one answer of one that was asked later: the first is an exception"
    estimates.ask("cloud1", "third", 2.2, 0.2)
    estimates.forget("cloud1", "third")
    assert estimates.view(CLOUD, 9.0, own=0).late_s == 0


def test_who_is_under_way_is_taken_to_be_as_late_as_who_came_last():
    estimates = Estimates("device1")
    estimates.view(CLOUD, 0.0, own=0)
    estimates.ask("cloud1", "first", 0.0, 0.2)
    estimates.ask("cloud1", "second", 1.4, 0.2)
    estimates.hear("cloud1", "first", 1.5)
    assert estimates.view(CLOUD, 1.6, own=0).late_s == pytest.approx(1.3), "the second is not overdue yet, but why should it do better?"
    estimates.hear("cloud1", "second", 1.65)
    estimates.ask("cloud1", "third", 1.7, 0.2)
    assert estimates.view(CLOUD, 1.8, own=0).late_s == 0, "it did"


def test_waits_of_late_fade_into_what_the_load_lets_expect():
    fresh, old = seen(SAMPLE, now_s=1.0), seen(SAMPLE, now_s=30.0)
    assert (fresh.queue_s, fresh.queue_trust) == (pytest.approx(0.02), pytest.approx(0.5))
    assert old.queue_trust < 0.001


def test_more_sessions_and_longer_contexts_slow_a_token_down():
    times = [token_time_s(PACE, running, context) for running, context in ((0, 100), (3, 100), (15, 100))]
    assert times == sorted(times)
    assert times[0] < times[-1] < 5 * times[0]


def test_what_is_kept_of_nodes_is_bounded():
    estimates = Estimates("device1")
    for number in range(2 * NODES):
        estimates.view(replace(CLOUD, id=f"cloud{number}"), 0.0, own=0)
    assert len(estimates._nodes) == NODES
