"""Books: generated ones share no name, reserved ones are never trained on, and files of one's own are checked."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations, islice
from pathlib import Path

import pytest

from netgpt.core.chance import SeededChance
from netgpt.core.errors import UsageError
from netgpt.corpus.book import BOOKS, Book, read_book
from netgpt.corpus.book_file import book_text, parse_book, read_book_file, write_book_file
from netgpt.corpus.draw import read_mix, training_tasks
from netgpt.corpus.families import FAMILIES, RESERVED
from netgpt.corpus.families.book import book_family
from netgpt.corpus.families.route import route_family
from netgpt.corpus.task import GRADES, LANGUAGES

TRAINING_TASKS = 20_000


def names_of(book: Book) -> list[str]:
    """All names that are the book's own, in lower case."""
    sites = [name for site in book.sites for name in (site.name, site.unit)]
    return [name.casefold() for name in (*sites, *(code.code for code in book.codes), *book.dialects.values())]


def test_no_name_stands_for_two_things_in_any_books() -> None:
    names = {name: names_of(read_book(name)) for name in BOOKS}
    assert all(len(set(each)) == len(each) for each in names.values())
    for first, second in combinations(BOOKS, 2):
        assert not set(names[first]) & set(names[second])


def test_training_tasks_name_no_reserved_family_and_nothing_of_a_reserved_book() -> None:
    books = [read_book(name) for name in BOOKS[1:]]
    units = {site.unit.casefold() for book in books for site in book.sites}  # made-up cells look like them, beside none of the sites
    reserved = {name for book in books for name in names_of(book)} - units
    families = {family.name for family in RESERVED}
    assert not families & {family.name for family in FAMILIES}
    assert not families & set(read_mix().share)
    for task in islice(training_tasks(SeededChance(6).stream("test")), TRAINING_TASKS):
        assert task.family not in families
        said = " ".join([*(content for _, content in task.messages), task.answer])
        found = reserved.intersection(word.casefold() for word in re.findall(r"[A-Za-z0-9]+", said))
        assert not found, task


def test_a_book_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    book = replace(read_book(BOOKS[1]), name="mine")
    write_book_file(tmp_path / "mine.toml", book)
    assert read_book_file(tmp_path / "mine.toml") == book


def test_the_families_ask_a_book_from_a_file() -> None:
    book = parse_book(book_text(read_book(BOOKS[2])), "mine.toml")
    chance = SeededChance(1).stream("test")
    for family in (book_family(book, "mine"), route_family(book, "my-routes")):
        for grade in GRADES:
            for language in LANGUAGES:
                task = family.draw(chance, grade, language)
                assert family.solve(task) == task.answer
                assert family.accepts(task, task.answer)


def changed(kind: str, number: int, field: str, value: str) -> tuple[str, int]:
    """A book's text with one field of the `number`-th table of a kind changed, and the line of its heading."""
    lines = book_text(read_book()).splitlines()
    heading = [i for i, line in enumerate(lines) if line == f"[[{kind}]]"][number]
    i = next(i for i in range(heading, len(lines)) if lines[i].startswith(f"{field} = "))
    lines[i] = value and f"{field} = {value}"
    return "\n".join(lines), heading + 1


SITES, CODES = read_book().sites, read_book().codes


@pytest.mark.parametrize(
    ("kind", "number", "field", "value", "said"),
    [
        ("site", 1, "name", f'"{SITES[0].name}"', "duplicate site"),
        ("site", 1, "name", f'"{SITES[0].name.upper()}"', "duplicate site"),
        ("site", 1, "name", '"north"', "duplicate site 'north', the name of a vendor, region"),
        ("site", 1, "name", '"a > b"', "name is 'a > b'"),
        ("site", 1, "name", "", "missing field 'name'"),
        ("site", 1, "unit", f'"{SITES[0].unit}"', "duplicate unit"),
        ("site", 8, "uplink", '"Nowhere"', "unknown uplink 'Nowhere'"),
        ("site", 8, "uplink", f'"{SITES[8].name}"', "in a circle"),
        ("site", 8, "vendor", '"Acme"', "unknown vendor 'Acme'"),
        ("site", 8, "region", '"moon"', "unknown region 'moon'"),
        ("site", 8, "band", '"n999"', "unknown band 'n999'"),
        ("site", 8, "rarity", "7", "rarity is 7"),
        ("site", 8, "rarity", "true", "rarity is True"),
        ("code", 1, "code", f'"{CODES[0].code}"', "duplicate code"),
        ("code", 1, "cause", '"bad luck"', "unknown cause 'bad luck'"),
        ("word", 1, "operation", '"dance"', "unknown operation 'dance'"),
        ("word", 1, "operation", '"lock"', "a second word of Orbex for lock"),
    ],
)
def test_a_wrong_field_is_refused_with_file_and_line(kind: str, number: int, field: str, value: str, said: str) -> None:
    text, line = changed(kind, number, field, value)
    with pytest.raises(UsageError) as caught:
        parse_book(text, "mine.toml")
    assert said in caught.value.message
    assert caught.value.message.startswith("mine.toml, line ")
    assert caught.value.hint
    if "circle" not in said and "uplink" not in said:  # these are told of the first site that they cut off
        assert caught.value.message.startswith(f"mine.toml, line {line}: ")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "line 1: no TOML"),
        ("", "line 1: name is None"),
        ('name = "x"\nsites = 1', "unknown key 'sites'"),
        ('name = "x"\nsite = [{name = "A"}]', "site is no list of tables"),
        ('name = "x"\nsite = 3', "site is no list of tables"),
        ('name = "x"', "no site below a gateway has rarity 1"),
    ],
)
def test_a_file_that_is_no_book_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=r"^mine\.toml") as caught:
        parse_book(text, "mine.toml")
    assert said in caught.value.message
    assert caught.value.hint


def test_a_book_without_a_word_or_a_file_is_refused(tmp_path: Path) -> None:
    text = book_text(read_book())
    with pytest.raises(UsageError, match="no word for Hadron audit"):
        parse_book(text[: text.rindex("[[word]]")], "mine.toml")
    with pytest.raises(UsageError, match="cannot read"):
        read_book_file(tmp_path / "none.toml")
