"""Config: the validator, near misses, the solver, and that the surface does not tell the grade."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from netgpt.corpus.book import read_book
from netgpt.corpus.families import config
from netgpt.corpus.task import GRADES, LANGUAGES, Task, user

GOOD = "tilt=7 power=38 prb=50 pci=12 cio=3 band=n41"
BAD = (
    "",
    "tilt=7",
    "tilt=16 power=38 prb=50 pci=12 cio=3 band=n41",
    "tilt=07 power=38 prb=50 pci=12 cio=3 band=n41",
    "tilt=7 power=38 prb=50 pci=12 cio=3 band=n42",
    "tilt=7 power=38 prb=50 pci=12 cio=3 band=41",
    "tilt=n7 power=38 prb=50 pci=12 cio=3 band=n41",
    "power=38 tilt=7 prb=50 pci=12 cio=3 band=n41",
    f"{GOOD} tilt=7",
    f"{GOOD} {GOOD}",
    "tilt=7 power=38 prb=50 pci=12 cio=3 gain=n41",
)


def _tasks(grade: int, language: str, count: int = 17) -> list[Task]:
    return [config.draw(np.random.default_rng(seed), grade, language) for seed in range(count)]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("grade", GRADES)
def test_solver_and_own_answer_are_accepted(grade: int, language: str) -> None:
    for task in _tasks(grade, language):
        assert config.accepts(task, task.answer)
        assert config.solve(replace(task, answer="", key="", grade=1)) == task.answer
        before, after = (config.validate(side) for side in task.key.split(" > "))
        assert sum(before[key] != after[key] for key in config.KEYS) == grade
        assert len(task.question) <= 330


@pytest.mark.parametrize("reply", [*BAD, GOOD.replace("pci=12", "pci=13"), GOOD.replace("n41", "n78")])
def test_near_misses_are_rejected(reply: str) -> None:
    task = Task(family="config", template="x", grade=1, key="x", messages=user("x"), answer=GOOD)
    assert config.accepts(task, f"Result: {GOOD}.")
    assert not config.accepts(task, reply)


@pytest.mark.parametrize("text", BAD)
def test_validator_refuses(text: str) -> None:
    assert list(config.validate(GOOD)) == list(config.KEYS)
    with pytest.raises(ValueError, match=r"wants|outside"):
        config.validate(text)


@pytest.mark.parametrize("grade", GRADES)
def test_the_band_is_that_of_a_site_as_rare_as_the_grade(grade: int) -> None:
    for task in _tasks(grade, "en"):
        site = read_book().site_in(task.question)
        assert (site.rarity, f"band={site.band}\n" in task.question) == (grade, False)
        assert config.validate(task.key.split(" > ")[1])["band"] == site.band
