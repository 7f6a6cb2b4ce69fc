"""Storage as an argument: append with fsync, atomic replace, read.

`DiskStorage` is a folder. `SimulatedStorage` is memory that tears the last write when its node
crashes and fills up, so that recovery code is tested without a disk.
"""

from __future__ import annotations

import errno
import os
import weakref
from pathlib import Path
from typing import Protocol

from netgpt.core.errors import StorageFailed


class Storage(Protocol):
    """Named blobs below one root. Names are relative, with `/` between parts.

    All methods raise StorageFailed, naming the blob, when the medium fails.
    """

    def append(self, name: str, data: bytes, *, sync: bool = True) -> None:
        """Add `data` at the end of `name`; durable when this returns, unless `sync` is off."""
        ...

    def replace(self, name: str, data: bytes) -> None:
        """Make `data` the content of `name`: readers see the old or the new content, never a mixture."""
        ...

    def read(self, name: str) -> bytes:
        """The content of `name`; empty if it was never written."""
        ...

    def names(self) -> list[str]: ...

    def remove(self, name: str) -> None: ...


class DiskStorage:
    """A folder on disk. Files are created readable by their owner alone.

    A blob that is appended to stays open, since opening it costs more than the append.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._open: dict[str, int] = {}
        weakref.finalize(self, _close_all, self._open)

    def _path(self, name: str) -> Path:
        path = (self.root / name).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise StorageFailed(f"blob name {name!r} leaves the storage folder", hint="use a relative name without '..'")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def append(self, name: str, data: bytes, *, sync: bool = True) -> None:
        try:
            handle = self._open.get(name)
            if handle is None or not os.fstat(handle).st_nlink:  # somebody removed the file
                self._close(name)
                handle = self._open[name] = os.open(self._path(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            _write(handle, data, sync=sync)
        except OSError as error:
            raise _failed(self.root / name, error) from error

    def replace(self, name: str, data: bytes) -> None:
        path = self._path(name)
        draft = path.with_name(path.name + ".new")
        try:
            handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                _write(handle, data, sync=True)
            finally:
                os.close(handle)
            draft.rename(path)
            self._sync_folder(path.parent)
        except OSError as error:
            raise _failed(path, error) from error
        self._close(name)

    def _close(self, name: str) -> None:
        if (handle := self._open.pop(name, None)) is not None:
            os.close(handle)

    @staticmethod
    def _sync_folder(folder: Path) -> None:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def read(self, name: str) -> bytes:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise StorageFailed(f"cannot read {name!r}: {error.strerror}", hint="check the folder's permissions") from error

    def names(self) -> list[str]:
        if not self.root.exists():
            return []
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file() and path.suffix != ".new")

    def remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)
        self._close(name)


def _write(handle: int, data: bytes, *, sync: bool) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
    if sync:
        os.fsync(handle)


def _close_all(handles: dict[str, int]) -> None:
    for handle in handles.values():
        os.close(handle)


def _failed(path: Path, error: OSError) -> StorageFailed:
    return StorageFailed(f"cannot write {str(path)!r}: {error.strerror}", hint="free space or choose another folder with --home")


class SimulatedStorage:
    """Memory with a capacity, whose unsynchronised tail can be torn off by `crash`."""

    def __init__(self, capacity_bytes: int | None = None) -> None:
        self._blobs: dict[str, bytearray] = {}
        self._last_append: tuple[str, int] | None = None
        self._capacity_bytes = capacity_bytes

    def append(self, name: str, data: bytes, *, sync: bool = True) -> None:
        self._reserve(len(data), name)
        self._blobs.setdefault(name, bytearray()).extend(data)
        self._last_append = (name, len(data))

    def replace(self, name: str, data: bytes) -> None:
        self._reserve(len(data) - len(self._blobs.get(name, b"")), name)
        self._blobs[name] = bytearray(data)
        self._last_append = None

    def _reserve(self, extra_bytes: int, name: str) -> None:
        if self._capacity_bytes is not None and sum(map(len, self._blobs.values())) + extra_bytes > self._capacity_bytes:
            raise StorageFailed(f"cannot write {name!r}: {os.strerror(errno.ENOSPC)}", hint="free space or choose another folder with --home")

    def read(self, name: str) -> bytes:
        return bytes(self._blobs.get(name, b""))

    def names(self) -> list[str]:
        return sorted(self._blobs)

    def remove(self, name: str) -> None:
        self._blobs.pop(name, None)

    def crash(self, torn_fraction: float) -> None:
        """Lose the given share (0 to 1) of the last append, as a power cut during it would."""
        if self._last_append is not None:
            name, size = self._last_append
            del self._blobs[name][len(self._blobs[name]) - round(size * torn_fraction) :]
            self._last_append = None
