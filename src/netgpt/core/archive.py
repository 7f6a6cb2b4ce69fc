"""Sealed archives: files in one tar whose first member lists every other one with its size and SHA-256.

The same files give the same bytes, whoever packs them and when. What is read back is either exactly what
was packed or an error; nothing is written outside the folder that was asked for. Names are plain relative
paths: no link, device, sparse file, absolute path or `..` passes. What the files mean is for who packs them.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from netgpt.core.errors import NetgptError

MANIFEST = "manifest.json"
FORMAT = 1
_LONGEST_MANIFEST_BYTES, _LONGEST_NAME = 16 << 20, 512
_CHUNK_BYTES = 1 << 20
_PART = re.compile(r"[^/\\\x00-\x1f\x7f]+")
_AGAIN = "get it again from its source"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file: its size and digest."""

    bytes: int
    sha256: str


def is_plain_name(name: str) -> bool:
    """Whether a name is a relative path that cannot leave the folder it is unpacked into."""
    return len(name) <= _LONGEST_NAME and all(_PART.fullmatch(part) and part not in (".", "..") for part in name.split("/"))


def digest_of(path: Path) -> Entry:
    """A file's size and digest, read in pieces."""
    sha256, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while data := file.read(_CHUNK_BYTES):
            sha256.update(data)
            size += len(data)
    return Entry(bytes=size, sha256=sha256.hexdigest())


def write_archive(file: IO[bytes], kind: str, files: Mapping[str, Path], *, about: Mapping[str, object] | None = None) -> dict[str, Entry]:
    """Pack `files`, by their names in the archive.

    Args:
        kind: what sort of archive it is; who reads it asks for the same.
        about: more facts for the manifest, as JSON.

    Raises:
        OSError: a file cannot be read, `file` not written, or a file changed while it was packed.
    """
    entries = {name: digest_of(path) for name, path in sorted(files.items())}
    manifest = {"format": FORMAT, "kind": kind, "about": dict(about or {}), "files": {name: vars(entry) for name, entry in entries.items()}}
    text = (json.dumps(manifest, indent=1, sort_keys=True) + "\n").encode()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(_header(MANIFEST, len(text)), io.BytesIO(text))
        for name, entry in entries.items():
            with files[name].open("rb") as source:
                checked = _Hashed(source)
                tar.addfile(_header(name, entry.bytes), cast(IO[bytes], checked))  # it reads, which is all that tarfile asks
                if checked.sha256.hexdigest() != entry.sha256 or source.read(1):
                    raise OSError(f"{str(files[name])!r} changed while it was packed")
    return entries


def _header(name: str, size: int) -> tarfile.TarInfo:
    """Nothing in it but name and size: the archive is the same on every machine."""
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o600
    return header


class _Hashed(io.RawIOBase):
    """A file that hashes what is read from it."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self.sha256.update(data)
        return data


def read_archive(
    path: Path, kind: str, folder: Path, *, invalid: type[NetgptError], accepts: Callable[[str], bool] = is_plain_name
) -> dict[str, object]:
    """Unpack an archive into `folder`, which exists and is empty. Files are readable by their owner alone.

    Args:
        invalid: the error to raise for an archive that is damaged or not what it should be.
        accepts: whether a name may be in it, beside being a plain one.

    Returns:
        The manifest's `about`.

    Raises:
        invalid: it is no such archive, or damaged; the message says where. `folder` may hold a part of it.
        OSError: a file cannot be read or written.
    """
    try:
        with tarfile.open(path, mode="r:") as tar:
            manifest = _manifest(tar, path, kind, invalid)
            entries = _entries(manifest, path, invalid, accepts)
            missing = dict(entries)
            while (member := tar.next()) is not None:
                entry = missing.pop(member.name, None)
                if entry is None or not _is_file(member) or member.size != entry.bytes:
                    raise invalid(f"archive {str(path)!r}: member {member.name!r} is not what its manifest lists", hint=_AGAIN)
                _unpack(tar, member, entry, folder, path, invalid)
    except (tarfile.TarError, EOFError) as error:
        raise invalid(f"archive {str(path)!r} cannot be read: {error}", hint=_AGAIN) from error
    if missing:
        raise invalid(f"archive {str(path)!r} ends before its member {min(missing)!r}", hint=_AGAIN)
    about = manifest.get("about")
    return about if isinstance(about, dict) else {}


def _manifest(tar: tarfile.TarFile, path: Path, kind: str, invalid: type[NetgptError]) -> dict[str, object]:
    first = tar.next()
    if first is None or first.name != MANIFEST or not _is_file(first) or first.size > _LONGEST_MANIFEST_BYTES:
        raise invalid(f"archive {str(path)!r} does not begin with its {MANIFEST}", hint="give a file that NetGPT has packed")
    source = tar.extractfile(first)
    try:
        manifest = json.loads(source.read() if source else b"")
        found = (manifest["format"], manifest["kind"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise invalid(f"archive {str(path)!r}: its {MANIFEST} cannot be understood", hint=_AGAIN) from error
    if found != (FORMAT, kind):
        raise invalid(
            f"archive {str(path)!r} is of kind {found[1]!r}, format {found[0]!r}; needed: {kind!r}, {FORMAT}",
            hint="give another file, or use the NetGPT that packed it",
        )
    return manifest


def _entries(manifest: Mapping[str, object], path: Path, invalid: type[NetgptError], accepts: Callable[[str], bool]) -> dict[str, Entry]:
    listed = manifest.get("files")
    if not isinstance(listed, dict):
        raise invalid(f"archive {str(path)!r}: its {MANIFEST} lists no files", hint=_AGAIN)
    entries: dict[str, Entry] = {}
    for name, told in listed.items():
        if not is_plain_name(name) or not accepts(name):
            raise invalid(f"archive {str(path)!r} may not hold a file named {name!r}", hint="do not use it: nothing of it was installed")
        if not isinstance(told, dict) or not isinstance(told.get("bytes"), int) or not isinstance(told.get("sha256"), str):
            raise invalid(f"archive {str(path)!r}: its {MANIFEST} says {told!r} of {name!r}", hint=_AGAIN)
        entries[name] = Entry(bytes=told["bytes"], sha256=told["sha256"])
    return entries


def _is_file(member: tarfile.TarInfo) -> bool:
    """A plain file: no link, device, folder or sparse file, whatever name it has."""
    return member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, entry: Entry, folder: Path, path: Path, invalid: type[NetgptError]) -> None:
    target = folder / member.name
    for parent in list(target.relative_to(folder).parents)[-2::-1]:  # `mkdir(parents=True)` gives its mode to the last alone
        (folder / parent).mkdir(exist_ok=True, mode=0o700)
    source = tar.extractfile(member)
    sha256 = hashlib.sha256()
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        while source and (data := source.read(_CHUNK_BYTES)):
            sha256.update(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if sha256.hexdigest() != entry.sha256:
        raise invalid(f"archive {str(path)!r}: {member.name!r} is damaged: its SHA-256 is {sha256.hexdigest()}, not {entry.sha256}", hint=_AGAIN)
