"""Fact books: generated networks whose facts can be known only by having learnt them.

A book holds sites in trees below gateways (each site has a vendor, a region, a band, a unit code and an
uplink), alarm codes of vendors with their causes, and vendors' dialects: their words for common
operations. A book is a pure function of its name. Books share vendors, regions, bands and causes, but
no site, no code and no word: what is learnt from one says nothing about another.

Decides: rarity. A subject's rarity class 1 to 6 holds twice as many subjects as the class before; as all
grades are asked equally often, exposure falls about as 1 / rank (Zipf). The pretraining book is long, so that
even the largest model does not know its rarest sites, and a site is as many hops from its gateway as it is rare,
so that a route's grade is both. In the reserved books, a tenth as large, class and depth are independent.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from netgpt.core.chance import SeededChance
from netgpt.corpus.task import GRADES, pick

VENDORS = ("Orbex", "Talvio", "Kymera", "Sondal", "Vexnor", "Lumara", "Petrix", "Hadron")
REGIONS = ("north", "south", "east", "west", "coast", "hills", "lakes", "valley", "islands", "centre", "forest", "plain")
BANDS = ("n1", "n3", "n7", "n28", "n41", "n77", "n78", "n258")
OPERATIONS = ("lock", "unlock", "restart", "tilt", "power", "backup", "trace", "audit")
CLASS_SIZES = (20, 40, 80, 160, 320, 640)  # sites of rarity class 1 to 6 in the pretraining book
CODE_CLASS_SIZES = (6, 12, 24, 48, 96, 192)
RESERVED_CLASS_SIZES = (2, 4, 8, 16, 32, 64)  # sites, and codes, of the other books
GATEWAYS = 8
BOOKS = ("pretraining", "federated-1", "federated-2", "federated-3", "federated-4", "retrieval", "staleness")  # the first alone is pretrained
UNIT_LETTERS = "ABCDEFGHJKLMPRSTUVWXYZ"  # no N: n28 is a band
_CONSONANTS, _VOWELS, _ENDINGS = "bdfghjklmnprstvz", "aeiou", ("n", "r", "l", "s", "k", "m", "d", "t")
_NAME = re.compile(r"[A-Z][a-z]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """A site of a book; `uplink` is the site that feeds it, "" for a gateway."""

    name: str
    rarity: int
    depth: int  # hops to its gateway, 1 to 6; 0 for a gateway
    uplink: str
    vendor: str
    region: str
    band: str
    unit: str  # code of its radio unit, unique: K65


@dataclass(frozen=True, kw_only=True, slots=True)
class AlarmCode:
    """A vendor's code of an alarm, and what causes it."""

    code: str
    vendor: str
    cause: str
    rarity: int


@dataclass(frozen=True, kw_only=True)
class Book:
    """All facts of one generated network."""

    name: str
    sites: tuple[Site, ...]  # the gateways first
    codes: tuple[AlarmCode, ...]
    dialects: dict[tuple[str, str], str]  # (vendor, operation) -> the vendor's word

    @cached_property
    def by_name(self) -> dict[str, Site]:
        return {site.name: site for site in self.sites}

    @cached_property
    def by_unit(self) -> dict[str, Site]:
        return {site.unit: site for site in self.sites}

    @cached_property
    def by_rarity(self) -> dict[int, tuple[Site, ...]]:
        """The sites below gateways, by rarity class."""
        return {grade: tuple(site for site in self.sites if site.depth and site.rarity == grade) for grade in GRADES}

    @cached_property
    def by_depth(self) -> dict[int, tuple[Site, ...]]:
        """The sites by their hops to the gateway."""
        return {depth: tuple(site for site in self.sites if site.depth == depth) for depth in (0, *GRADES)}

    @cached_property
    def codes_by_rarity(self) -> dict[int, tuple[AlarmCode, ...]]:
        return {grade: tuple(code for code in self.codes if code.rarity == grade) for grade in GRADES}

    @cached_property
    def units(self) -> tuple[str, ...]:
        """The units of all sites: what machines call what people call by the site's name."""
        return tuple(self.by_unit)

    def some_site(self, chance: np.random.Generator, *, rarity: int) -> Site:
        """A site of a rarity class, below the gateways."""
        return pick(chance, self.by_rarity[rarity])

    def some_site_at(self, chance: np.random.Generator, depth: int) -> Site:
        """A site `depth` hops below its gateway; every rarity class that is there equally often, in the pretraining book one."""
        sites = self._by_depth_and_rarity[depth]
        return pick(chance, sites[pick(chance, sorted(sites))])

    @cached_property
    def _by_depth_and_rarity(self) -> dict[int, dict[int, list[Site]]]:
        found: dict[int, dict[int, list[Site]]] = {depth: {} for depth in GRADES}
        for site in self.sites[GATEWAYS:]:
            found[site.depth].setdefault(site.rarity, []).append(site)
        return found

    def site_in(self, text: str) -> Site:
        """The last site that a text names.

        Raises:
            KeyError: it names none.
        """
        return self.by_name[next((word for word in reversed(_NAME.findall(text)) if word in self.by_name), "")]

    def chain(self, name: str) -> list[str]:
        """The sites from `name` up to its gateway, both included.

        Raises:
            KeyError: the book has no such site.
        """
        names = [name]
        while uplink := self.by_name[names[-1]].uplink:
            names.append(uplink)
        return names


@cache
def read_book(name: str = BOOKS[0], *, causes: tuple[str, ...] = ()) -> Book:
    """The book of a name; made from the name, equal everywhere.

    Args:
        causes: what alarm codes may mean; the causes of the alarm facts if empty.
    """
    taken = _names_of_all_books()[name]
    chance = SeededChance(1).stream(f"book/{name}")
    return Book(
        name=name,
        sites=_sites(chance, taken["sites"], taken["units"], _levels(chance, name)),
        codes=_codes(chance, taken["codes"], _classes(chance, _code_sizes(name)), causes or _known_causes()),
        dialects={pair: word for pair, word in zip(_pairs(), taken["words"], strict=True)},
    )


def _known_causes() -> tuple[str, ...]:
    from netgpt.corpus.reading import read_facts

    return tuple(cause["name"] for cause in read_facts("alarms.toml")["cause"])


def _pairs() -> list[tuple[str, str]]:
    return [(vendor, operation) for vendor in VENDORS for operation in OPERATIONS]


def _names_of_all_books() -> dict[str, dict[str, list[str]]]:
    """Names for every book in turn, none given twice."""
    chance, given = SeededChance(1).stream("book names"), set[str]()

    def fresh(make: Callable[[np.random.Generator], str], count: int) -> list[str]:
        names: list[str] = []
        while len(names) < count:
            name = make(chance)
            if name not in given:
                given.add(name)
                names.append(name)
        return names

    return {
        book: {
            "sites": fresh(_name, GATEWAYS + sum(_site_sizes(book))),
            "units": fresh(_unit, GATEWAYS + sum(_site_sizes(book))),
            "codes": fresh(_code, sum(_code_sizes(book))),
            "words": [w.lower() for w in fresh(_name, len(_pairs()))],
        }
        for book in BOOKS
    }


def _name(chance: np.random.Generator) -> str:
    """Two syllables: Kelmon, Bazur ..."""
    middle = pick(chance, ("", *_ENDINGS[:4]))
    first = pick(chance, _CONSONANTS) + pick(chance, _VOWELS) + middle
    return (first + pick(chance, _CONSONANTS) + pick(chance, _VOWELS) + pick(chance, _ENDINGS)).capitalize()


def _unit(chance: np.random.Generator) -> str:
    return f"{pick(chance, UNIT_LETTERS)}{int(chance.integers(100)):02d}"


def _code(chance: np.random.Generator) -> str:
    return f"F{int(chance.integers(10_000)):04d}"


def _site_sizes(book: str) -> tuple[int, ...]:
    return CLASS_SIZES if book == BOOKS[0] else RESERVED_CLASS_SIZES


def _code_sizes(book: str) -> tuple[int, ...]:
    return CODE_CLASS_SIZES if book == BOOKS[0] else RESERVED_CLASS_SIZES


def _in_order(sizes: tuple[int, ...]) -> list[int]:
    return [grade for grade, size in zip(GRADES, sizes, strict=True) for _ in range(size)]


def _classes(chance: np.random.Generator, sizes: tuple[int, ...]) -> list[int]:
    """The rarity class of each subject, in random order."""
    classes = _in_order(sizes)
    return [classes[int(i)] for i in chance.permutation(len(classes))]


def _levels(chance: np.random.Generator, book: str) -> list[tuple[int, int]]:
    """(rarity, depth) of each site below the gateways: the same in the pretraining book, else depth cycles through 1 to 6."""
    if book == BOOKS[0]:
        return [(grade, grade) for grade in _in_order(_site_sizes(book))]
    return [(rarity, 1 + i % len(GRADES)) for i, rarity in enumerate(_classes(chance, _site_sizes(book)))]


def _sites(chance: np.random.Generator, names: list[str], units: list[str], placed: list[tuple[int, int]]) -> tuple[Site, ...]:
    """Gateways, then sites of the given (rarity, depth); the n-th site of a depth hangs on the n-th one level up.

    So gateways serve about equally many sites, and no answer is much likelier than another.
    """
    sites: list[Site] = []
    levels: dict[int, list[str]] = {depth: [] for depth in (0, *GRADES)}
    for name, unit, (rarity, depth) in zip(names, units, [(1, 0)] * GATEWAYS + placed, strict=True):
        sites.append(
            Site(
                name=name,
                rarity=rarity,
                depth=depth,
                uplink=levels[depth - 1][len(levels[depth]) % len(levels[depth - 1])] if depth else "",
                vendor=pick(chance, VENDORS),
                region=pick(chance, REGIONS),
                band=pick(chance, BANDS),
                unit=unit,
            )
        )
        levels[depth].append(name)
    return tuple(sites)


def _codes(chance: np.random.Generator, codes: list[str], rarities: list[int], causes: tuple[str, ...]) -> tuple[AlarmCode, ...]:
    return tuple(
        AlarmCode(code=code, vendor=pick(chance, VENDORS), cause=pick(chance, causes), rarity=r) for code, r in zip(codes, rarities, strict=True)
    )
