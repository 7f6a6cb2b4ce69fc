import os
from pathlib import Path

import pytest

from netgpt.core.clock import WallClock
from netgpt.core.errors import StorageFailed
from netgpt.core.storage import DiskStorage, SimulatedStorage, Storage
from netgpt.telemetry.events import EventLog


@pytest.fixture(params=["disk", "simulated"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return DiskStorage(tmp_path) if request.param == "disk" else SimulatedStorage()


def test_what_is_written_is_read_back(storage: Storage):
    storage.append("log/a", b"one")
    storage.append("log/a", b"two")
    storage.replace("b", b"old")
    storage.replace("b", b"new")
    assert storage.read("log/a") == b"onetwo"
    assert storage.read("b") == b"new"
    assert storage.read("never") == b""
    assert storage.names() == ["b", "log/a"]
    storage.remove("b")
    assert storage.names() == ["log/a"]


def test_a_name_cannot_leave_the_folder(tmp_path: Path):
    with pytest.raises(StorageFailed, match="leaves the storage folder"):
        DiskStorage(tmp_path / "in").append("../out", b"x")


def test_files_are_readable_by_their_owner_alone(tmp_path: Path):
    DiskStorage(tmp_path).replace("secret", b"x")
    assert (tmp_path / "secret").stat().st_mode & 0o077 == 0


def test_a_blob_that_is_appended_to_may_be_replaced_or_removed_meanwhile(tmp_path: Path):
    storage, other = DiskStorage(tmp_path), DiskStorage(tmp_path)
    for change in (
        lambda: storage.replace("log", b""),
        lambda: other.replace("log", b""),
        lambda: storage.remove("log"),
        lambda: (tmp_path / "log").unlink(),
    ):
        storage.append("log", b"before")
        change()
        storage.append("log", b"one", sync=False)
        storage.append("log", b"two")
        assert storage.read("log") == other.read("log") == b"onetwo"


def test_a_storage_that_is_dropped_leaves_no_file_open(tmp_path: Path):
    storage = DiskStorage(tmp_path)
    storage.append("log", b"x")
    (handle,) = storage._open.values()
    assert os.fstat(handle).st_size == 1
    del storage
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(handle)


def test_simulated_storage_fills_up():
    storage = SimulatedStorage(capacity_bytes=4)
    storage.append("a", b"1234")
    with pytest.raises(StorageFailed, match="No space left"):
        storage.append("a", b"5")
    assert storage.read("a") == b"1234"


@pytest.mark.parametrize("torn_fraction", [0.1, 0.5, 1.0])
def test_an_event_log_survives_a_torn_write(torn_fraction: float):
    storage = SimulatedStorage()
    log = EventLog(WallClock(), storage)
    for number in range(3):
        log.record("fact", "node", number=number)
    storage.crash(torn_fraction)
    again = EventLog(WallClock(), storage)
    assert [event.data["number"] for event in again.recover()] == [0, 1]
    again.record("fact", "node", number=9)
    assert [event.index for event in EventLog(WallClock(), storage).recover()] == [0, 1, 2]
