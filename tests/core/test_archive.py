"""Sealed archives: what is unpacked is exactly what was packed, or an error that names the member."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgpt.core.archive import MANIFEST, digest_of, is_plain_name, read_archive, write_archive
from netgpt.core.errors import StorageFailed

FILES = {"a.txt": b"alpha", "keys/b.bin": bytes(range(256)) * 5000, "empty": b""}


def pack(tmp_path: Path, files: dict[str, bytes] = FILES) -> bytes:
    sources = {}
    for number, (name, data) in enumerate(files.items()):
        sources[name] = tmp_path / f"source{number}"
        sources[name].write_bytes(data)
    packed = io.BytesIO()
    write_archive(packed, "test", sources, about={"version": "1"})
    return packed.getvalue()


def unpack(tmp_path: Path, data: bytes, kind: str = "test", accepts: Callable[[str], bool] = is_plain_name) -> dict[str, bytes]:
    path, folder = tmp_path / "archive.tar", tmp_path / "out"
    path.write_bytes(data)
    folder.mkdir()
    read_archive(path, kind, folder, invalid=StorageFailed, accepts=accepts)
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def test_what_was_packed_comes_back(tmp_path: Path) -> None:
    assert unpack(tmp_path, pack(tmp_path)) == FILES
    assert {each.stat().st_mode & 0o777 for each in (tmp_path / "out").rglob("*") if each.is_file()} == {0o600}


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    assert pack(tmp_path) == pack(tmp_path, dict(reversed(FILES.items())))


def test_every_cut_and_every_changed_byte_is_noticed(tmp_path: Path) -> None:
    data = pack(tmp_path, {"a": b"x" * 600})
    for number, damaged in enumerate([data[:100], data[:700], data[:2100], data.replace(b"xxx", b"xyx", 1), b"", b"no archive"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(StorageFailed):
            unpack(folder, damaged)


def test_a_manifest_that_says_nothing_of_use_about_itself_harms_nobody(tmp_path: Path) -> None:
    path = tmp_path / "archive.tar"
    for about in ("text", [1], None):
        path.write_bytes(tar_of(files={}, about=about))
        assert read_archive(path, "test", tmp_path, invalid=StorageFailed, accepts=is_plain_name) == {}


def tar_of(*members: tuple[tarfile.TarInfo, bytes], files: dict[str, object] | None = None, about: object = None) -> bytes:
    """An archive whose manifest says what the test likes."""
    listed = files if files is not None else {header.name: {"bytes": len(data), "sha256": "0" * 64} for header, data in members}
    text = json.dumps({"format": 1, "kind": "test", "files": listed, "about": about}).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for header, data in [(tarfile.TarInfo(MANIFEST), text), *members]:
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return packed.getvalue()


@pytest.mark.parametrize("name", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "a\\b", "a//b", "", ".", "a\nb", "x" * 600])
def test_a_name_that_could_leave_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StorageFailed, match="may not hold"):
        unpack(tmp_path, tar_of((tarfile.TarInfo("a"), b""), files={name: {"bytes": 0, "sha256": ""}}))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["archive.tar", "out"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    header = tarfile.TarInfo("a")
    header.type, header.linkname = kind, "/etc/passwd"
    with pytest.raises(StorageFailed, match="member 'a'"):
        unpack(tmp_path, tar_of((header, b"")))
    assert list((tmp_path / "out").iterdir()) == []


def test_a_member_that_is_not_listed_or_listed_otherwise_is_refused(tmp_path: Path) -> None:
    for number, files in enumerate([{}, {"a": {"bytes": 2, "sha256": ""}}, {"a": {"bytes": "1", "sha256": ""}}, {"a": 1}, []]):
        folder = tmp_path / str(number)
        folder.mkdir()
        with pytest.raises(StorageFailed):
            unpack(folder, tar_of((tarfile.TarInfo("a"), b"x"), files=files))  # type: ignore[arg-type]


def test_a_member_that_comes_twice_is_refused(tmp_path: Path) -> None:
    entry = {"bytes": 1, "sha256": digest_of_bytes(tmp_path, b"x")}
    with pytest.raises(StorageFailed, match="member 'a'"):
        unpack(tmp_path, tar_of((tarfile.TarInfo("a"), b"x"), (tarfile.TarInfo("a"), b"x"), files={"a": entry}))


def digest_of_bytes(tmp_path: Path, data: bytes) -> str:
    (tmp_path / "digest").write_bytes(data)
    return digest_of(tmp_path / "digest").sha256


def test_a_name_that_the_reader_does_not_accept_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="may not hold a file named"):
        unpack(tmp_path, pack(tmp_path), accepts=lambda name: "/" not in name)


def test_another_kind_of_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="of kind 'test'"):
        unpack(tmp_path, pack(tmp_path), kind="other")


@given(data=st.binary(max_size=3000))
def test_no_bytes_make_the_reader_raise_anything_but_its_error(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(StorageFailed):
        unpack(tmp_path_factory.mktemp("any"), data)
