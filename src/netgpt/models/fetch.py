"""Brings a release's models into a home: from a web server, or from a folder such as a mounted stick.

A download goes on where it broke off, also in another process. What it brought is believed only when its
SHA-256 is the released one; then `models.install` checks and installs it. Of models that this NetGPT was
built with the digest comes from the package, of others from the `models.json` beside the archives.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import httpx

from netgpt.core.archive import digest_of, read_archive
from netgpt.core.errors import DeadlineExceeded, ModelInvalid, ModelNotFound, NetgptError, NodeUnreachable, StorageFailed, UsageError
from netgpt.core.spelling import did_you_mean
from netgpt.core.units import format_bytes
from netgpt.models.card import ModelCard
from netgpt.models.install import install, installed_origin, installing, storing
from netgpt.models.release import ARCHIVE_KIND, INDEX, Release, Released, is_model_file, parse_release

ALL = "all"
CONNECT_S, SILENCE_S = 10.0, 60.0
MOST_ATTEMPTS = 20  # of one archive in one run; each must have brought something for there to be a next
MOST_INDEX_BYTES = 1 << 20
_RESUME = "run the command again: it goes on where it stopped"
_LOCAL = re.compile(r"localhost|127\..*|\[?::1\]?")
Progress = Callable[[str, int, int], None]  # takes the model's name, the bytes that are here, and all


class Source(Protocol):
    """Where archives are."""

    def index(self) -> Release:
        """What `models.json` says there."""
        ...

    def archive(self, released: Released, part: Path, progress: Progress) -> Path:
        """A local file that should be the archive: `part`, filled, or one that is there already."""
        ...


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A model that is installed now. `fresh`: it was not before."""

    card: ModelCard
    fresh: bool


def open_source(place: str) -> Source:
    """The source at a URL or in a folder.

    Raises:
        UsageError: neither.
    """
    if place.startswith(("http://", "https://")):
        return HttpSource(place)
    if place and Path(place).expanduser().is_dir():
        return FolderSource(Path(place).expanduser())
    raise UsageError(
        f"{place!r} is neither a URL nor a folder", hint="give the https:// address, or the folder, that holds models.json", param="from"
    )


def fetch_models(home: Path, source: Source, shipped: Release, names: Sequence[str], *, replace: bool, progress: Progress) -> Iterator[Fetched]:
    """Install the named models, `all` of them or each; those that are installed already are passed over.

    Raises:
        ModelNotFound: no such model there.
        ModelInvalid: an archive is not the released one, or what is in it is damaged.
        NodeUnreachable, DeadlineExceeded: the server went away; what came is kept for the next time.
        UsageError: another model has the name.
        StorageFailed: the disk is full, or may not be written.
    """
    wanted = _chosen(source, shipped, names)
    with installing(home) as models:
        for released in wanted:
            yield _fetch(models, source, released, replace=replace, progress=progress)


def _chosen(source: Source, shipped: Release, names: Sequence[str]) -> list[Released]:
    everything = ALL in names or not names
    if shipped.models and (everything or set(names) <= set(shipped.models)):
        known = dict(shipped.models)
    else:
        known = {**source.index().models, **shipped.models}
    chosen = sorted(known) if everything else list(dict.fromkeys(names))
    for name in chosen:
        if name not in known:
            raise ModelNotFound(f"there is no model {name!r} to fetch", hint=did_you_mean(name, known), param="model")
    return [known[name] for name in chosen]


def _fetch(models: Path, source: Source, released: Released, *, replace: bool, progress: Progress) -> Fetched:
    from netgpt.models.store import read_card

    if installed_origin(models, released.name) == released.sha256:
        return Fetched(card=read_card(models / released.name), fresh=False)
    if installed_origin(models, released.name) is not None and not replace:
        hint = f"put the released one in its place: netgpt models fetch {released.name} --replace"
        raise UsageError(f"another model {released.name!r} is installed", hint=hint, param="model")
    part = models / ".fetch" / f"{released.sha256}.part"
    with storing(part):
        part.parent.mkdir(exist_ok=True, mode=0o700)
        _check_space(models, released, part)
    archive = source.archive(released, part, progress)
    _check_archive(archive, released, part)

    def fill(folder: Path) -> None:
        read_archive(archive, ARCHIVE_KIND, folder, invalid=ModelInvalid, accepts=is_model_file)

    card = install(models, released.name, fill, replace=replace, origin=released.sha256)
    part.unlink(missing_ok=True)
    return Fetched(card=card, fresh=True)


def _check_space(models: Path, released: Released, part: Path) -> None:
    """The archive and its content must fit beside each other."""
    here = part.stat().st_size if part.exists() else 0
    needed, free = 2 * released.bytes - here, shutil.disk_usage(models).free
    if needed > free:
        message = f"model {released.name!r} needs {format_bytes(needed)} at {str(models)!r}, where {format_bytes(free)} are free"
        raise StorageFailed(message, hint="free some space, or choose another folder with --home")


def _check_archive(archive: Path, released: Released, part: Path) -> None:
    try:
        found = digest_of(archive)
    except OSError as error:
        raise StorageFailed(f"cannot read {str(archive)!r}: {error.strerror}", hint="check the folder") from error
    if (found.bytes, found.sha256) != (released.bytes, released.sha256):
        part.unlink(missing_ok=True)  # nothing in it can be trusted to go on from
        message = (
            f"what came for model {released.name!r} has SHA-256 {found.sha256}, {found.bytes} bytes; released: {released.sha256}, {released.bytes}"
        )
        raise ModelInvalid(message, hint="it was not installed: try again, or another source with --from")


class FolderSource:
    """A folder that holds what `netgpt models pack` wrote."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def index(self) -> Release:
        path = self._folder / INDEX
        try:
            return parse_release(path.read_bytes(), str(path))
        except OSError as error:
            hint = f"if it is one model's folder: netgpt models import {self._folder}"
            raise ModelNotFound(f"{str(path)!r} cannot be read: {error.strerror}", hint=hint) from error

    def archive(self, released: Released, part: Path, progress: Progress) -> Path:
        path = self._folder / released.archive
        if not path.is_file():
            raise ModelNotFound(f"{str(self._folder)!r} holds no {released.archive}", hint="give the folder that netgpt models pack wrote")
        progress(released.name, released.bytes, released.bytes)
        return path


class HttpSource:
    """A web server that holds it. Byte ranges are used where the server has them."""

    def __init__(self, url: str) -> None:
        try:
            self._base = httpx.URL(url.rstrip("/") + "/")
        except httpx.InvalidURL:
            self._base = httpx.URL()
        if not self._base.host:
            raise UsageError(f"{url!r} is no URL", hint="give one such as https://example.org/models", param="from")
        self._shown = str(self._base.copy_with(username=None, password=None)).rstrip("/")
        self._trust_env = not _LOCAL.fullmatch(self._base.host)  # no proxy stands before this very machine

    def index(self) -> Release:
        data = b""
        with self._get(INDEX, {}) as response:
            self._refuse(response, INDEX)
            for piece in response.iter_bytes():
                data += piece
                if len(data) > MOST_INDEX_BYTES:
                    raise ModelInvalid(f"{self._shown}/{INDEX} is longer than {MOST_INDEX_BYTES} bytes", hint="check the URL")
        return parse_release(data, f"{self._shown}/{INDEX}")

    def archive(self, released: Released, part: Path, progress: Progress) -> Path:
        for _ in range(MOST_ATTEMPTS):
            have = part.stat().st_size if part.exists() else 0
            if have == released.bytes:
                return part
            broken = self._go_on(released, part, have, progress)
            if part.stat().st_size <= have:
                raise broken or NodeUnreachable(f"{self._shown}/{released.archive} ends after {have} of {released.bytes} bytes", hint=_RESUME)
        raise NodeUnreachable(f"{self._shown}/{released.archive} broke off {MOST_ATTEMPTS} times", hint=_RESUME)

    def _go_on(self, released: Released, part: Path, have: int, progress: Progress) -> NetgptError | None:
        """Add what one connection gives to `part`.

        Returns:
            What broke the connection, if something did.
        """
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with storing(part), part.open("ab") as file:
            try:
                with self._get(released.archive, headers) as response:
                    if response.status_code != 416:  # it has no more: the caller sees that nothing came
                        self._refuse(response, released.archive)
                        self._take(response, released, file, have, progress)
            except (NodeUnreachable, DeadlineExceeded) as error:
                return error
        return None

    def _take(self, response: httpx.Response, released: Released, file: IO[bytes], have: int, progress: Progress) -> None:
        if not re.match(rf"bytes {have}-", response.headers.get("content-range", "")):
            have = 0  # it sends everything again
            file.truncate(0)
        for piece in response.iter_raw():
            have += len(piece)
            if have > released.bytes:
                file.truncate(0)
                raise ModelInvalid(f"{self._shown}/{released.archive} is longer than the released {released.bytes} bytes", hint="use another source")
            file.write(piece)
            progress(released.name, have, released.bytes)

    @contextmanager
    def _get(self, name: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_S)
        try:
            with (
                httpx.Client(timeout=timeout, follow_redirects=True, trust_env=self._trust_env) as client,
                client.stream("GET", self._base.join(name), headers=headers) as response,
            ):
                yield response
        except httpx.TimeoutException as error:
            raise DeadlineExceeded(f"{self._shown} was silent for too long", hint=_RESUME) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NodeUnreachable(f"{self._shown} does not answer, or broke off: {error or type(error).__name__}", hint=_RESUME) from error

    def _refuse(self, response: httpx.Response, name: str) -> None:
        hops = [one.url.scheme for one in (*response.history, response)]
        if self._base.scheme == "https" and set(hops) != {"https"}:
            raise ModelInvalid(f"{self._shown}/{name} leads to an address without TLS", hint="use another source")
        if response.status_code in (404, 410):
            raise ModelNotFound(f"{self._shown} has no {name}", hint="check the URL: it must hold models.json and the archives")
        if response.status_code not in (200, 206):
            raise NodeUnreachable(f"{self._shown}/{name} answers {response.status_code}", hint="try again later, or another source with --from")
