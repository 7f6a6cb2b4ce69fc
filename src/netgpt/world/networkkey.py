"""The secret that one home's processes share: it signs join tokens and node credentials."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from netgpt.core.errors import StorageFailed

KEY_BYTES = 32
_HINT = "remove the file: the next netgpt up makes a new one"


def network_key_file(home: Path) -> Path:
    return home / "secrets" / "network.key"


def ensure_network_key(home: Path) -> bytes:
    """The home's key; made, readable by its owner alone, when there is none.

    Raises:
        StorageFailed: the file cannot be written, or does not hold a key.
    """
    path = network_key_file(home)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            draft = path.with_suffix(".new")
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
                file.write(secrets.token_hex(KEY_BYTES) + "\n")
            draft.rename(path)
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise StorageFailed(f"network key {str(path)!r} cannot be used: {error}", hint=_HINT) from error
    if len(key) != KEY_BYTES:
        raise StorageFailed(f"network key {str(path)!r} has {len(key)} bytes, not {KEY_BYTES}", hint=_HINT)
    return key
