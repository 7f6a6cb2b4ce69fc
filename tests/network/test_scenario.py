from pathlib import Path

import pytest

from netgpt.core.errors import ScenarioInvalid
from netgpt.network.scenario import load_scenario, parse_scenario, shipped_scenarios

SOUND = """
name = "small"
[[node]]
id = "cloud1"
tier = "cloud"
model = "netgpt-cloud"
profile = "cloud-server"
[[node]]
id = "device1"
tier = "device"
model = "netgpt-device"
profile = "phone"
[[link]]
between = ["device1", "cloud1"]
up = "20Mbps"
down = "80Mbps"
delay = "8ms"
"""


@pytest.mark.parametrize("name", shipped_scenarios())
def test_every_shipped_scenario_is_sound(name: str):
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.node(scenario.default_node).tier == "device"


@pytest.mark.parametrize(
    ("change", "to", "message", "hint"),
    [
        ('delay = "8ms"', 'dealy = "8ms"', "unknown key 'dealy' in link 1", "did you mean 'delay'?"),
        ('between = ["device1", "cloud1"]', 'between = ["device1", "clod1"]', "names the unknown 'clod1'", "did you mean 'cloud1'?"),
        ('name = "small"', 'nmae = "small"', "unknown key 'nmae' in scenario", "did you mean 'name'?"),
        ('tier = "cloud"', 'tier = "clouds"', "unknown tier 'clouds'", "did you mean 'cloud'?"),
        ('profile = "phone"', 'profile = "fone"', "unknown hardware profile 'fone'", "did you mean 'phone'?"),
        ('id = "device1"', 'id = "cloud1"', "stands twice", "own id"),
        ('up = "20Mbps"', 'up = "fast"', "'fast' is not a rate", "20Mbps"),
        ('up = "20Mbps"', "up = 0", "'up' of link 1", "above 0"),
        ('up = "20Mbps"\n', "", "lacks 'up'", "add up"),
        ('tier = "cloud"\n', "", "lacks 'tier'", "add tier"),
        ('model = "netgpt-cloud"', "model = 3", "'model' of node 1", "type str"),
        ('name = "small"', 'name = "small', "not valid TOML", "line"),
        ('name = "small"', "agreement = 2", "agreement", "probability"),
        ('name = "small"', 'default_node = "phone9"', "names the unknown 'phone9'", "known: cloud1, device1"),
    ],
)
def test_what_is_wrong_is_named_with_the_next_step(change: str, to: str, message: str, hint: str):
    assert change in SOUND
    with pytest.raises(ScenarioInvalid) as caught:
        parse_scenario(SOUND.replace(change, to, 1), where="test.toml")
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_scenario_that_does_not_exist_is_named():
    with pytest.raises(ScenarioInvalid, match="no scenario 'campsu'") as caught:
        load_scenario("campsu")
    assert "did you mean 'campus'?" in caught.value.hint


def test_a_scenario_file_is_read(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(SOUND, encoding="utf-8")
    assert [node.id for node in load_scenario(str(path)).nodes] == ["cloud1", "device1"]
