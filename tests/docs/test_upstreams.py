"""The page on upstreams and its example keep their promises."""

from pathlib import Path

from netgpt.network.scenario import NodeSpec
from netgpt.network.scenario_file import load_scenario, parse_scenario

ROOT = Path(__file__).parents[2]


def test_the_example_is_a_sound_scenario_with_a_node_of_each_kind() -> None:
    scenario = load_scenario(str(ROOT / "examples" / "upstreams.toml"))
    assert {node.id: node.engine for node in scenario.nodes} == {"cloud1": "openai", "edge1": "openai", "device1": ""}
    assert scenario.node("device1").model.startswith("hf:")


def test_the_page_shows_every_key_with_its_default() -> None:
    page = (ROOT / "docs" / "upstreams.md").read_text(encoding="utf-8")
    shown = page.split("```toml")[1].split("```")[0]
    node = parse_scenario(f'[[node]]\nid = "a"\ntier = "cloud"\nprofile = "phone"\n{shown}', where="page").nodes[0]
    for key in ("connect_timeout", "first_token_timeout", "next_token_timeout", "retries"):
        assert getattr(node, key) == NodeSpec.__dataclass_fields__[key].default
