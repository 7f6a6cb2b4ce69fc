"""The emulated world's plan: processes, ports and what each is told."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from netgpt.core.clock import WallClock
from netgpt.network.scenario_file import load_scenario
from netgpt.wire.own_identity import IdentityFile
from netgpt.world.config import ControllerConfig, DoorConfig, EngineConfig
from netgpt.world.emulated import Build, PortPlan, free_port_plan, network_stages, plan_ports
from netgpt.world.identities import authority_folder, identity_file, issue_identities

CAMPUS = load_scenario("campus")
BUILD = Build(home=Path("/home/n"), network_key_file=Path("/home/n/key"), engine="hash", dtype="float32", timing="real", threads=2, model_folders={})
KNOWN = {"controller": {"port": 5000, "http_port": 8084}} | {f"{node.id}-engine": {"port": 6000 + n} for n, node in enumerate(CAMPUS.nodes)}


def test_the_default_nodes_door_has_the_first_port_and_the_controller_the_last() -> None:
    ports = plan_ports(CAMPUS, 8080)
    assert ports == PortPlan(doors={"device1": 8080, "cloud1": 8081, "edge1": 8082, "device2": 8083}, controller_http=8084)


def test_free_ports_are_all_different() -> None:
    ports = free_port_plan(CAMPUS).all()
    assert len(set(ports)) == len(CAMPUS.nodes) + 1


def test_each_process_is_told_what_its_role_takes_and_keeps_its_port_at_a_restart() -> None:
    tokens: list[str] = []

    def join_token(node: str) -> str:
        tokens.append(node)
        return f"token-{len(tokens)}"

    stages = network_stages(CAMPUS, plan_ports(CAMPUS, 8080), BUILD, join_token=join_token)
    assert [[spec.role for spec in stage] for stage in stages] == [["controller"], ["engine"] * 4, ["door"] * 4]
    controller, engine, door = (stage[0] for stage in stages)
    for spec, kind in ((controller, ControllerConfig), (engine, EngineConfig), (door, DoorConfig)):
        assert set(spec.configure(KNOWN)) == {field.name for field in dataclasses.fields(kind)}
    assert controller.configure({})["port"] == 0
    assert controller.configure(KNOWN)["port"] == 5000
    assert engine.configure({})["port"] == 0
    assert engine.configure(KNOWN)["port"] == 6000
    first, second = door.configure(KNOWN), door.configure(KNOWN)
    assert (first["engine_address"], first["controller_address"]) == ("127.0.0.1:6000", "127.0.0.1:5000")
    assert first["join_token"] != second["join_token"], "a token is good for one start"


def test_engines_get_the_threads_and_the_others_one() -> None:
    stages = network_stages(CAMPUS, plan_ports(CAMPUS, 8080), BUILD, join_token=str)
    assert [stage[0].environment["OMP_NUM_THREADS"] for stage in stages] == ["1", "2", "1"]


def test_over_tls_each_process_is_told_where_its_own_identity_lies() -> None:
    build = dataclasses.replace(BUILD, tls=True)
    told = [spec.configure(KNOWN) for stage in network_stages(CAMPUS, plan_ports(CAMPUS, 8080), build, join_token=lambda node: "") for spec in stage]
    names = [str(config.get("node", "controller")) for config in told]
    assert [config["identity_file"] for config in told] == [str(identity_file(BUILD.home, name)) for name in names]
    assert [config.get("authority_folder", "") for config in told] == [str(authority_folder(BUILD.home)), *[""] * (len(told) - 1)]


def test_identities_of_one_machine_are_issued_once_and_stay_while_they_are_good(tmp_path: Path) -> None:
    ahead_s = 0.0

    def date_s() -> float:
        return WallClock().date_s() + ahead_s

    def serials() -> list[str]:
        issue_identities(tmp_path, {"edge1": "edge"}, date_s)
        return [IdentityFile(identity_file(tmp_path, name)).read().facts.peer.serial for name in ("controller", "edge1")]

    first = serials()
    assert serials() == first
    ahead_s = 5 * 86400.0
    assert not set(serials()) & set(first)
