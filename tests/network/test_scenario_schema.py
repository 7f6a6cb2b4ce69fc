"""The published JSON Schema: committed as it is made, sound, and of one mind with the reader."""

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from netgpt.core.errors import ScenarioInvalid
from netgpt.network import scenario
from netgpt.network.scenario_file import parse_scenario
from netgpt.network.scenario_key import Table, keys_of
from netgpt.network.scenario_schema import scenario_schema, schema_text

FOLDER = Path(scenario.__file__).parent
VALIDATOR = jsonschema.Draft7Validator(scenario_schema())
NODE = '[[node]]\nid = "a"\ntier = "device"\nmodel = "m"\nprofile = "phone"\n'
LINK = '[[link]]\nbetween = ["a", "b"]\nup = "20Mbps"\ndown = 8e6\ndelay = "8ms"\n'


def test_the_committed_schema_is_what_the_specs_make() -> None:
    assert (FOLDER / "scenario.schema.json").read_text(encoding="utf-8") == schema_text(), "scenario.schema.json is stale: run `make docs`"


def test_it_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(json.loads(schema_text()))


@pytest.mark.parametrize("path", sorted((FOLDER / "scenarios").glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_scenario_follows_it(path: Path) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(tomllib.loads(path.read_text(encoding="utf-8")))] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        NODE.replace('tier = "device"', 'tier = "phone"'),
        NODE.replace('model = "m"\n', ""),
        NODE + "slots = 0\n",
        NODE + "colour = 1\n",
        NODE + LINK.replace("20Mbps", "fast"),
        NODE + LINK.replace("8e6", "-8e6"),
        NODE + LINK + 'loss_up = "half"\n',
        NODE + '[[user]]\nat = "a"\nrequests_per_s = 1\nprompt_tokens = [1]\n',
        NODE + '[[user]]\nat = "a"\ntrace = ""\n',
    ],
)
def test_what_it_refuses_the_reader_refuses_too(text: str) -> None:
    assert not VALIDATOR.is_valid(tomllib.loads(text))
    with pytest.raises(ScenarioInvalid):
        parse_scenario(text, where="test.toml")


def test_what_the_reader_takes_it_takes_too() -> None:
    text = NODE + NODE.replace('"a"', '"b"') + LINK.replace('"8ms"', '"1.5 s"')
    parse_scenario(text, where="test.toml")
    assert VALIDATOR.is_valid(tomllib.loads(text))


def specs() -> list[type]:
    found: list[type] = [scenario.Scenario]
    for spec in found:
        found += [mark.spec for _, mark in keys_of(spec).values() if isinstance(mark, Table)]
    return found


@pytest.mark.parametrize("spec", specs())
def test_every_field_of_a_spec_is_a_key_with_a_meaning_or_known_to_be_none(spec: type) -> None:
    not_keys = {"place", "group", "deal", "member"}
    known = {each.name for each, _ in keys_of(spec).values()}
    assert set(spec.__dataclass_fields__) - known <= not_keys
    assert all(mark.meaning for _, mark in keys_of(spec).values())
