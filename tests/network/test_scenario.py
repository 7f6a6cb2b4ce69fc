"""Scenario files: what is sound is read as it is meant, and what is wrong is named with file, line and the way to mend it."""

from dataclasses import replace
from pathlib import Path

import pytest

from netgpt.core.errors import ScenarioInvalid
from netgpt.network.scenario import NOWHERE, HandoverSpec, ProcessesSpec, Scenario
from netgpt.network.scenario_file import load_scenario, parse_scenario, shipped_scenarios

SOUND = """
name = "small"
[[node]]
id = "cloud1"
tier = "cloud"
model = "netgpt-cloud"
profile = "cloud-server"
[[node]]
id = "edge1"
tier = "edge"
model = "netgpt-edge"
profile = "edge-server"
[[node]]
id = "ue"
tier = "device"
count = 3
model = "netgpt-device"
profile = "phone"
[[link]]
between = ["edge1", "cloud1"]
up = "20Mbps"
down = "80Mbps"
delay = "8ms"
[[cell]]
id = "cell1"
at = "edge1"
bandwidth = "100MHz"
tdd = "DDDSU"
flows = { draft = 82 }
[[cell]]
id = "cell2"
at = "edge1"
bandwidth = "20MHz"
[[attach]]
node = "ue"
cell = "cell1"
efficiency_up = 1.5
efficiency_down = 3
speed = "36km/h"
mobility = "line"
handover = [{ at = "10s", to = "cell2" }, { at = "20s", to = "cell1" }]
[[user]]
at = "ue"
requests_per_s = 0.5
count = 2
[[fault]]
at = "1m"
for = 5
link = "edge1-cloud1"
"""


UE = 'id = "ue"'


def refused(text: str, where: str = "test.toml") -> ScenarioInvalid:
    with pytest.raises(ScenarioInvalid) as caught:
        parse_scenario(text, where=where)
    return caught.value


def line_of(text: str, what: str) -> int:
    return text[: text.index(what)].count("\n") + 1


def test_a_sound_file_is_read_in_si_units_with_every_table_as_often_as_it_counts() -> None:
    scenario = parse_scenario(SOUND, where="test.toml")
    assert [node.id for node in scenario.nodes] == ["cloud1", "edge1", "ue1", "ue2", "ue3"]
    assert {node.group for node in scenario.nodes} == {"cloud1", "edge1", "ue"}
    assert (scenario.links[0].up_bps, scenario.links[0].delay_s) == (20e6, 0.008)
    cell = scenario.cell("cell1")
    assert (cell.bandwidth_hz, cell.subcarrier_spacing_hz, cell.scheduler, cell.flows) == (100e6, 30e3, "proportional-fair", {"draft": 82})
    assert [(each.node, each.member) for each in scenario.attachments] == [("ue1", 0), ("ue2", 1), ("ue3", 2)]
    assert scenario.attachments[2].speed_m_per_s == pytest.approx(10)
    assert scenario.attachments[0].handovers == (HandoverSpec(at_s=10, to="cell2"), HandoverSpec(at_s=20, to="cell1"))
    assert [user.at for user in scenario.users] == ["ue1", "ue1", "ue2", "ue2", "ue3", "ue3"]
    assert {user.deal for user in scenario.users} == {(number, 6) for number in range(6)}
    assert (scenario.faults[0].at_s, scenario.faults[0].for_s) == (60, 5)
    assert scenario.default_node == "cloud1"


def test_what_processes_take_is_one_table_and_nothing_without_it() -> None:
    assert not parse_scenario(SOUND, where="test.toml").processes.take_time
    told = parse_scenario(SOUND + '[processes]\nrequest = "2ms"\nreply = "600us"\ncores = 2\n', where="test.toml").processes
    assert told == ProcessesSpec(request_s=0.002, reply_s=0.0006, cores=2)
    assert told.take_time


def test_the_specs_remember_where_they_stand_and_are_equal_without_it() -> None:
    scenario = parse_scenario(SOUND, where="test.toml")
    assert scenario.links[0].place.of("delay") == f"test.toml:{line_of(SOUND, 'delay')}"
    assert scenario.node("ue2").place.of() == f"test.toml:{line_of(SOUND, UE) - 1}"
    assert replace(scenario.links[0], place=NOWHERE) == scenario.links[0]


@pytest.mark.parametrize(
    ("change", "to", "message", "hint"),
    [
        ('delay = "8ms"', 'dealy = "8ms"', "unknown key 'dealy' in link 1", "did you mean 'delay'?"),
        ('between = ["edge1", "cloud1"]', 'between = ["edge1", "clod1"]', "'between' names the unknown node 'clod1'", "did you mean 'cloud1'?"),
        ('between = ["edge1", "cloud1"]', 'between = ["edge1", "edge1"]', "joins 'edge1' to itself", "two nodes"),
        ('between = ["edge1", "cloud1"]', 'between = ["edge1"]', "does not name two nodes", '["device1", "edge1"]'),
        ('name = "small"', 'nmae = "small"', "unknown key 'nmae' in the scenario", "did you mean 'name'?"),
        ('tier = "cloud"', 'tier = "clouds"', "unknown tier 'clouds' in node 1", "did you mean 'cloud'?"),
        ('profile = "phone"', 'profile = "fone"', "node 'ue': unknown hardware profile 'fone'", "did you mean 'phone'?"),
        ('id = "edge1"', 'id = "cloud1"', "node 'cloud1' stands twice: also at test.toml:4", "own id"),
        ('profile = "phone"', 'profile = "phone"\ncache_entries = 9', "node 'ue' is of tier 'device' and has 'cache_entries'", "edge nodes"),
        ('profile = "edge-server"', 'profile = "edge-server"\ncache_entries = -1', "cache_entries", "0"),
        ('id = "edge1"', 'id = "an edge"', "cannot be called 'an edge'", "letters"),
        ('id = "edge1"', 'id = "controller"', "cannot be called 'controller'", "letters"),
        ('id = "cell2"', 'id = "cell1"', "cell 'cell1' stands twice", "own id"),
        ('up = "20Mbps"', 'up = "fast"', "'fast' is not a rate", "20Mbps"),
        ('up = "20Mbps"', "up = 0", "'up' of link 1 is 0", "above 0"),
        ('up = "20Mbps"', "up = -5e6", "'up' of link 1 is -5000000.0", "above 0"),
        ('up = "20Mbps"', 'up = "-5Mbps"', "'-5Mbps' is not a rate", "20Mbps"),
        ('up = "20Mbps"', "up = inf", "inf is no number", "finite"),
        ('up = "20Mbps"', "up = true", "True is no number", "finite"),
        ('up = "20Mbps"\n', "", "link 'edge1-cloud1' lacks 'up'", "add up"),
        ('up = "20Mbps"', 'up = "20Mbps"\nup_trace = "a.up"', "has 'up' and 'up_trace'", "keep one"),
        ('up = "20Mbps"', 'up_trace = ""', "an empty path names no file", "or leave the key out"),
        ('delay = "8ms"', 'delay = "8ms"\nloss_up = 1.5', "'loss_up' of link 1 is 1.5", "at most 0.99"),
        ('delay = "8ms"', 'delay = "8ms"\nloss_up = "90%"', "no bursts of 1 datagrams lose 90%", "raise loss_burst"),
        ('delay = "8ms"', 'delay = "0s"\njitter_up = "1ms"', "the delay of link 'edge1-cloud1' is 0 and cannot vary", "leave jitter_up out"),
        ('tier = "cloud"\n', "", "node 1 lacks 'tier'", "add tier"),
        ('model = "netgpt-cloud"', "model = 3", "'model' of node 1: 3 is no text", "in quotes"),
        ("count = 3", "count = 0", "'count' of node 3 is 0", "at least 1"),
        ("count = 3", "count = 2.5", "2.5 is no whole number", "fraction"),
        ('name = "small"', 'name = "small', "not valid TOML", "mend that line"),
        ('name = "small"', "agreement = 2", "'agreement' of the scenario is 2", "at most 1"),
        ('name = "small"', 'default_node = "phone9"', "'default_node' names the unknown node 'phone9'", "known: cloud1, edge1, ue"),
        ('name = "small"', "processes = 3", "'processes' is not a table", "[processes]"),
        ('name = "small"', 'processes = { call = "1ms", wake = "1ms" }', "unknown key 'wake' in processes", "known: call"),
        ('name = "small"', 'processes = { call = "-1ms" }', "'call' of processes", "write it as 5ms"),
        ('name = "small"', "simulation_only = 1", "1 is neither true nor false", "without quotes"),
        ('at = "edge1"\nbandwidth = "100MHz"', 'at = "edge9"\nbandwidth = "100MHz"', "'at' names the unknown node 'edge9'", "did you mean 'edge1'?"),
        ('at = "edge1"\nbandwidth = "100MHz"', 'at = "cloud1"\nbandwidth = "100MHz"', "which is no single edge node", "edge nodes: edge1"),
        ('bandwidth = "100MHz"', 'bandwidth = "1MHz"', "'bandwidth' of cell 1 is '1MHz'", "at least 5 MHz"),
        ('tdd = "DDDSU"', 'tdd = "DDDX"', "'DDDX' is no TDD pattern", "DDDSU"),
        ('tdd = "DDDSU"', 'tdd = "DDD"', "'DDD' is no TDD pattern", "DDDSU"),
        ('tdd = "DDDSU"', 'scheduler = "fair"', "unknown scheduler 'fair' in cell 'cell1'", "proportional-fair"),
        ('tdd = "DDDSU"', "numerology = 45e3", "unknown numerology 45000.0", "known: 15000, 30000"),
        ('tdd = "DDDSU"', 'configured_grant = "5ms"', "half of a configured grant", "configured_grant_bytes"),
        ('tdd = "DDDSU"', 'sr_period = "5.2ms"', "no whole number of slots of 0.5 ms", "multiple of 0.5ms"),
        ('tdd = "DDDSU"', 'sr_period = "3ms"', "is 6 slots, which TS 38.331 does not have", "known: 0.5ms, 1ms, 2ms"),
        ('tdd = "DDDSU"', 'drx_inactivity = "10ms"', "parts of DRX and no cycle", "add drx_cycle"),
        ('tdd = "DDDSU"', 'drx_cycle = "40ms"\ndrx_on = "50ms"', "devices of cell 'cell1' listen 0.05 s of every 0.04 s", "at most"),
        ('bandwidth = "100MHz"', 'bandwidth = "33MHz"', "cell 'cell1': no carrier of 33 MHz with 30 kHz subcarriers", "known: 5 MHz, 10 MHz"),
        ('tdd = "DDDSU"', "harq_attempts = 0", "'harq_attempts' of cell 1 is 0", "at least 1"),
        ("flows = { draft = 82 }", "flows = { daft = 82 }", "unknown kind of flow 'daft'", "did you mean 'draft'?"),
        ("flows = { draft = 82 }", "flows = { draft = 99 }", "unknown 5QI 99 of flow 'draft'", "TS 23.501"),
        ('node = "ue"\ncell = "cell1"', 'node = "ue"\ncell = "cel1"', "'cell' names the unknown cell 'cel1'", "did you mean 'cell1'?"),
        ('node = "ue"\ncell', 'node = "edge1"\ncell', "'edge1' is no device", "[[link]]"),
        ("efficiency_up = 1.5\n", "", "how well the uplink of 'ue' is heard", "efficiency_up"),
        ("efficiency_up = 1.5\n", 'efficiency_up = 1.5\nup_trace = "a.csv"\n', "has 'efficiency_up' and 'up_trace'", "keep one"),
        ('speed = "36km/h"\n', "", "'ue' is 'line' at 0 m/s", "neither"),
        ('{ at = "20s", to = "cell1" }', '{ at = "9s", to = "cell1" }', "not in the order of time", "sort"),
        ('{ at = "20s", to = "cell1" }', '{ at = "20s", to = "cell2" }', "handed over to 'cell2', where it is", "another cell"),
        ('{ at = "20s", to = "cell1" }', '{ at = "20s", to = "cell3" }', "'handover' names the unknown cell 'cell3'", "did you mean 'cell"),
        ('{ at = "20s", to = "cell1" }', '{ at = "20s" }', "handover 2 lacks 'to'", "add to"),
        ("requests_per_s = 0.5", "requests_per_s = 0", "'requests_per_s' of user 1 is 0", "above 0"),
        ("requests_per_s = 0.5", 'trace = ""', "an empty path names no file", "path of a file"),
        ("requests_per_s = 0.5", "", "neither 'requests_per_s' nor 'trace'", "request trace"),
        ("requests_per_s = 0.5", 'requests_per_s = 0.5\ntrace = "a.csv"', "both 'requests_per_s' and 'trace'", "request trace"),
        ("requests_per_s = 0.5", "requests_per_s = 0.5\ntrace_speed = 2", "no trace to start", "add trace"),
        ('link = "edge1-cloud1"', 'link = "edge-cloud1"', "'link' names the unknown link 'edge-cloud1'", "did you mean 'edge1-cloud1'?"),
        ('link = "edge1-cloud1"', 'link = "edge1-cloud1"\nnode = "ue"', "either a node, a link or a cell", "cloud1"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_the_next_step(change: str, to: str, message: str, hint: str) -> None:
    assert change in SOUND
    error = refused(SOUND.replace(change, to, 1))
    assert message in error.message
    assert hint in error.hint
    file, line, _ = error.message.split(":", 2)
    assert file == "test.toml"
    first, last = line_of(SOUND, change), line_of(SOUND, change) + to.count("\n")
    table = max((number for number, text in enumerate(SOUND.splitlines(), start=1) if text.startswith("[[") and number <= first), default=1)
    assert table <= int(line) <= last, "the line is of the key, or of its table"


def test_the_line_is_the_keys_own_where_there_is_one() -> None:
    assert refused(SOUND.replace('down = "80Mbps"', "down = -1")).message.startswith(f"test.toml:{line_of(SOUND, 'down =')}: ")
    assert refused(SOUND.replace("[[fault]]", "[[fault")).message.startswith(f"test.toml:{line_of(SOUND, '[[fault]]')}: not valid TOML: ")
    assert refused(SOUND + 'text = """').message.startswith(f"test.toml:{SOUND.count(chr(10)) + 1}: not valid TOML: ")


@pytest.mark.parametrize("node", ["ue", "ue2"])
def test_a_device_in_two_cells_is_refused(node: str) -> None:
    text = SOUND + f'[[attach]]\nnode = "{node}"\ncell = "cell2"\nefficiency_up = 1\nefficiency_down = 1\n'
    error = refused(text)
    first, second = line_of(SOUND, 'cell = "cell1"'), 'cell = "cell2"'
    assert error.message.startswith(f"test.toml:{line_of(text, second)}: ")
    assert f"is attached twice, to 'cell1' (at test.toml:{first}) and to 'cell2'" in error.message
    assert "handover = [" in error.hint


def test_a_node_with_the_name_of_one_of_a_group_is_refused() -> None:
    error = refused(SOUND.replace('id = "edge1"', 'id = "ue2"'))
    assert error.message == f"test.toml:{line_of(SOUND, UE)}: node 'ue2' stands twice: also at test.toml:9"


def test_two_links_between_the_same_nodes_are_refused() -> None:
    link = 'between = ["edge1", "cloud1"]\nup = 1\ndown = 1\ndelay = 1\n'
    assert "link 'edge1-cloud1' stands twice: also at test.toml:" in refused(SOUND + f"[[link]]\n{link}").message


def test_a_link_between_two_groups_is_refused() -> None:
    other = '[[node]]\nid = "cam"\ncount = 2\ntier = "device"\nmodel = "m"\nprofile = "phone"\n'
    link = '[[link]]\nbetween = ["ue", "cam"]\nup = 1\ndown = 1\ndelay = 1\n'
    assert "both ends of link 'ue-cam' have a count" in refused(SOUND + other + link).message


def test_a_table_that_is_no_list_and_a_file_without_a_node_are_refused() -> None:
    assert "no node" in refused('name = "x"').message
    assert "[[link]]" in refused(SOUND.replace("[[link]]", "[link]")).hint


def test_a_group_has_a_link_and_a_fault_for_each() -> None:
    link = '[[link]]\nbetween = ["ue", "edge1"]\nup = 1\ndown = 1\ndelay = 1\n[[fault]]\nat = 1\nfor = 1\nnode = "ue"\n'
    scenario = parse_scenario(SOUND + link + '[[fault]]\nat = 1\nfor = 1\nlink = "ue2-edge1"\n', where="test.toml")
    assert [link.id for link in scenario.links] == ["edge1-cloud1", "ue1-edge1", "ue2-edge1", "ue3-edge1"]
    assert [fault.node or fault.link for fault in scenario.faults] == ["edge1-cloud1", "ue1", "ue2", "ue3", "ue2-edge1"]
    assert parse_scenario(SOUND.replace('name = "small"', 'default_node = "ue"'), where="test.toml").default_node == "ue1"


def test_a_scenario_that_does_not_exist_is_named() -> None:
    with pytest.raises(ScenarioInvalid, match="no scenario 'campsu'") as caught:
        load_scenario("campsu")
    assert "did you mean 'campus'?" in caught.value.hint


def test_a_scenario_file_is_read_with_the_paths_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        SOUND.replace("requests_per_s = 0.5", 'trace = "day.csv"').replace("efficiency_up = 1.5", 'up_trace = "ue.csv"'), encoding="utf-8"
    )
    sound = {"day.csv": "", "ue.csv": "# unit: bps/Hz\ntime_s,value\n0,1.5\n1,2.5\n"}
    for trace, text in sound.items():
        with pytest.raises(ScenarioInvalid, match=rf"^{path}:\d+: 'trace|up_trace' names the file .*{trace}', which is not there"):
            load_scenario(str(path))
        (tmp_path / trace).write_text(text, encoding="utf-8")
    scenario = load_scenario(str(path))
    assert {user.trace for user in scenario.users} == {str(tmp_path / "day.csv")}
    assert {each.up_trace for each in scenario.attachments} == {str(tmp_path / "ue.csv")}


def test_an_unknown_shipped_trace_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SOUND.replace("efficiency_up = 1.5", 'up_trace = "no-such-trace"'), encoding="utf-8")
    with pytest.raises(ScenarioInvalid, match=r":\d+: 'up_trace': no trace 'no-such-trace'"):
        load_scenario(str(path))


@pytest.mark.parametrize(
    ("old", "text", "message"),
    [
        ("efficiency_up = 1.5", "# unit: Mbps\ntime_s,value\n0,1.5\n1,2.5\n", "wants spectral efficiencies"),
        ("efficiency_up = 1.5", "# unit: bps/Hz\ntime_s,value\n0,1.5\n0,2.5\n", r"a\.csv"),
        ('up = "20Mbps"', "# unit: bps/Hz\ntime_s,value\n0,1.5\n1,2.5\n", "a link wants rates"),
    ],
)
def test_a_trace_of_the_wrong_kind_or_a_damaged_one_is_refused_at_its_key(old: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    scenario = SOUND.replace(old, 'up_trace = "a.csv"', 1)
    (tmp_path / "mine.toml").write_text(scenario, encoding="utf-8")
    with pytest.raises(ScenarioInvalid, match=rf"mine\.toml:{line_of(scenario, 'up_trace')}: 'up_trace': .*{message}"):
        load_scenario(str(tmp_path / "mine.toml"))


def shipped() -> list[Scenario]:
    return [load_scenario(name) for name in shipped_scenarios()]


def test_every_shipped_scenario_is_sound_and_says_what_it_is_for() -> None:
    for scenario in shipped():
        assert scenario.place.file == f"{scenario.name}.toml"
        assert scenario.node(scenario.default_node).tier == "device"
        assert 10 < len(scenario.description) < 80
        assert scenario.users


def test_what_the_shipped_scenarios_are_there_for() -> None:
    by_name = {scenario.name: scenario for scenario in shipped()}
    presets = {"sa4-low-latency", "sa4-urban", "sa4-cell-edge", "sa4-leo", "sa4-geo", "sa4-congested"}
    assert by_name.keys() == presets | {"campus", "wires", "vehicles", "factory", "rural", "crowd", "city"}
    assert sum(node.tier == "device" for node in by_name["city"].nodes) == 10_000
    assert [name for name, scenario in by_name.items() if scenario.simulation_only] == ["city"]
    assert all(each.handovers and each.speed_m_per_s for each in by_name["vehicles"].attachments)
    assert len({each.cell for each in by_name["campus"].attachments}) == 1, "the default network's phones compete for a cell"
    assert len({each.cell for each in by_name["crowd"].attachments}) == 1
    assert len(by_name["crowd"].attachments) == 200
    assert by_name["rural"].links[0].down_bps < by_name["campus"].links[-1].down_bps


@pytest.mark.parametrize(  # S4-260848 table C.Z-1: up and down in Mbit/s, delay in ms, loss in percent up and down
    ("name", "figures"),
    [
        ("sa4-low-latency", (300, 300, 1, 0.001, 0.001)),
        ("sa4-urban", (100, 100, 20, 0.1, 0.1)),
        ("sa4-cell-edge", (5, 5, 120, 1, 1)),
        ("sa4-leo", (15, 100, 22, 0.8, 0.5)),
        ("sa4-geo", (3, 50, 340, 0.2, 0.1)),
        ("sa4-congested", (1, 1, 200, 3, 3)),
    ],
)
def test_the_presets_have_the_figures_of_their_table(name: str, figures: tuple[float, ...]) -> None:
    link = load_scenario(name).links[0]
    assert (link.up_bps / 1e6, link.down_bps / 1e6, link.delay_s * 1e3, link.loss_up * 100, link.loss_down * 100) == pytest.approx(figures)
    assert (link.loss_burst > 2) == (name in ("sa4-cell-edge", "sa4-congested")), "the table has Gilbert-Elliott for these"


def test_every_figure_of_a_shipped_scenario_has_its_source_or_says_that_it_is_assumed() -> None:
    folder = Path(__file__).parents[2] / "src" / "netgpt" / "network" / "scenarios"
    for path in folder.glob("*.toml"):
        text = path.read_text(encoding="utf-8")
        assert text.startswith("#:schema ../scenario.schema.json\n")
        assert path.stem == "wires" or "ssumed" in text
        for table in text.split("[[cell]]")[1:]:
            for line in table.partition("\n[[")[0].splitlines():
                if line.startswith(("bandwidth", "tdd", "configured", "background_up")):
                    assert "#" in line, f"{path.name}: {line}"
