"""The models of a release: each one archive, known by its SHA-256, the same bytes wherever it is packed.

`models.json` beside the archives lists them. A wheel carries that list of the models it was built with, so
that what is fetched later is what its makers packed, from whatever mirror it comes. Standard library alone:
the build of the wheel imports this file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netgpt.core.archive import digest_of, is_plain_name, write_archive
from netgpt.core.errors import ModelInvalid

INDEX = "models.json"
ARCHIVE_KIND = "netgpt-model"
SHIPPED = Path(__file__).with_name("released.json")  # in wheels; a checkout has the models themselves
ORIGIN = "origin.json"  # in an installed folder: which archive it came from
_MODEL_FILE = re.compile(r"[\w-][\w.-]*\.(json|safetensors|txt|md|jinja)|LICENSE[\w.-]*|NOTICE[\w.-]*")
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Released:
    """One model of a release, in the archive `NAME.tar`."""

    name: str
    bytes: int  # of the archive
    sha256: str

    @property
    def archive(self) -> str:
        return f"{self.name}.tar"


@dataclass(frozen=True, kw_only=True)
class Release:
    """The models of a release by name, and where they are published; empty if nobody said."""

    url: str = ""
    models: Mapping[str, Released] = field(default_factory=dict)


def is_model_name(name: str) -> bool:
    return _MODEL_NAME.fullmatch(name) is not None


def is_model_file(name: str) -> bool:
    """Whether a file of this name belongs into a model folder: weights as safetensors, and text. No code, no pickle."""
    return _MODEL_FILE.fullmatch(name) is not None and name != ORIGIN


def model_files(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """What of a folder is a model's, by name, and the names of the rest. Links to files are followed: caches are made of them."""
    entries = sorted(folder.iterdir())
    files = {path.name: path for path in entries if is_model_file(path.name) and path.is_file()}
    return files, [path.name for path in entries if path.name not in files]


def pack_models(folders: Sequence[Path], output: Path, *, url: str = "") -> Release:
    """Write each folder's archive, and last the list of them, into `output`.

    Raises:
        ModelInvalid: a folder is none of a model.
        OSError: something cannot be read or written.
    """
    output.mkdir(parents=True, exist_ok=True)
    release = Release(url=url, models={folder.resolve().name: _pack(folder.resolve(), output) for folder in folders})
    draft = output / f"{INDEX}.new"
    draft.write_text(release_text(release), encoding="utf-8")
    draft.rename(output / INDEX)
    return release


def _pack(folder: Path, output: Path) -> Released:
    files, _ = model_files(folder) if folder.is_dir() else ({}, [])
    if "config.json" not in files or not is_model_name(folder.name):
        raise ModelInvalid(f"{str(folder)!r} is no model folder", hint="name a folder with config.json, tokenizer.json and model.safetensors")
    draft = output / f".{folder.name}.tar.new"
    try:
        with draft.open("wb") as file:
            write_archive(file, ARCHIVE_KIND, files, about={"name": folder.name})
            file.flush()
            os.fsync(file.fileno())
        packed = digest_of(draft)
        released = Released(name=folder.name, bytes=packed.bytes, sha256=packed.sha256)
        draft.rename(output / released.archive)
    finally:
        draft.unlink(missing_ok=True)
    return released


def release_text(release: Release) -> str:
    """What `models.json` holds."""
    models = {name: {"bytes": one.bytes, "sha256": one.sha256} for name, one in sorted(release.models.items())}
    return json.dumps({"url": release.url, "models": models}, indent=1) + "\n"


def parse_release(text: str | bytes, where: str) -> Release:
    """The release that `models.json` describes.

    Raises:
        ModelInvalid: it is malformed; the message names `where` and the model.
    """
    try:
        value = json.loads(text)
        models = value["models"]
        url = value.get("url", "")
        if not isinstance(url, str):
            raise TypeError("url")
        return Release(url=url, models={name: _released(name, told) for name, told in models.items()})
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ModelInvalid(
            f"{where} is no list of models: {error}", hint="give the folder or URL that holds what netgpt models pack wrote"
        ) from error


def _released(name: str, told: Mapping[str, Any]) -> Released:
    size, sha256 = told["bytes"], told["sha256"]
    if not (is_model_name(name) and is_plain_name(name)) or type(size) is not int or size < 1 or not _SHA256.fullmatch(sha256):
        raise ValueError(f"model {name!r} has bytes {size!r}, sha256 {sha256!r}")
    return Released(name=name, bytes=size, sha256=sha256)


def shipped_release() -> Release:
    """The models that this installation was built with; none in a source checkout."""
    return parse_release(SHIPPED.read_bytes(), str(SHIPPED)) if SHIPPED.exists() else Release()
