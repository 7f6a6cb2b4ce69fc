"""Views: three agents see a part of the network's links each; the server that a site reaches over all of them.

The links begin at radio units, the question names a site: which unit is there must be known by heart, and the site is
the rarer the higher the grade. A grade counts the hops from the unit to the server. The other links form three more
paths from other units to other servers, so that there are always nine links, four units and four servers; from two
hops on no agent sees all of the asked path. The key is the links with the asked unit, whoever sees them. The answer:
`Bekal = K65 > f82 > s65: s65`.
"""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np

from netgpt.corpus.book import Site, read_book
from netgpt.corpus.reading import after_last
from netgpt.corpus.task import Family, Task, sample, user
from netgpt.corpus.wording import word

NAME = "views"
AGENTS = ("ue", "ran", "core")
LINKS = 9
SIZES = (4, 3, 2)  # links of the views, dealt to the agents at random
DECOYS = 3
SERVERS = tuple(f"s{number:02d}" for number in range(1, 100))
NODES = tuple(f"{letter}{number:02d}" for letter in "abcdefghk" for number in range(1, 100))
_LINK = re.compile(r"^(\w\d\d) -> (\w\d\d)$", re.MULTILINE)
_BOOK = read_book()


def _paths(chance: np.random.Generator, grade: int, asked: str) -> list[list[str]]:
    """The asked path and three from other units; no two meet."""
    others = [1] * DECOYS
    for _ in range(LINKS - grade - DECOYS):
        others[int(chance.integers(DECOYS))] += 1
    servers, nodes = sample(chance, SERVERS, DECOYS + 1), sample(chance, NODES, LINKS)
    starts = [asked, *sample(chance, [unit for unit in _BOOK.units if unit != asked], DECOYS)]
    return [[start, *(nodes.pop() for _ in range(hops - 1)), server] for start, hops, server in zip(starts, (grade, *others), servers, strict=True)]


def _links(path: list[str]) -> list[str]:
    return [f"{start} -> {end}" for start, end in pairwise(path)]


def _deal(chance: np.random.Generator, links: list[str], path: list[str]) -> list[list[str]]:
    """The links of each agent; dealt again while one agent sees a whole path of several hops."""
    while True:
        shuffled, sizes = sample(chance, links, LINKS), sample(chance, SIZES, len(SIZES))
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        dealt = [shuffled[end - size : end] for size, end in zip(sizes, ends, strict=True)]
        if len(path) == 1 or not any(set(path) <= set(view) for view in dealt):
            return dealt


def _answer(site: Site, path: list[str]) -> str:
    return f"{site.name} = {' > '.join(path)}: {path[-1]}"


def draw(chance: np.random.Generator, grade: int, language: str) -> Task:
    """Nine links in three views."""
    site = _BOOK.some_site(chance, rarity=grade)
    paths = _paths(chance, grade, site.unit)
    links = [link for path in paths for link in _links(path)]
    views = tuple((agent, "\n".join(dealt)) for agent, dealt in zip(AGENTS, _deal(chance, links, _links(paths[0])), strict=True))
    wording = word(chance, NAME, language)
    return Task(
        family=NAME,
        template=wording.id,
        grade=grade,
        key=f"{site.unit}/{'/'.join(sorted(links))}",
        messages=user("\n".join([*(f"{agent}:\n{view}" for agent, view in views), wording.fill(site=site.name)])),
        answer=_answer(site, paths[0]),
        language=language,
        views=views,
    )


def accepts(task: Task, reply: str) -> bool:
    """True if the reply ends in the right server and in nothing else."""
    return after_last(reply.replace("：", ":")) == after_last(task.answer)


def solve(task: Task) -> str:
    """Follows the links of all views from the site's unit to the end."""
    *lines, question = task.question.split("\n")
    following = dict(_LINK.findall("\n".join(lines)))
    site = _BOOK.site_in(question)
    path = [site.unit]
    while path[-1] in following:
        path.append(following[path[-1]])
    return _answer(site, path)


FAMILY = Family(
    name=NAME,
    summary="follows a site's path over the views of three agents to the server",
    depth="hops",
    draw=draw,
    accepts=accepts,
    solve=solve,
)
