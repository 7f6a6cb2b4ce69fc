"""Models of the Hugging Face hub, named `hf:organisation/name` or `hf:organisation/name@revision`: to a folder on this machine.

What the hub's cache holds is taken as it is, without a connection; what it lacks is fetched, unless HF_HUB_OFFLINE
forbids it. HF_HOME, HF_HUB_CACHE, HF_ENDPOINT and HF_TOKEN mean what they mean to every other program. Only
weights that are data are fetched: nothing pickled, no code.
"""

from __future__ import annotations

import re
from pathlib import Path

from netgpt.core.errors import ModelInvalid, ModelNotFound, StorageFailed

PREFIX = "hf:"
WANTED = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "*.safetensors",
    "*.safetensors.index.json",
)
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_REVISION = re.compile(r"[\w./-]+")


def hub_folder(name: str, *, fetch: bool = True) -> Path:
    """The folder of a hub model, fetched if it has to be.

    Args:
        name: with its prefix `hf:`, and perhaps `@` and a branch, tag or commit.
        fetch: whether what the cache lacks may be fetched.

    Raises:
        ModelInvalid: no such form of name.
        ModelNotFound: neither the cache nor the hub has it, or the hub cannot be reached.
        StorageFailed: it cannot be written to the cache.
    """
    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    if not _NAME.fullmatch(repository) or (revision and not _REVISION.fullmatch(revision)):
        raise ModelInvalid(f"{name!r} is no name of a hub model", hint="write hf:organisation/name, or hf:organisation/name@revision", param="model")
    cached = _snapshot(repository, revision or None, cached_only=True)
    if cached is not None and is_whole(cached):
        return cached
    if not fetch:
        raise ModelNotFound(f"{name!r} is not in the hub's cache yet", hint="netgpt up fetches it", param="model")
    fetched = _snapshot(repository, revision or None, cached_only=False)
    if fetched is None or not is_whole(fetched):
        raise ModelNotFound(
            f"{name!r} has no config.json, tokenizer.json and safetensors", hint="choose a repository with weights in this format", param="model"
        )
    return fetched


def is_whole(folder: Path) -> bool:
    """Whether a snapshot holds what a model folder needs."""
    return all((folder / needed).is_file() for needed in ("config.json", "tokenizer.json")) and any(folder.glob("*.safetensors"))


def hub_name(folder: Path) -> str | None:
    """`organisation/name` of a folder in the hub's cache; None for any other."""
    cache = folder.parent.parent.name
    return cache.removeprefix("models--").replace("--", "/") if folder.parent.name == "snapshots" and cache.startswith("models--") else None


def _snapshot(repository: str, revision: str | None, *, cached_only: bool) -> Path | None:
    """The snapshot's folder; None if only the cache was to be asked and does not have it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    shown = f"{PREFIX}{repository}" + (f"@{revision}" if revision else "")
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=list(WANTED), local_files_only=cached_only))
    except LocalEntryNotFoundError as error:
        if cached_only:
            return None
        hint = (
            "fetch it where there is a connection and bring the cache (HF_HOME), or give the path of a model folder; HF_HUB_OFFLINE must not be set"
        )
        raise ModelNotFound(f"{shown!r} is not in the hub's cache, and the hub cannot be asked", hint=hint, param="model") from error
    except GatedRepoError as error:
        raise ModelNotFound(f"{shown!r} is gated", hint="accept its terms on its page, then set HF_TOKEN", param="model") from error
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ModelNotFound(f"the hub has no {shown!r}", hint="check name and revision; for a private one set HF_TOKEN", param="model") from error
    except HfHubHTTPError as error:
        raise ModelNotFound(
            f"the hub does not give {shown!r}: {str(error)[:200]}", hint="try again later, or give a model folder", param="model"
        ) from error
    except OSError as error:
        raise StorageFailed(f"{shown!r} cannot be stored: {error}", hint="free some space, or set HF_HOME to another folder") from error
