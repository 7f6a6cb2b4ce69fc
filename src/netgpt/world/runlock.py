"""One network a home: a lock that the kernel frees when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from netgpt.core.errors import AlreadyRunning, StorageFailed
from netgpt.world.runstate import run_folder


@contextmanager
def run_lock(home: Path) -> Iterator[None]:
    """Hold the home. The lock's file is gone afterwards, and `run/` with it if nothing else is left there.

    Raises:
        AlreadyRunning: another process holds it.
        StorageFailed: the home cannot be written.
    """
    path = run_folder(home) / "lock"
    handle = _open(path)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                hint = "see it: netgpt ps; stop it: netgpt down; or give another --home"
                raise AlreadyRunning(f"a network already runs from {str(home)!r}", hint=hint) from error
            if _is_at(handle, path):
                break
            os.close(handle)  # its last holder removed the file between our open and our lock
            handle = _open(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # something else lies there
                path.parent.rmdir()
    finally:
        os.close(handle)


def _open(path: Path) -> int:
    try:
        while True:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with suppress(FileNotFoundError):  # its last holder removed the folder just now
                return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StorageFailed(f"cannot write {str(path)!r}: {error.strerror}", hint="choose another folder with --home") from error


def _is_at(handle: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(handle)
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
