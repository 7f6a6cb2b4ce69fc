"""Text to ids and back, and the chat format. Knows no model and loads no torch.

The chat format, one special token around each turn:

    <|system|>You are ...<|end|><|user|>What is 5QI 1?<|end|><|assistant|>A GBR voice flow.<|end|>

A session continues from ids on any node whose tokenizer has the same `hash`; ids are mapped to bytes
one by one, so that a character split over two tokens survives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer as FastTokenizer

from netgpt.core.errors import ModelInvalid

END, SYSTEM, USER, ASSISTANT, PAD = "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|pad|>"
SPECIAL_TOKENS = (PAD, END, SYSTEM, USER, ASSISTANT)
ROLES = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}

CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)  # the same format for `transformers`


class Tokenizer(Protocol):
    """What the door needs of a tokenizer."""

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the definition."""
        ...

    @property
    def vocabulary(self) -> int: ...

    @property
    def end_id(self) -> int:
        """The id that ends a turn."""
        ...

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """All ids after which nothing of a turn follows."""
        ...

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; special tokens in the text are not recognised."""
        ...

    def decode(self, ids: Sequence[int]) -> bytes:
        """Exact bytes of `ids`; special tokens give none."""
        ...

    def special_id(self, token: str) -> int: ...

    def byte_id(self, byte: int) -> int:
        """The id of a byte that is no whole character."""
        ...

    def render(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        """Ids of a conversation in the model's own chat format, ending where the assistant is to speak."""
        ...


def encode_bytes(tokenizer: Tokenizer, data: bytes) -> list[int]:
    """Ids of exact bytes: of their whole characters as text, of the others one by one."""
    ids: list[int] = []
    while data:
        try:
            return ids + tokenizer.encode(data.decode())
        except UnicodeDecodeError as error:
            ids += tokenizer.encode(data[: error.start].decode())
            ids.append(tokenizer.byte_id(data[error.start]))
            data = data[error.start + 1 :]
    return ids


def render_chat(tokenizer: Tokenizer, messages: Sequence[tuple[str, str]]) -> list[int]:
    """Ids of a conversation in NetGPT's own chat format, ending where the assistant is to speak.

    Args:
        messages: (role, content) pairs; role is "system", "user" or "assistant".

    Raises:
        KeyError: an unknown role.
    """
    ids: list[int] = []
    for role, content in messages:
        ids.append(tokenizer.special_id(ROLES[role]))
        ids.extend(tokenizer.encode(content))
        ids.append(tokenizer.end_id)
    ids.append(tokenizer.special_id(ASSISTANT))
    return ids


class BpeTokenizer:
    """A byte-level BPE from a `tokenizer.json` as the `tokenizers` library writes it."""

    def __init__(self, definition: str) -> None:
        self._fast = FastTokenizer.from_str(definition)
        self.hash = hashlib.sha256(definition.encode()).hexdigest()
        self.vocabulary = self._fast.get_vocab_size()
        self.end_id = self.special_id(END)
        self.stop_ids = (self.end_id,)

    @classmethod
    def load(cls, folder: Path) -> BpeTokenizer:
        """Read `folder/tokenizer.json`.

        Raises:
            ModelInvalid: the file is missing, is not a tokenizer, or lacks the chat tokens.
        """
        path = folder / "tokenizer.json"
        try:
            return cls(path.read_text(encoding="utf-8"))
        except ModelInvalid:
            raise
        except Exception as error:  # the library raises bare Exception
            raise ModelInvalid(
                f"tokenizer {str(path)!r} cannot be read: {error}", hint="restore the model folder, or train again: netgpt pretrain"
            ) from error

    def special_id(self, token: str) -> int:
        found = self._fast.token_to_id(token)
        if found is None:
            raise ModelInvalid(f"the tokenizer has no token {token!r}", hint="use a model whose tokenizer has NetGPT's chat tokens")
        return found

    def byte_id(self, byte: int) -> int:
        return self.special_id(byte_characters()[byte])

    def render(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        return render_chat(self, messages)

    def encode(self, text: str) -> list[int]:
        return self._fast.encode(_without_specials(text), add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> bytes:
        table = self._bytes_by_id
        return b"".join(table[i] for i in ids)

    @cached_property
    def _bytes_by_id(self) -> list[bytes]:
        to_byte = {character: byte for byte, character in byte_characters().items()}
        special = set(SPECIAL_TOKENS)
        table: list[bytes] = []
        for i in range(self.vocabulary):
            token = self._fast.id_to_token(i) or ""
            table.append(b"" if token in special else bytes(to_byte[c] for c in token))
        return table


def _without_specials(text: str) -> str:
    """Text whose special tokens are broken up, so that a user cannot forge a turn."""
    for token in SPECIAL_TOKENS:
        if token in text:
            text = text.replace(token, token[:2] + "\u200b" + token[2:])
    return text


@cache
def byte_characters() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte (Radford et al. 2019)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table = {byte: chr(byte) for byte in plain}
    for offset, byte in enumerate(b for b in range(256) if b not in table):
        table[byte] = chr(256 + offset)
    return table


class ByteTokenizer:
    """One id a byte, then the special tokens: the tokenizer of the `hash` engine's models."""

    hash = hashlib.sha256(b"netgpt byte tokenizer 1").hexdigest()
    vocabulary = 256 + len(SPECIAL_TOKENS)
    end_id = 256 + SPECIAL_TOKENS.index(END)
    stop_ids = (end_id,)

    def byte_id(self, byte: int) -> int:
        return byte

    def render(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        return render_chat(self, messages)

    def special_id(self, token: str) -> int:
        return 256 + SPECIAL_TOKENS.index(token)

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, ids: Sequence[int]) -> bytes:
        return bytes(i for i in ids if i < 256)
