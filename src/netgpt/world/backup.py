"""A home in one file, and back: secrets, certificates, imported models, events. Not `run/` and `log/`.

Both refuse while a network runs from the home, so that what is saved is of one moment, and a home is never
changed under its processes. The file holds the network's secrets: it is readable by its owner alone.
A restored home is put together beside its place, checked against the manifest, and then takes its name in
one step; what was there before is kept beside it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from netgpt import __version__
from netgpt.core.archive import Entry, is_plain_name, read_archive, write_archive
from netgpt.core.errors import StorageFailed, UsageError
from netgpt.world.runlock import run_lock

KIND = "netgpt-home"
NOT_SAVED = {"run", "log"}  # what processes tell each other, and what they told people
MODELS = "models"


@dataclass(frozen=True, kw_only=True)
class Saved:
    """What a backup holds. `left_out` names links and the like, which it cannot hold."""

    entries: dict[str, Entry]
    left_out: list[str]


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What a restore brought back."""

    files: int
    netgpt: str  # the version that wrote the backup
    kept: Path | None  # where the home is now that was there before


def back_up(home: Path, path: Path, *, models: bool = True, replace: bool = False) -> Saved:
    """Write the home into one file.

    Args:
        models: whether installed models are saved too; they can be fetched again.
        replace: whether a file that is there may be overwritten.

    Raises:
        AlreadyRunning: a network runs from it.
        UsageError: there is nothing to save, or the file is there already or would lie inside the home.
        StorageFailed: it cannot be read or written.
    """
    if not home.is_dir() or not any(entry.name not in NOT_SAVED for entry in home.iterdir()):
        raise UsageError(f"there is nothing to save in {str(home)!r}", hint="name the home with --home")
    if path.absolute().resolve().is_relative_to(home.resolve()):
        raise UsageError(f"{str(path)!r} lies inside the home itself", hint="choose a file elsewhere", param="file")
    if path.exists() and not replace:
        raise UsageError(f"{str(path)!r} is there already", hint="choose another file, or overwrite it with --replace", param="file")
    draft = path.with_name(f".{path.name}.new")
    with run_lock(home):
        files, left_out = _saved_files(home, models)
        try:
            draft.unlink(missing_ok=True)
            with open(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                entries = write_archive(file, KIND, files, about={"netgpt": __version__})
                file.flush()
                os.fsync(file.fileno())
            draft.rename(path)
        except OSError as error:
            raise StorageFailed(f"cannot write {str(path)!r}: {error.strerror or error}", hint="free space, or choose another file") from error
        finally:
            draft.unlink(missing_ok=True)
    return Saved(entries=entries, left_out=left_out)


def _saved_files(home: Path, models: bool) -> tuple[dict[str, Path], list[str]]:
    files: dict[str, Path] = {}
    left_out: list[str] = []
    for top in sorted(home.iterdir()):
        if top.name in NOT_SAVED or (top.name == MODELS and not models):
            continue
        for path in sorted([top, *_below(top)]):
            name = path.relative_to(home).as_posix()
            if path.is_symlink() or (path.exists() and not path.is_dir() and not path.is_file()) or not is_plain_name(name):
                left_out.append(name)
            elif path.is_file() and not _is_passing(name):
                files[name] = path
    return files, left_out


def _below(folder: Path) -> Iterator[Path]:
    """Everything in a folder; links to folders are not entered."""
    if folder.is_dir() and not folder.is_symlink():
        for root, folders, names in os.walk(folder):
            yield from (Path(root) / name for name in (*folders, *names))


def _is_passing(name: str) -> bool:
    """Drafts, locks and half downloads: `models/.fetch/...`, `models/.x.new/...`, `secrets/network.new`."""
    return name.endswith(".new") or (name.startswith(f"{MODELS}/.") and name != f"{MODELS}/.")


def restore(home: Path, path: Path, *, replace: bool = False) -> Restored:
    """Make `home` what it was when `path` was written.

    Args:
        replace: whether a home that holds something is moved aside, to `HOME.before-restore`.

    Raises:
        AlreadyRunning: a network runs from it.
        UsageError: there is something in it, or something where it would be moved to.
        StorageFailed: the backup is damaged or hostile, or the disk full; the home is as it was.
    """
    if not path.is_file():
        raise UsageError(f"{str(path)!r} is no file", hint="give what netgpt backup wrote", param="file")
    old = home.with_name(f"{home.name}.before-restore")
    staging = home.with_name(f".{home.name}.restoring")
    held = home.is_dir() and any(entry.name not in NOT_SAVED for entry in home.iterdir())
    if held and not replace:
        hint = "restore elsewhere with --home DIR, or move this one aside with --replace"
        raise UsageError(f"{str(home)!r} holds a home already", hint=hint, param="home")
    if old.exists():
        raise UsageError(f"{str(old)!r} is there, from a restore before", hint="remove it when you need it no more", param="home")
    with _failures(home), _emptied(staging), run_lock(staging), run_lock(home):  # whoever opens the home while it is exchanged meets a lock
        about = read_archive(path, KIND, staging, invalid=StorageFailed, accepts=_is_of_a_home)
        files = sum(each.is_file() for each in staging.rglob("*")) - 1  # the lock
        home.rename(old)
        staging.rename(home)
        if not held:
            shutil.rmtree(old)
    with suppress(OSError):
        shutil.rmtree(old / "run")
    return Restored(files=files, netgpt=str(about.get("netgpt", "")), kept=old if held else None)


def _is_of_a_home(name: str) -> bool:
    return name.partition("/")[0] not in NOT_SAVED


@contextmanager
def _emptied(folder: Path) -> Iterator[None]:
    """An empty folder, of the owner alone, that is gone afterwards if nobody renamed it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _failures(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"cannot restore into {str(home)!r}: {error.strerror or error}"
        raise StorageFailed(message, hint="free space; a home that is a mount point cannot be exchanged: restore with --home DIR") from error
