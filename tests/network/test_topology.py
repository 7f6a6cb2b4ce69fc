"""Topology: everything is drawn once, with what people ask of it."""

from xml.etree import ElementTree

import pytest

from netgpt.network.scenario_file import load_scenario, parse_scenario, shipped_scenarios
from netgpt.network.topology import Branch, topology, topology_text
from netgpt.network.topology_picture import topology_picture


def flat(branches: tuple[Branch, ...]) -> list[Branch]:
    return [each for branch in branches for each in (branch, *flat(branch.below))]


@pytest.mark.parametrize("name", shipped_scenarios())
def test_every_node_and_cell_is_drawn_once(name: str) -> None:
    scenario = load_scenario(name)
    branches = flat(topology(scenario)[0])
    assert sum(branch.count for branch in branches if branch.kind != "cell") == len(scenario.nodes)
    assert [branch.name for branch in branches if branch.kind == "cell"] == [cell.id for cell in scenario.cells]
    assert len({branch.name for branch in branches}) == len(branches)


def test_campus_is_drawn_as_it_is() -> None:
    lines = topology_text(load_scenario("campus")).splitlines()
    assert lines[0] == "campus: one cloud, one edge site, two phones"
    assert lines[2].startswith("cloud1  cloud: cloud-server")
    assert lines[3].startswith("└── edge1  edge: ")
    assert lines[4].startswith("    └── cell1  cell: 40 MHz")
    assert lines[5].startswith("        ├── device1  device: phone")
    assert lines[5].endswith("[↑ campus-walk-up, ↓ campus-walk-down, 5 km/h]")
    assert lines[-1] == "4 nodes, 1 cells; 2 users, 1 requests a second together; 2 faults"


def test_links_are_drawn_with_their_rates() -> None:
    lines = topology_text(load_scenario("wires")).splitlines()
    assert lines[4].startswith("    ├── device1  device: phone")
    assert lines[4].endswith("[↑ 67 Mbit/s ↓ 127 Mbit/s, 8 ms]")


def test_groups_cells_and_links_beside_the_tree_are_told() -> None:
    text = topology_text(load_scenario("vehicles"))
    assert "east × 3" in text
    assert "↑ vehicle-drive-up, ↓ vehicle-drive-down, 50 km/h, cell2 at 18 s" in text
    assert "edge1 - edge2: ↑ 10 Gbit/s ↓ 10 Gbit/s, 1 ms" in text
    assert "north × 2,000" in topology_text(load_scenario("city"))


def test_rates_are_those_of_the_lower_end_whichever_way_the_link_is_written() -> None:
    nodes = "".join(f'[[node]]\nid = "{tier}1"\ntier = "{tier}"\nmodel = "m"\nprofile = "phone"\n' for tier in ("edge", "cloud"))
    link = '[[link]]\nbetween = ["cloud1", "edge1"]\nup = "1Mbps"\ndown = "2Mbps"\ndelay = "1ms"\n'
    assert "[↑ 2 Mbit/s ↓ 1 Mbit/s, 1 ms]" in topology_text(parse_scenario(nodes + link, where="x"))


def test_nodes_without_a_link_are_drawn_too() -> None:
    nodes = "".join(f'[[node]]\nid = "{name}"\ntier = "edge"\nmodel = "m"\nprofile = "phone"\n' for name in ("a", "b"))
    trees, left_out = topology(parse_scenario(nodes, where="x"))
    assert [tree.name for tree in trees] == ["a", "b"]
    assert left_out == ()


@pytest.mark.parametrize("name", ["campus", "city", "vehicles"])
def test_the_picture_is_svg_with_a_box_for_each_and_nothing_outside(name: str) -> None:
    scenario = load_scenario(name)
    picture = ElementTree.fromstring(topology_picture(scenario))
    width, height = float(picture.attrib["width"]), float(picture.attrib["height"])
    boxes = [box for box in picture.iter("{http://www.w3.org/2000/svg}rect") if "x" in box.attrib]
    branches = flat(topology(scenario)[0])
    assert len(boxes) == sum(3 if branch.count > 1 else 1 for branch in branches), "several are drawn as a pile of three"
    for box in boxes:
        x, y, wide, high = (float(box.attrib[key]) for key in ("x", "y", "width", "height"))
        assert x >= 0
        assert y >= 0
        assert x + wide <= width
        assert y + high <= height
    texts = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert scenario.description in texts
    assert all(any((text or "").startswith(branch.name) for text in texts) for branch in branches)
