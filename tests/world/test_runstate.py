"""What runs from a home: the state file, the lock, and who may believe them."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from netgpt.core.errors import AlreadyRunning, NotRunning, StorageFailed, UsageError
from netgpt.world.networkkey import ensure_network_key, network_key_file
from netgpt.world.pids import Pid, pid_of
from netgpt.world.runlock import run_lock
from netgpt.world.runstate import ProcessState, RunState, door_url, read_state, write_state
from netgpt.world.teardown import bring_down


def make_state(supervisor: Pid | None) -> RunState:
    def make(name: str, role: str, node: str | None, port: int | None) -> ProcessState:
        return ProcessState(name=name, node=node, tier=node and "edge", role=role, model=None, port=port, state="ready")

    myself = dataclasses.replace(make("supervisor", "supervisor", None, None), pid=supervisor)
    doors = (make("a-door", "door", "a", 8081), make("b-door", "door", "b", 8080))
    return RunState(scenario="s", default_node="b", engine="hash", dtype="float32", timing="real", supervisor=myself, processes=doors)


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    state = make_state(pid_of(os.getpid()))
    write_state(tmp_path, state)
    assert read_state(tmp_path) == state
    assert (tmp_path / "run" / "state.json").stat().st_mode & 0o777 == 0o600


def test_a_door_is_found_by_its_node(tmp_path: Path) -> None:
    write_state(tmp_path, make_state(pid_of(os.getpid())))
    assert door_url(tmp_path, "a") == "http://127.0.0.1:8081"
    assert door_url(tmp_path, None) == "http://127.0.0.1:8080"
    with pytest.raises(UsageError, match="no node 'c'") as caught:
        door_url(tmp_path, "c")
    assert "known: a, b" in caught.value.hint


def test_a_state_whose_supervisor_died_is_not_believed(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="no network runs"):
        door_url(tmp_path, None)
    write_state(tmp_path, make_state(Pid(number=os.getpid(), started_ticks=1)))
    with pytest.raises(NotRunning, match="has died") as caught:
        door_url(tmp_path, None)
    assert "netgpt down" in caught.value.hint


def test_down_leaves_a_stranger_alone_that_has_a_dead_supervisors_pid(tmp_path: Path) -> None:
    write_state(tmp_path, make_state(Pid(number=os.getpid(), started_ticks=1)))
    downed = bring_down(tmp_path)
    assert downed.killed_supervisor
    assert downed.processes == 0
    assert not (tmp_path / "run").exists()


def test_a_state_that_cannot_be_understood_is_named_and_cleaned_by_down(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.json").write_text('{"scenario": 1}')
    with pytest.raises(StorageFailed, match=r"state\.json"):
        read_state(tmp_path)
    bring_down(tmp_path)
    assert not (tmp_path / "run").exists()


def test_one_holder_a_home_and_no_lock_file_afterwards(tmp_path: Path) -> None:
    with run_lock(tmp_path), pytest.raises(AlreadyRunning), run_lock(tmp_path):
        pass
    assert not (tmp_path / "run").exists()
    with run_lock(tmp_path):
        pass


def test_the_network_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    key = ensure_network_key(tmp_path)
    assert len(key) == 32
    assert ensure_network_key(tmp_path) == key
    path = network_key_file(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("12ab")
    with pytest.raises(StorageFailed, match="2 bytes"):
        ensure_network_key(tmp_path)
    path.write_text("no key")
    with pytest.raises(StorageFailed, match=r"network\.key"):
        ensure_network_key(tmp_path)
