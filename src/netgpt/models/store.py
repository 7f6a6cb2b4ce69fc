"""Where model folders are and what each one is, without opening the weights. No torch.

A model folder holds `config.json`, `tokenizer.json`, safetensors, and perhaps `card.json`; any Hugging
Face folder of a supported family is one, and its card is then derived.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netgpt.core.errors import ModelInvalid, ModelNotFound
from netgpt.core.spelling import check_keys, did_you_mean
from netgpt.core.storage import DiskStorage
from netgpt.models.card import ModelCard
from netgpt.models.decoder_config import DecoderConfig
from netgpt.models.hf_tokenizer import tokenizer_identity
from netgpt.models.hub import PREFIX, hub_folder, hub_name
from netgpt.models.quality import shipped_quality

CARD, CONFIG = "card.json", "config.json"
_RESTORE = "restore the model folder from its source, or make it again: netgpt pretrain"
_TIERS = (("device", 4_000_000_000), ("edge", 16_000_000_000))  # what fits a phone, then one accelerator, in 16 bits


def search_path(home: Path | None, setting: str = "") -> list[Path]:
    """Folders that hold model folders, in the order in which they are searched.

    Args:
        home: NetGPT's home; its `models/` is searched if it is given.
        setting: more folders, separated as in PATH; they come first.

    Returns:
        The setting's folders, `home/models`, and the source checkout's `weights/`, if NetGPT runs from one.
    """
    folders = [Path(part).expanduser() for part in setting.split(os.pathsep) if part]
    if home is not None:
        folders.append(home / "models")
    checkout = Path(__file__).resolve().parents[3]
    if (checkout / "pyproject.toml").exists():
        folders.append(checkout / "weights")
    return folders


def find_model(name_or_path: str, search: Sequence[Path], *, fetch: bool = True) -> Path:
    """The folder of a model.

    Args:
        name_or_path: a folder's name below one of `search`, a path (which has a separator in it), or a model of the
            Hugging Face hub, `hf:organisation/name@revision`.
        fetch: whether a hub model that is not on this machine may be fetched.

    Raises:
        ModelNotFound: no such folder; the hint has the nearest and all known names.
    """
    if name_or_path.startswith(PREFIX):
        return hub_folder(name_or_path, fetch=fetch)
    if os.sep in name_or_path or name_or_path.startswith("."):
        path = Path(name_or_path).expanduser()
        if (path / CONFIG).is_file():
            return path
        raise ModelNotFound(f"{name_or_path!r} is no model folder: it holds no {CONFIG}", hint="name a folder with config.json and model.safetensors")
    known = _folders(search)
    if name_or_path not in known:
        where = ", ".join(str(folder) for folder in search) or "nowhere"
        hint = (
            did_you_mean(name_or_path, known)
            if known
            else "fetch the released models: netgpt models fetch; or take your own: netgpt models import FOLDER"
        )
        raise ModelNotFound(f"model {name_or_path!r} is not in {where}", hint=hint, param="model")
    return known[name_or_path]


def list_models(search: Sequence[Path]) -> list[ModelCard]:
    """Cards of all usable models, by name; a damaged folder is left out, and explained when asked for by name."""
    cards: list[ModelCard] = []
    for _, folder in sorted(_folders(search).items()):
        try:
            cards.append(read_card(folder))
        except ModelInvalid:
            continue
    return cards


def _folders(search: Sequence[Path]) -> dict[str, Path]:
    """Model folders by name; the first in the search order has the name."""
    found: dict[str, Path] = {}
    for root in search:
        if root.is_dir():
            for folder in sorted(root.iterdir()):
                if (folder / CONFIG).is_file() and not folder.name.startswith("."):
                    found.setdefault(folder.name, folder)
    return found


def read_card(folder: Path) -> ModelCard:
    """The card in `card.json`, or one derived from `config.json` and `tokenizer.json`.

    Raises:
        ModelInvalid: a file is missing or malformed, or card and config disagree; the message names which.
        NotSupported: a family or feature that is not implemented.
    """
    config = read_decoder_config(folder)
    derived = _derived_card(folder, config)
    if not (folder / CARD).exists():
        return derived
    card = _parse_card(folder / CARD)
    for name in ("parameters", "layers", "vocabulary", "tokenizer"):
        if getattr(card, name) != getattr(derived, name):
            raise ModelInvalid(
                f"model folder {str(folder)!r}: {CARD} says {name} {getattr(card, name)!r}, the files say {getattr(derived, name)!r}", hint=_RESTORE
            )
    if card.context_tokens > config.max_position:
        raise ModelInvalid(
            f"model folder {str(folder)!r}: {CARD} says {card.context_tokens} context tokens, {CONFIG} {config.max_position}", hint=_RESTORE
        )
    return card if card.quality else dataclasses.replace(card, quality=shipped_quality(card.id))


def read_decoder_config(folder: Path) -> DecoderConfig:
    """The shape of a folder's model; raises ModelInvalid or NotSupported."""
    return DecoderConfig.from_hf(_read_object(folder / CONFIG))


def write_card(folder: Path, card: ModelCard) -> None:
    """Write `card.json`, atomically.

    Raises:
        StorageFailed: the disk is full, or may not be written.
    """
    DiskStorage(folder).replace(CARD, (json.dumps(dataclasses.asdict(card), indent=2) + "\n").encode())


def _derived_card(folder: Path, config: DecoderConfig) -> ModelCard:
    tier = next((tier for tier, limit in _TIERS if config.parameters < limit), "cloud")
    return ModelCard(
        id=hub_name(folder.resolve()) or folder.resolve().name,
        tier=tier,
        parameters=config.parameters,
        layers=config.num_layers,
        bytes=sum(path.stat().st_size for path in folder.glob("*.safetensors")),
        context_tokens=config.max_position,
        vocabulary=config.vocab_size,
        tokenizer=tokenizer_identity(folder),
        licence="see the model's source",
        level="L0",
    )


def _parse_card(path: Path) -> ModelCard:
    values = _read_object(path)
    fields = {field.name: field for field in dataclasses.fields(ModelCard)}
    check_keys(values, fields, str(path), ModelInvalid)
    for name, field in fields.items():
        if name not in values and field.default is dataclasses.MISSING:
            raise ModelInvalid(f"model file {str(path)!r}: {name} is missing", hint=_RESTORE, param=name)
        if name in values and type(values[name]).__name__ != field.type:
            raise ModelInvalid(f"model file {str(path)!r}: {name} is {values[name]!r}, must be {field.type}", hint=_RESTORE, param=name)
    return ModelCard(**values)


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelInvalid(f"model file {str(path)!r} cannot be read: {error}", hint=_RESTORE) from error
    if not isinstance(value, dict):
        raise ModelInvalid(f"model file {str(path)!r} holds no JSON object", hint=_RESTORE)
    return value
