"""The judgement of the cache: every pair counts, and a cache that would answer wrongly is found out."""

from __future__ import annotations

import numpy as np
import pytest

from netgpt.bench import choose, choose_cache
from netgpt.bench.cache_pairs import Pair, read_pairs
from netgpt.core.statistics import clopper_pearson
from netgpt.inference import cache
from netgpt.inference.meaning import Meaning

SAME_VECTOR = np.asarray([1.0, 0.0], dtype=np.float32)


def test_the_judged_pairs_are_many_and_are_not_those_of_the_tuning() -> None:
    judged, tuning = (read_pairs(name, most=6_000, seed=1) for name in ("cache_judged.toml", "cache_tuning.toml"))
    differ = [pair for pair in judged if pair.differs]
    assert len(differ) == 6_000
    assert len({(pair.one, pair.other, pair.places) for pair in judged}) == len(judged)
    assert {pair.language for pair in differ} == {"en", "zh"}
    assert {"roles", "negation", "number", "unit", "name", "compare", "order", "direction", "opposite", "time", "place"} <= {
        pair.kind for pair in differ
    }
    assert not {(pair.one, pair.other) for pair in judged} & {(pair.one, pair.other) for pair in tuning}
    assert read_pairs("cache_judged.toml", most=100, seed=1) == read_pairs("cache_judged.toml", most=100, seed=1)


def test_the_gate_alone_keeps_false_hits_below_the_target_and_a_gate_that_is_open_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """With vectors that are all equal, so that nothing but the words can tell questions apart."""
    pairs = [pair for pair in read_pairs("cache_judged.toml", most=2_000, seed=1) if pair.differs]
    vectors = {text: SAME_VECTOR for pair in pairs for text in (pair.one, pair.other)}
    wrong = choose_cache.judged(pairs, vectors).count("wrong")
    assert clopper_pearson(wrong, len(pairs))[1] <= 0.005
    monkeypatch.setattr(cache, "gate", lambda asked, kept: "")
    monkeypatch.setattr(Meaning, "key", property(lambda meaning: ()))
    assert choose_cache.judged(pairs[:300], vectors).count("wrong") >= 150


def test_a_wrong_answer_is_counted_as_one() -> None:
    same = Pair(kind="same", language="en", one="What is paging?", other="Please tell me what paging is.", answer="paging")
    time = Pair(kind="time", language="en", one="Who sits in the chair?", other="Who sits in the chair?", gap_s=30.0)
    late = Pair(kind="time", language="en", one="Who sits in the chair?", other="Who sits in the chair?", gap_s=90.0)
    place = Pair(kind="place", language="en", one="Where is it?", other="Where is it?", places=("here", "there"))
    vectors = {text: SAME_VECTOR for pair in (same, time, place) for text in (pair.one, pair.other)}
    assert choose_cache.judged([same], vectors) == ["right"]
    assert choose_cache.judged([time], vectors) == ["wrong"], "nothing in it says that it depends on time"
    assert choose_cache.judged([late], vectors) == [""], "but then it lives a minute"
    assert choose_cache.judged([late], vectors, max_age_s=1_000.0) == ["wrong"]
    assert choose_cache.judged([place], vectors) == [""]


def test_a_quick_run_gives_every_figure_with_the_shipped_models_vectors() -> None:
    report = choose.run(True, parts=("cache",))
    figures = report["figures"]
    assert choose.missed(figures | {"cache_false_hits_upper_95": 0.006}), "a bound above the target is a failure"
    assert not choose.missed(figures | {"cache_false_hits_upper_95": 0.005})
    assert figures["cache_pairs_that_differ"] == choose_cache.QUICK_PAIRS + choose_cache.QUICK_CORPUS_PAIRS
    assert figures["cache_false_hits"] == 0
    assert 0 < figures["cache_hits_on_paraphrases_min"] <= figures["cache_hits_on_paraphrases"] <= figures["cache_hits_on_paraphrases_max"]
    curve = report["tables"]["cache_curves"]
    assert [row["threshold"] for row in curve] == sorted(row["threshold"] for row in curve)
    assert all(row["false_gate"] <= row["false_lists"] <= row["false_cosine"] for row in curve)
    assert all(row["found_gate"] <= row["found_cosine"] for row in curve)
    assert sum(kind["pairs"] for kind in report["tables"]["cache_false_hits_by_kind"].values()) == figures["cache_pairs_that_differ"]
    assert figures["cache_threshold"] == cache.THRESHOLD
