"""Free descriptions: two facts in any words, and no rival of them."""

from __future__ import annotations

from netgpt.core.chance import SeededChance
from netgpt.corpus.book import BANDS, REGIONS, VENDORS, read_book
from netgpt.corpus.families.explain import FAMILY
from netgpt.corpus.task import Task

DRAWS = 17  # per grade and language
SITES = tuple(site.name for site in read_book().sites)


def _draws(grade: int, language: str) -> list[Task]:
    chance = SeededChance(5).stream(f"explain/{grade}/{language}")
    return [FAMILY.draw(chance, grade, language) for _ in range(DRAWS)]


def test_any_order_and_any_words_are_accepted() -> None:
    for task in _draws(2, "en"):
        assert FAMILY.accepts(task, f"It has {task.required[1]}; then {task.required[0].upper()}!")
        assert FAMILY.accepts(task, f"它是{task.required[1]}和{task.required[0]}")


def test_a_missing_fact_and_a_rival_are_rejected() -> None:
    for task in _draws(2, "en"):
        facts = set(task.required)
        rivals = [next(v for v in values if v not in task.answer) for values in (VENDORS, BANDS, REGIONS, SITES)]
        assert not FAMILY.accepts(task, "")
        assert not FAMILY.accepts(task, sorted(facts)[0])
        assert not FAMILY.accepts(task, task.answer.replace(task.required[0], f"{task.required[0]}x"))
        assert not any(FAMILY.accepts(task, f"{task.answer} Or {rival}.") for rival in rivals if rival not in _true_values(task))


def _true_values(task: Task) -> set[str]:
    site = next(site for site in read_book().sites if site.depth and f"{site.name}" in task.key.split("/"))
    return {site.vendor, site.band, site.region, site.uplink}
