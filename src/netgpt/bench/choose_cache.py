"""How often a cache that compares meanings gives the answer to another question, and how often it finds the one it has.

Every pair goes through what a door and an edge node run: the first question is asked and its answer kept, then the second is looked
up among the answers of all pairs. What comes back must be its own answer. Vectors are made by a tier's engine. Beside it stand, at each
threshold, what cosine alone does, and what the gate does if it compares only the kinds of words that it has lists of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netgpt.bench.cache_pairs import Pair, read_pairs
from netgpt.core.chance import SeededChance
from netgpt.core.clock import VirtualClock, WallClock, run_virtual
from netgpt.core.compute import ThreadCompute
from netgpt.core.statistics import clopper_pearson
from netgpt.corpus.families import FAMILIES
from netgpt.corpus.families.recall import read_forms
from netgpt.corpus.task import GRADES, LANGUAGES, Task, pick
from netgpt.engine.torch_engine import TorchEngine
from netgpt.inference.cache import AnswerCache, Vector
from netgpt.inference.caching import STATE_LIFE_S, THRESHOLD, USUAL_LIFE_S, Plan, plan_of
from netgpt.inference.meaning import difference, read_meaning
from netgpt.inference.request import CacheWish, ChatRequest
from netgpt.models.generation import Embed, Recall, Recalled, Remember
from netgpt.models.hf_tokenizer import load_tokenizer
from netgpt.models.store import find_model, search_path

SEED, SLOTS, AT_ONCE = 2026, 16, 16
PAIRS, QUICK_PAIRS = 6_000, 240  # that differ, and as many at most that mean the same
CORPUS_PAIRS, QUICK_CORPUS_PAIRS = 2_000, 80
THRESHOLDS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)
SCOPE = "bench"
Figures = dict[str, float | int | str | None]
Vectors = Mapping[str, Vector]


def cache_figures(quick: bool, *, file_name: str = "cache_judged.toml", tier: str = "edge", corpus: bool = True) -> tuple[Figures, dict[str, Any]]:
    """Figures by flat names, and tables: false hits by kind of difference, and the curves over the threshold.

    Args:
        file_name: of the pairs, in this package.
        tier: whose model makes the vectors.
        corpus: also pairs from the task families.
    """
    pairs = read_pairs(file_name, most=QUICK_PAIRS if quick else PAIRS, seed=SEED)
    if corpus:
        pairs += corpus_pairs(QUICK_CORPUS_PAIRS if quick else CORPUS_PAIRS)
    vectors = make_vectors({text for pair in pairs for text in (pair.one, pair.other)}, tier)
    differ, same = [pair for pair in pairs if pair.differs], [pair for pair in pairs if not pair.differs]
    hits_differ, hits_same = judged(differ, vectors), judged(same, vectors, alone=True)
    false, found = hits_differ.count("wrong"), hits_same.count("right")
    figures: Figures = {
        "cache_pairs_that_differ": len(differ),
        "cache_false_hits": false,
        "cache_false_hits_share": round(false / len(differ), 5),
        "cache_false_hits_upper_95": round(clopper_pearson(false, len(differ))[1], 5),
        "cache_pairs_that_mean_the_same": len(same),
        "cache_hits_on_paraphrases": round(found / len(same), 4),
        "cache_wrong_among_paraphrases": judged(same, vectors).count("wrong"),
        "cache_threshold": THRESHOLD,
    }
    figures |= dict(zip(("cache_hits_on_paraphrases_min", "cache_hits_on_paraphrases_max"), _rounded(found, len(same)), strict=True))
    figures |= time_figures([pair for pair in differ if pair.kind == "time"], vectors)
    curve = curves(differ, same, vectors)
    at = min(curve, key=lambda row: abs(row["threshold"] - 0.8))
    figures |= {"cosine_alone_false_hits_at_0.8": at["false_cosine"], "cosine_alone_hits_on_paraphrases_at_0.8": at["found_cosine"]}
    kinds = {kind: _by(differ, hits_differ, lambda pair, kind=kind: pair.kind == kind) for kind in sorted({pair.kind for pair in differ})}
    languages = {language: _by(differ, hits_differ, lambda pair, language=language: pair.language == language) for language in LANGUAGES}
    wrong = [[pair.kind, pair.one, pair.other] for pair, hit in zip(differ, hits_differ, strict=True) if hit == "wrong"]
    return figures, {"false_hits_by_kind": kinds, "false_hits_by_language": languages, "curves": curve, "wrong": wrong}


def time_figures(pairs: Sequence[Pair], vectors: Vectors) -> Figures:
    """Questions that depend on time, asked again: what their words alone would let pass, if the client permitted an hour, or asked after 30 s."""
    permitted = judged([replace(pair, gap_s=min(pair.gap_s, 3_000.0)) for pair in pairs], vectors, max_age_s=3_600.0)
    soon = judged([replace(pair, gap_s=30.0) for pair in pairs], vectors)
    return {
        "cache_time_pairs": len(pairs),
        "cache_stale_share_if_an_hour_is_permitted": round(permitted.count("wrong") / len(pairs), 4),
        "cache_stale_share_within_30_s": round(soon.count("wrong") / len(pairs), 4),
    }


def _rounded(found: int, trials: int) -> tuple[float, float]:
    low, high = clopper_pearson(found, trials)
    return round(low, 4), round(high, 4)


def _by(pairs: Sequence[Pair], hits: Sequence[str], chosen: Callable[[Pair], bool]) -> dict[str, float | int]:
    own = [hit for pair, hit in zip(pairs, hits, strict=True) if chosen(pair)]
    wrong = sum(hit == "wrong" for hit in own)
    return {"pairs": len(own), "false_hits": wrong, "upper_95": round(clopper_pearson(wrong, len(own))[1], 5)}


def corpus_pairs(most: int) -> list[Pair]:
    """From the task families: two tasks of one wording whose answers differ, and two wordings of one fact."""
    stream = SeededChance(SEED).stream("cache pairs/corpus")
    differ: dict[tuple[str, str], Pair] = {}
    for attempt in range(most * 20):
        family, grade, language = FAMILIES[attempt % len(FAMILIES)], pick(stream, GRADES), pick(stream, LANGUAGES)
        one = family.draw(stream, grade, language)
        other = _alike(one, family.draw(stream, grade, language), [family.draw(stream, grade, language) for _ in range(8)])
        if other is not None and len(one.messages) == 1 and len(one.question) < 1_500:
            differ.setdefault((one.question, other.question), Pair(kind="corpus", language=language, one=one.question, other=other.question))
        if len(differ) >= most:
            break
    same: list[Pair] = []
    forms = [form for name in ("parameters.toml", "terms.toml") for form in read_forms(name)]
    for _ in range(most):
        form, language = pick(stream, forms), pick(stream, LANGUAGES)
        row, wordings = pick(stream, form.rows), form.wordings(language)
        if len(wordings) > 1:
            first, second = (wordings[int(i)].format(**row) for i in stream.permutation(len(wordings))[:2])
            same.append(Pair(kind="same", language=language, one=first, other=second, answer=f"{form.name}: {form.answer.format(**row)}"))
    return [*differ.values(), *dict.fromkeys(same)]


def _alike(one: Task, first: Task, others: Iterable[Task]) -> Task | None:
    """A task of the same wording with another answer."""
    return next((task for task in (first, *others) if task.template == one.template and task.answer != one.answer), None)


def make_vectors(texts: Iterable[str], tier: str) -> dict[str, Vector]:
    """The vectors of texts by the tier's model, as its engine makes them."""
    folder = find_model(f"netgpt-{tier}", search_path(None))
    tokenizer = load_tokenizer(folder)

    async def work() -> dict[str, Vector]:
        engine = TorchEngine.from_folder(folder, dtype="float32", compute=ThreadCompute("bench"), clock=WallClock(), slots=SLOTS, threads=1)
        made: dict[str, Vector] = {}
        ordered = sorted(texts)
        try:
            for first in range(0, len(ordered), AT_ONCE):
                part = ordered[first : first + AT_ONCE]
                calls = [engine.embed(Embed(session=f"{first + i}", ids=tuple(tokenizer.encode(text)))) for i, text in enumerate(part)]
                for text, vector in zip(part, await asyncio.gather(*calls), strict=True):
                    made[text] = np.asarray(vector.values, dtype=np.float32)
        finally:
            await engine.close()
        return made

    return asyncio.run(work())


def judged(pairs: Sequence[Pair], vectors: Vectors, *, alone: bool = False, max_age_s: float | None = None) -> list[str]:
    """What looking up each second question gave: "right", "wrong" or "" (nothing).

    Args:
        alone: each pair in a scope of its own; else all first questions are kept before the second ones come.
        max_age_s: as the client says it; None: it says nothing.
    """

    async def embed(text: str) -> Vector:
        return vectors[text]

    async def work() -> list[str]:
        hits = [""] * len(pairs)
        for gap_s in sorted({pair.gap_s for pair in pairs}):
            clock = VirtualClock()
            cache = AnswerCache(clock, entries=len(pairs) + 1, embed=embed)
            places = [place for place, pair in enumerate(pairs) if pair.gap_s == gap_s]
            for place in places:
                await _ask_and_keep(cache, pairs[place], str(place) if alone else SCOPE, max_age_s)
            await clock.sleep(gap_s)
            for place in places:
                pair, scope = pairs[place], str(place) if alone else SCOPE
                found = await _look_up(cache, scope, _plan(pair.other, pair.places[1], max_age_s))
                hits[place] = _verdict(pair, found)
        return hits

    return run_virtual(work())


async def _ask_and_keep(cache: AnswerCache, pair: Pair, scope: str, max_age_s: float | None) -> None:
    plan = _plan(pair.one, pair.places[0], max_age_s)
    found = await _look_up(cache, scope, plan)
    if found is not None and not found.found:
        answer = Remember(scope=scope, exact=plan.identity.exact, text=_answer(pair, pair.one), reason="stop", life_s=plan.life_s)
        await cache.remember(answer, None)


async def _look_up(cache: AnswerCache, scope: str, plan: Plan) -> Recalled | None:
    if plan.refused:
        return None
    asked = plan.identity
    return await cache.recall(Recall(scope=scope, group=asked.group, exact=asked.exact, question=asked.question, max_age_s=plan.max_age_s))


def _plan(question: str, place: str, max_age_s: float | None) -> Plan:
    request = ChatRequest(request_id="bench", model="netgpt-edge", messages=(("user", question),), temperature=0.0)
    return plan_of(request, CacheWish(match="semantic", place=place, max_age_s=max_age_s), models=("netgpt-edge",))


def _answer(pair: Pair, question: str) -> str:
    """The right answer: of pairs that mean the same theirs, of others the question's own."""
    if not pair.differs:
        return pair.answer
    return f"{question} | {pair.places} | {pair.gap_s}" if pair.one == pair.other else question


def _verdict(pair: Pair, found: Recalled | None) -> str:
    if found is None or not found.found:
        return ""
    if pair.differs:
        return "wrong" if pair.one == pair.other or found.text != pair.other else "right"
    return "right" if found.text == _answer(pair, pair.other) else "wrong"


def curves(differ: Sequence[Pair], same: Sequence[Pair], vectors: Vectors) -> list[dict[str, float]]:
    """By threshold, the share of pairs that differ (`false_`) and that mean the same (`found_`) of which the second question gets the first one's
    answer: by cosine alone, with words of known kinds compared, and with all words compared."""
    rows_differ, rows_same = _rows(differ, vectors), _rows(same, vectors)
    found: list[dict[str, float]] = []
    for threshold in THRESHOLDS:
        row = {"threshold": threshold}
        for name, rows in (("false", rows_differ), ("found", rows_same)):
            above = rows[:, 0] >= threshold
            row |= {
                f"{name}_cosine": _share(above),
                f"{name}_lists": _share(above & (rows[:, 1] > 0)),
                f"{name}_gate": _share(above & (rows[:, 2] > 0)),
            }
        found.append(row)
    return found


def _share(chosen: NDArray[np.bool_]) -> float:
    return round(float(chosen.mean()), 5) if len(chosen) else 0.0


def _rows(pairs: Sequence[Pair], vectors: Vectors) -> NDArray[np.float64]:
    """Of each pair: cosine; whether words of known kinds are equal; whether all are, and asking when and where makes no difference."""
    rows = np.zeros((len(pairs), 3))
    for place, pair in enumerate(pairs):
        one, other = read_meaning(pair.one), read_meaning(pair.other)
        timeless = not (one.now or one.here or other.now or other.here) and pair.gap_s <= (STATE_LIFE_S if one.state else USUAL_LIFE_S)
        rows[place] = (
            float(vectors[pair.one] @ vectors[pair.other]),
            timeless and not difference(one, other, marks_only=True),
            timeless and not difference(one, other),
        )
    return rows
