"""Puts model folders into a home's `models/`, and takes them out: whole and checked, or not at all.

A folder is filled beside its place, every tensor of it is read and checked (`models.checkpoint`), and then
it takes its name in one step. Where the files come from is for the caller.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from netgpt.core.errors import ModelInvalid, ModelNotFound, StorageFailed, UsageError
from netgpt.core.spelling import did_you_mean
from netgpt.models.card import ModelCard
from netgpt.models.release import ORIGIN, is_model_name, model_files
from netgpt.models.store import CARD, read_card, write_card

_FREE = "free some space, or choose another folder with --home"


def models_folder(home: Path) -> Path:
    return home / "models"


@contextmanager
def installing(home: Path) -> Iterator[Path]:
    """The home's `models/`, for one process at a time that changes it.

    Raises:
        StorageFailed: another process is at it, or it cannot be written.
    """
    folder = models_folder(home)
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StorageFailed(f"another command changes {str(folder)!r} at this moment", hint="wait until it has ended, then try again") from error
        yield folder
    finally:
        os.close(handle)


@contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Tell of a full or forbidden disk as NetGPT does."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(f"cannot write {str(folder)!r}: {error.strerror or error}", hint=_FREE) from error


def import_model(home: Path, source: Path, *, name: str = "", replace: bool = False) -> tuple[ModelCard, list[str]]:
    """Copy a model folder of Hugging Face's layout into the home.

    Args:
        name: what it is called here; empty: as its folder.

    Returns:
        Its card, and the names in `source` that are not a model's and were left there.

    Raises:
        ModelInvalid, NotSupported: it is damaged, pickled, or of another family; nothing was changed.
        UsageError: the name is taken or none.
        StorageFailed: the disk is full, or may not be written.
    """
    if not source.is_dir():
        raise ModelNotFound(f"{str(source)!r} is no folder", hint="name a folder with config.json, tokenizer.json and model.safetensors")
    files, left_out = model_files(source)

    def fill(folder: Path) -> None:
        for file_name, path in files.items():
            _copy(path, folder / file_name)

    with installing(home) as models:
        return install(models, name or source.resolve().name, fill, replace=replace), left_out


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as old, target.open("xb") as new:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())


def install(models: Path, name: str, fill: Callable[[Path], None], *, replace: bool, origin: str = "") -> ModelCard:
    """Let `fill` fill a folder, check it, and give it its name. For who holds `installing`.

    Args:
        origin: the SHA-256 of the archive that it comes from, if from one.
    """
    from netgpt.models.checkpoint import load_model  # loads torch

    if not is_model_name(name):
        raise UsageError(f"{name!r} cannot be a model's name", hint="use letters, digits, '.', '_' and '-': --name NAME", param="name")
    final, staging, old = models / name, models / f".{name}.new", models / f".{name}.old"
    _settle(final, old)
    if final.exists() and not replace:
        hint = f"put this one in its place with --replace, or remove that one: netgpt models remove {name}"
        raise UsageError(f"a model {name!r} is in {str(models)!r} already", hint=hint, param="name")
    try:
        with storing(models):
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir(mode=0o700)
            fill(staging)
        _check_name(staging, name)
        load_model(staging)
        with storing(models):
            if origin:
                (staging / ORIGIN).write_text(json.dumps({"archive_sha256": origin}) + "\n", encoding="utf-8")
            _publish(staging, final, old)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return read_card(final)


def _check_name(folder: Path, name: str) -> None:
    """Check the card, and let it say the name under which the model is found."""
    card = read_card(folder)
    if (folder / CARD).exists() and card.id != name:
        write_card(folder, dataclasses.replace(card, id=name))


def _publish(staging: Path, final: Path, old: Path) -> None:
    if final.exists():
        final.rename(old)
    staging.rename(final)
    handle = os.open(final.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    shutil.rmtree(old, ignore_errors=True)


def _settle(final: Path, old: Path) -> None:
    """After a crash between the two steps of `_publish`: the old folder has its name again."""
    if old.exists() and not final.exists():
        old.rename(final)
    shutil.rmtree(old, ignore_errors=True)


def installed_origin(models: Path, name: str) -> str | None:
    """The digest of the archive that an installed model came from; empty if from none, None if it is not installed."""
    if not (models / name).is_dir():
        return None
    try:
        return str(json.loads((models / name / ORIGIN).read_text(encoding="utf-8"))["archive_sha256"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def remove_model(home: Path, name: str) -> Path:
    """Delete an installed model.

    Raises:
        ModelNotFound: the home has none of this name.
        ModelInvalid: what stands there is a link.
    """
    with installing(home) as models:
        known = sorted(path.name for path in models.iterdir() if path.is_dir() and is_model_name(path.name))
        if name not in known:
            hint = did_you_mean(name, known) if known else "see what is here: netgpt models"
            raise ModelNotFound(f"no model {name!r} is installed in {str(models)!r}", hint=hint, param="model")
        folder, doomed = models / name, models / f".{name}.old"
        if folder.is_symlink():
            raise ModelInvalid(f"{str(folder)!r} is a link that somebody made by hand", hint="remove it by hand")
        with storing(folder):
            shutil.rmtree(doomed, ignore_errors=True)
            folder.rename(doomed)
            shutil.rmtree(doomed)
        return folder
