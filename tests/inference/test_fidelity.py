"""What `auto` makes of shortened prompts and of variants: pure decisions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netgpt.inference.estimates import Sample
from netgpt.inference.objective import objective_of
from netgpt.inference.planning import CASCADE, COMPRESSED, DIRECT, WHOLE, Candidate, Features, Limits, Shortened, choose
from netgpt.inference.predicting import as_variant, candidates, predict
from netgpt.inference.variants import Corrections
from netgpt.models.quality import assumed_quality, compressed_quality, precision_quality
from netgpt.network.offer import Offer, Pace, Variant

from .test_planner import member
from .test_planning import view

SHORTENED = Shortened(tokens=400, left_out=0.5, took_s=0.2, energy_j=1.0)
FEATURES = Features(prompt_tokens=800, answer_tokens=30, short_tokens=5, shortened=SHORTENED)
WAY = Candidate(strategy=DIRECT, nodes=("cloud1",))
SHORT = replace(WAY, fidelity=COMPRESSED)
NARROW = Pace(layers_s=0.0002, head_s=0.001, read_s=0.008)
OFFER = Offer(power_w=5.0, variants=(Variant(name="int4", pace=NARROW), Variant(name="bf16")))


def test_a_shortened_prompt_takes_fewer_bytes_and_less_prefill_and_its_reading_goes_before() -> None:
    nodes = {"cloud1": view(byte_s=1e-4)}
    whole, short = predict(WAY, FEATURES, nodes), predict(SHORT, FEATURES, nodes)
    same_size = predict(WAY, replace(FEATURES, prompt_tokens=400), nodes)
    assert short.up_bytes == same_size.up_bytes < whole.up_bytes
    assert short.ttft_s == pytest.approx(same_size.ttft_s + SHORTENED.took_s)
    assert short.ttft_s - SHORTENED.took_s < whole.ttft_s
    assert short.energy_j == pytest.approx(same_size.energy_j + SHORTENED.energy_j)
    assert short.quality == pytest.approx(whole.quality * compressed_quality("cloud", 0.5))
    assert (whole.prompt_tokens, short.prompt_tokens) == (800, 400)
    held = {"cloud1": view(byte_s=1e-4, held_s=0.5)}
    assert predict(SHORT, FEATURES, held).ttft_s == pytest.approx(predict(WAY, replace(FEATURES, prompt_tokens=400), held).ttft_s), "read while held"


def test_a_cascade_is_read_for_once_and_both_its_models_lose_by_it() -> None:
    nodes = {"device1": view("device1"), "cloud1": view("cloud1")}
    way = Candidate(strategy=CASCADE, nodes=("device1", "cloud1"), fidelity=COMPRESSED)
    told: list[tuple[float, float]] = []

    def escalation(lower: str, upper: str, lower_quality: float, upper_quality: float) -> tuple[float, float]:
        told.append((lower_quality, upper_quality))
        return 0.5, 0.6

    short = predict(way, FEATURES, nodes, escalation=escalation)
    bare = predict(replace(way, fidelity=WHOLE), replace(FEATURES, prompt_tokens=400), nodes, escalation=escalation)
    assert short.ttft_s == pytest.approx(bare.ttft_s + SHORTENED.took_s)
    assert told[0] == pytest.approx((told[1][0] * compressed_quality("device", 0.5), told[1][1] * compressed_quality("cloud", 0.5)))


def test_it_is_taken_where_the_way_is_dear_and_not_where_an_error_is() -> None:
    nodes = {"cloud1": view(byte_s=0.004)}  # 2 kbit/s: 1.2 kB take 5 s

    def chosen(service: str) -> str:
        return choose([predict(one, FEATURES, nodes) for one in (WAY, SHORT)], objective_of(service), Limits()).chosen.prediction.candidate.fidelity

    assert chosen("interactive") == COMPRESSED
    assert choose([predict(one, FEATURES, {"cloud1": view()}) for one in (WAY, SHORT)], objective_of("critical"), Limits()).why.startswith(
        "cloud1 costs"
    )
    told = choose([predict(one, FEATURES, nodes) for one in (WAY, SHORT)], objective_of("interactive"), Limits()).why
    assert told.startswith("cloud1, compressed costs least")


def test_every_variant_is_offered_with_every_fidelity_alone_and_in_cascades() -> None:
    views = [view("device1"), view("cloud1", offer=OFFER)]
    ways = candidates(views, (DIRECT, CASCADE), fidelities=(WHOLE, COMPRESSED))
    places = ("device1", "cloud1", "cloud1@int4", "cloud1@bf16")
    cascades = tuple(f"cascade device1 > {place}" for place in places[1:])
    named = [str(way) for way in ways]
    assert sorted(named) == sorted([*places, *cascades, *(f"{way}, compressed" for way in (*places, *cascades))])
    assert {type(hash(way)) for way in ways} == {int}
    assert next(way for way in ways if str(way) == "cascade device1 > cloud1@int4").variant_of == {"device1": "", "cloud1": "int4"}


def test_a_variant_has_its_own_pace_and_what_the_tiers_model_keeps_of_its_quality() -> None:
    node = view("cloud1", offer=OFFER, step_ratio=2.0, pace_from="told")
    narrow = as_variant(node, "int4")
    assert narrow.pace is NARROW
    assert narrow.quality == pytest.approx(node.quality * precision_quality("cloud", "int4"))
    assert as_variant(node, "bf16").pace is node.pace, "it does not say: as it runs"
    assert as_variant(node, "").quality == as_variant(node, "unknown").quality == node.quality
    judged = predict(replace(WAY, variants=("int4",)), FEATURES, {"cloud1": node}, judged={"cloud1": 0.5})
    assert judged.quality == pytest.approx(0.5 * precision_quality("cloud", "int4"))


def test_what_a_variant_takes_is_learnt_apart_from_its_node() -> None:
    corrections = Corrections()
    sample = Sample(
        at_s=1.0, prompt_tokens=800, answer_tokens=30, sent_bytes=900, received_bytes=400, first_s=0.6, queue_s=0.1, prefill_s=0.4, token_s=0.016
    )
    rest = corrections.learn(member("cloud1", offer=OFFER), "int4", sample, running=0.0)
    assert (rest.prefill_s, rest.token_s, rest.first_s) == (0.0, None, pytest.approx(0.2))
    seen = corrections.seen(view("cloud1", offer=OFFER), 1.0)
    narrow = as_variant(seen, "int4")
    assert narrow.pace.prefill_s(800) * narrow.prefill_ratio == pytest.approx(0.4)
    assert narrow.step_ratio == pytest.approx(0.016 / NARROW.decode_s(1, 815))
    assert (narrow.pace_from, as_variant(seen, "bf16").pace_from, seen.step_ratio) == ("learnt", "assumed", 1.0)
    assert corrections.seen(view("cloud1"), 1.0).corrections == {}


@pytest.mark.parametrize("tier", ["device", "edge", "cloud"])
def test_the_more_is_left_out_the_less_is_right_and_of_nothing_nothing(tier: str) -> None:
    factors = [compressed_quality(tier, share / 20) for share in range(21)]
    assert factors == sorted(factors, reverse=True)
    assert (factors[0], factors[-1]) == (1.0, 0.0)
    assert precision_quality(tier, "fp8") == 1.0, "not measured"
    assert 0 < assumed_quality(tier) * precision_quality(tier, "int4") <= 1
