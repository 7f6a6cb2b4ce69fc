"""Fetching models: resumed downloads, believed only by their digest, over a real socket."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from netgpt.core.archive import digest_of, write_archive
from netgpt.core.errors import ModelInvalid, ModelNotFound, NetgptError, NodeUnreachable, StorageFailed, UsageError
from netgpt.models.checkpoint import load_model
from netgpt.models.fetch import Fetched, Source, fetch_models, open_source
from netgpt.models.release import ARCHIVE_KIND, INDEX, Release, Released, pack_models, parse_release, release_text

from .archive_server import ArchiveServer, serving


@pytest.fixture
def published(tmp_path: Path, model_folder: Path) -> Path:
    pack_models([model_folder], tmp_path / "published")
    return tmp_path / "published"


@pytest.fixture
def server(published: Path) -> Iterator[ArchiveServer]:
    with serving(published) as running:
        yield running


def fetch(tmp_path: Path, source: Source, *names: str, replace: bool = False, shipped: Release | None = None) -> list[Fetched]:
    return list(fetch_models(tmp_path / "home", source, shipped or Release(), names, replace=replace, progress=lambda *_: None))


def left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "home" / "models").rglob("*") if path.is_file() and path.name != ".lock")


def test_a_release_packs_to_the_same_bytes_and_its_list_is_read_back(tmp_path: Path, model_folder: Path, published: Path) -> None:
    release = pack_models([model_folder], tmp_path / "again", url="https://example.org/models")
    assert (tmp_path / "again" / "tiny.tar").read_bytes() == (published / "tiny.tar").read_bytes()
    assert parse_release((tmp_path / "again" / INDEX).read_bytes(), "there") == release
    assert sorted(path.name for path in published.iterdir()) == [INDEX, "tiny.tar"]


def test_a_fetched_model_loads_and_is_not_fetched_twice(tmp_path: Path, server: ArchiveServer, model_folder: Path) -> None:
    (fetched,) = fetch(tmp_path, open_source(server.url))
    assert (fetched.card.id, fetched.fresh) == ("tiny", True)
    assert load_model(tmp_path / "home" / "models" / "tiny").config == load_model(model_folder).config
    (again,) = fetch(tmp_path, open_source(server.url), "tiny")
    assert not again.fresh
    assert [path for path, _ in server.asked] == ["/models.json", "/tiny.tar", "/models.json"]


def test_a_folder_is_a_source_too(tmp_path: Path, published: Path) -> None:
    assert fetch(tmp_path, open_source(str(published)), "all")[0].fresh
    assert left(tmp_path) == ["config.json", "model.safetensors", "origin.json", "tokenizer.json"]


def test_a_broken_download_goes_on_where_it_stopped(tmp_path: Path, server: ArchiveServer) -> None:
    server.breaks_after = [5000, 7000]
    assert fetch(tmp_path, open_source(server.url), "tiny")[0].fresh
    assert [wanted for path, wanted in server.asked if path == "/tiny.tar"] == [None, "bytes=5000-", "bytes=12000-"]


def test_an_interrupted_command_goes_on_in_the_next_one(tmp_path: Path, server: ArchiveServer) -> None:
    server.breaks_after = [9000, 0]
    with pytest.raises(NodeUnreachable) as caught:
        fetch(tmp_path, open_source(server.url), "tiny")
    assert "goes on" in caught.value.hint
    assert [path.stat().st_size for path in (tmp_path / "home" / "models" / ".fetch").iterdir()] == [9000]
    fetch(tmp_path, open_source(server.url), "tiny")
    assert server.asked[-1] == ("/tiny.tar", "bytes=9000-")
    assert list((tmp_path / "home" / "models" / ".fetch").iterdir()) == []


def test_a_server_without_ranges_begins_again(tmp_path: Path, server: ArchiveServer) -> None:
    server.breaks_after, server.ranges = [9000], False
    assert fetch(tmp_path, open_source(server.url), "tiny")[0].fresh


def test_another_file_than_the_released_one_is_refused_and_not_kept(tmp_path: Path, server: ArchiveServer, published: Path) -> None:
    data = bytearray((published / "tiny.tar").read_bytes())
    data[-3000] ^= 1
    (published / "tiny.tar").write_bytes(data)
    with pytest.raises(ModelInvalid, match="SHA-256"):
        fetch(tmp_path, open_source(server.url), "tiny")
    assert left(tmp_path) == []


def test_a_server_that_sends_more_than_it_should_is_cut_off(tmp_path: Path, server: ArchiveServer) -> None:
    server.appends = b"x" * 100_000
    with pytest.raises(ModelInvalid, match="longer than the released"):
        fetch(tmp_path, open_source(server.url), "tiny")
    assert sum(path.stat().st_size for path in (tmp_path / "home" / "models" / ".fetch").iterdir()) == 0


@pytest.mark.parametrize("says", [20_000, 10_000_000])
def test_a_server_that_lies_about_the_length_is_asked_on(tmp_path: Path, server: ArchiveServer, says: int) -> None:
    server.says_bytes = says
    assert fetch(tmp_path, open_source(server.url), "tiny", shipped=open_source(str(server.folder)).index())[0].fresh
    assert len(server.asked) == -(-(server.folder / "tiny.tar").stat().st_size // says)


def test_a_file_that_ends_early_is_no_success(tmp_path: Path, server: ArchiveServer, published: Path) -> None:
    data = (published / "tiny.tar").read_bytes()
    (published / "tiny.tar").write_bytes(data[:-5000])
    with pytest.raises(NodeUnreachable, match="ends after"):
        fetch(tmp_path, open_source(server.url), "tiny")


def test_the_package_s_own_digest_rules_whatever_the_server_lists(tmp_path: Path, server: ArchiveServer, published: Path) -> None:
    other = Released(name="tiny", bytes=(published / "tiny.tar").stat().st_size, sha256="0" * 64)
    with pytest.raises(ModelInvalid, match=f"released: {'0' * 64}"):
        fetch(tmp_path, open_source(server.url), "tiny", shipped=Release(models={"tiny": other}))
    assert [path for path, _ in server.asked] == ["/tiny.tar"]


def test_a_model_that_nobody_lists_teaches_the_known_names(tmp_path: Path, server: ArchiveServer) -> None:
    with pytest.raises(ModelNotFound, match="'tinny'") as caught:
        fetch(tmp_path, open_source(server.url), "tinny")
    assert "did you mean 'tiny'" in caught.value.hint


def test_another_model_of_the_name_is_replaced_only_when_told(tmp_path: Path, server: ArchiveServer, published: Path, model_folder: Path) -> None:
    fetch(tmp_path, open_source(server.url))
    (model_folder / "README.md").write_text("newer")
    pack_models([model_folder], published)
    with pytest.raises(UsageError, match="another model") as caught:
        fetch(tmp_path, open_source(server.url))
    assert "--replace" in caught.value.hint
    assert fetch(tmp_path, open_source(server.url), replace=True)[0].fresh
    assert (tmp_path / "home" / "models" / "tiny" / "README.md").read_text() == "newer"


def publish(published: Path, archive: bytes) -> None:
    (published / "tiny.tar").write_bytes(archive)
    entry = digest_of(published / "tiny.tar")
    (published / INDEX).write_text(release_text(Release(models={"tiny": Released(name="tiny", bytes=entry.bytes, sha256=entry.sha256)})))


def hostile(name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    listed = {"format": 1, "kind": ARCHIVE_KIND, "files": {name: {"bytes": 0, "sha256": ""}}}
    packed, text = io.BytesIO(), json.dumps(listed).encode()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        head, member = tarfile.TarInfo("manifest.json"), tarfile.TarInfo(name)
        head.size, member.type, member.linkname = len(text), kind, "/etc/passwd"
        tar.addfile(head, io.BytesIO(text))
        tar.addfile(member)
    return packed.getvalue()


@pytest.mark.parametrize(
    "archive",
    [hostile("../../evil.json"), hostile("/tmp/evil.json"), hostile("config.json", tarfile.SYMTYPE), hostile("run.py"), hostile("origin.json"), b"x"],
)
def test_a_hostile_archive_writes_nothing(tmp_path: Path, server: ArchiveServer, published: Path, archive: bytes) -> None:
    publish(published, archive)
    with pytest.raises(ModelInvalid):
        fetch(tmp_path, open_source(server.url), "tiny")
    assert not [path for path in tmp_path.rglob("*evil*")]
    assert not (tmp_path / "home" / "models" / "tiny").exists()


def test_damaged_weights_in_an_intact_archive_are_refused(tmp_path: Path, server: ArchiveServer, published: Path, model_folder: Path) -> None:
    (model_folder / "model.safetensors").write_bytes(b"no weights")
    pack_models([model_folder], published)
    with pytest.raises(ModelInvalid, match="truncated or corrupt"):
        fetch(tmp_path, open_source(server.url), "tiny")
    assert not (tmp_path / "home" / "models" / "tiny").exists()


@pytest.mark.parametrize(
    "index", [b"", b"[]", b"{}", b'{"models": {"tiny": {}}}', b'{"models": {"../a": {"bytes": 1, "sha256": "%s"}}}' % (b"0" * 64)]
)
def test_a_malformed_list_is_refused(tmp_path: Path, server: ArchiveServer, published: Path, index: bytes) -> None:
    (published / INDEX).write_bytes(index)
    with pytest.raises(ModelInvalid, match="no list of models"):
        fetch(tmp_path, open_source(server.url))


def test_a_list_without_end_is_cut_off(tmp_path: Path, server: ArchiveServer, published: Path) -> None:
    (published / INDEX).write_bytes(b" " * (2 << 20))
    with pytest.raises(ModelInvalid, match="longer than"):
        fetch(tmp_path, open_source(server.url))


def test_a_server_that_is_not_there_or_refuses_is_named(tmp_path: Path, server: ArchiveServer) -> None:
    server.status = 500
    with pytest.raises(NodeUnreachable, match="answers 500"):
        fetch(tmp_path, open_source(server.url))
    server.status = 404
    with pytest.raises(ModelNotFound, match="has no models"):
        fetch(tmp_path, open_source(server.url))
    with pytest.raises(NodeUnreachable, match="does not answer"):
        fetch(tmp_path, open_source("http://127.0.0.1:9"))


def test_redirects_are_followed(tmp_path: Path, server: ArchiveServer, published: Path) -> None:
    with serving(published) as front:
        front.redirect = server.url
        assert fetch(tmp_path, open_source(front.url))[0].fresh


def test_a_key_in_the_url_is_not_shown(tmp_path: Path, server: ArchiveServer) -> None:
    server.status = 500
    with pytest.raises(NetgptError) as caught:
        fetch(tmp_path, open_source(server.url.replace("http://", "http://user:secret@")))
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("place", ["nowhere", "ftp://example.org", "http://", ""])
def test_what_is_no_source_is_refused(place: str) -> None:
    with pytest.raises(UsageError):
        open_source(place)


def test_a_model_that_does_not_fit_is_refused_before_it_is_brought(tmp_path: Path, server: ArchiveServer) -> None:
    huge = Released(name="tiny", bytes=shutil.disk_usage(tmp_path).total, sha256="0" * 64)
    with pytest.raises(StorageFailed, match="are free"):
        fetch(tmp_path, open_source(server.url), shipped=Release(models={"tiny": huge}))
    assert server.asked == []


def test_an_archive_without_a_model_is_refused(tmp_path: Path, published: Path) -> None:
    packed = io.BytesIO()
    write_archive(packed, ARCHIVE_KIND, {})
    publish(published, packed.getvalue())
    with pytest.raises(ModelInvalid, match=r"config\.json"):
        fetch(tmp_path, open_source(str(published)))


def test_a_folder_that_is_no_model_is_not_packed(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match="no model folder"):
        pack_models([tmp_path / "absent"], tmp_path / "published")
