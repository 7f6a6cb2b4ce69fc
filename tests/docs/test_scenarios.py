"""The page on scenarios keeps its promises."""

import re
from pathlib import Path

import pytest

from netgpt.core.errors import ScenarioInvalid
from netgpt.network.scenario_file import load_scenario, parse_scenario, shipped_scenarios
from netgpt.network.topology_picture import topology_picture
from netgpt.world.modelled import MOST_EMULATED_NODES

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "scenarios.md").read_text(encoding="utf-8")


def test_the_example_is_a_sound_scenario() -> None:
    example = PAGE.split("```toml\n")[1].split("```")[0]
    assert len(parse_scenario(example, where="page.toml").nodes) == 31


def test_the_error_is_the_one_that_the_example_gives() -> None:
    example = PAGE.split("```toml\n")[1].split("```")[0]
    with pytest.raises(ScenarioInvalid) as caught:
        parse_scenario(example.replace('cell = "cell1"', 'cell = "cel1"'), where="mine.toml")
    assert f"error: {caught.value.message}\nnext: {caught.value.hint}\n" in PAGE


def test_the_page_names_every_shipped_scenario() -> None:
    shown = PAGE.split("## What ships")[1].split("\n## ")[0]
    assert sorted(name for row in re.findall(r"^\| (`.*?) \|", shown, re.MULTILINE) for name in re.findall(r"`([\w-]+)`", row)) == shipped_scenarios()


def test_the_picture_is_what_show_draws() -> None:
    stored = (DOCS / "pictures" / "topology" / "vehicles.svg").read_text(encoding="utf-8")
    assert stored == topology_picture(load_scenario("vehicles")), "stale: run `make docs`"


def test_the_limit_that_the_page_tells_is_the_real_one() -> None:
    assert f"at most {MOST_EMULATED_NODES} nodes" in PAGE
