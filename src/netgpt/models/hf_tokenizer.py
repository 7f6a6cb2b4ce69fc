"""Tokenizers of other people's models: a byte-level `tokenizer.json` with the chat template that came with it.

A template is a program of strangers: it runs in Jinja's sandbox and sees the messages alone. A user's text can
forge no turn, because the special tokens in it are broken up before the template sees it. SentencePiece
vocabularies are refused: they do not keep every byte.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as FastTokenizer

from netgpt.core.errors import InvalidRequest, ModelInvalid, NotSupported
from netgpt.models.tokenizer import SPECIAL_TOKENS, BpeTokenizer, Tokenizer, byte_characters

_RESTORE = "restore the model folder from its source"
_UPSTREAM = "serve it with another engine and put that behind the node: docs/upstreams.md"


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder, NetGPT's own or another's.

    Raises:
        ModelInvalid: a file is missing or malformed, or there is no chat template.
        NotSupported: the vocabulary is not byte-level.
    """
    definition = _read(folder / "tokenizer.json")
    return BpeTokenizer.load(folder) if _is_own(definition) else HfTokenizer(definition, read_chat(folder), where=str(folder))


def tokenizer_identity(folder: Path) -> str:
    """The `hash` that `load_tokenizer` gives its tokenizer, without building it.

    Two models with one vocabulary and two chat templates are not of one tokenizer: a prompt's ids would differ.
    """
    definition = _read(folder / "tokenizer.json")
    return hashlib.sha256(definition.encode()).hexdigest() if _is_own(definition) else _identity(definition, read_chat(folder))


def _identity(definition: str, chat: Mapping[str, Any]) -> str:
    return hashlib.sha256(f"{definition}\0{chat['chat_template']}".encode()).hexdigest()


def _is_own(definition: str) -> bool:
    """Whether it has all the tokens of NetGPT's chat format."""
    return all(json.dumps(token) in definition for token in SPECIAL_TOKENS)


def read_chat(folder: Path) -> dict[str, Any]:
    """What a folder says of turns: `chat_template` (perhaps empty), `bos_token`, `eos_token`, `end_ids`."""
    settings = _read_object(folder / "tokenizer_config.json")
    template = settings.get("chat_template") or ""
    if (folder / "chat_template.jinja").is_file():
        template = _read(folder / "chat_template.jinja")
    if isinstance(template, list):  # several, by name
        template = next((one.get("template", "") for one in template if isinstance(one, dict) and one.get("name") == "default"), "")
    ends = [_read_object(folder / name).get("eos_token_id") for name in ("generation_config.json", "config.json")]
    end_ids = [i for end in ends for i in (end if isinstance(end, list) else [end]) if isinstance(i, int)]
    return {
        "chat_template": template,
        "bos_token": _token_text(settings.get("bos_token")),
        "eos_token": _token_text(settings.get("eos_token")),
        "end_ids": end_ids,
    }


class HfTokenizer:
    """A byte-level BPE with a chat template of its own."""

    def __init__(self, definition: str, chat: Mapping[str, Any], *, where: str) -> None:
        """Args:
        chat: see `read_chat`.
        where: names the folder in errors.
        """
        try:
            self._fast = FastTokenizer.from_str(definition)
            self._added = {token.content: token.special for token in self._fast.get_added_tokens_decoder().values()}
        except Exception as error:  # the library raises bare Exception
            raise ModelInvalid(f"tokenizer of {where!r} cannot be read: {error}", hint=_RESTORE) from error
        if not chat["chat_template"]:
            raise ModelInvalid(f"model folder {where!r} has no chat template", hint="use an instruction-tuned model, or add chat_template.jinja")
        self.hash = _identity(definition, chat)
        self.vocabulary = self._fast.get_vocab_size()
        ends = [*chat["end_ids"], *([self.special_id(chat["eos_token"])] if chat["eos_token"] else [])]
        if not ends:
            raise ModelInvalid(f"model folder {where!r} does not say which token ends a turn", hint="add eos_token_id to generation_config.json")
        self.stop_ids: tuple[int, ...] = tuple(dict.fromkeys(ends))
        self.end_id = self.stop_ids[0]
        self._chat = chat
        self._specials = sorted((token for token, special in self._added.items() if special and len(token) > 2), key=len, reverse=True)
        self._check_bytes(where)

    def _check_bytes(self, where: str) -> None:
        sample = "a \u00e4\n\u4f60"
        try:
            whole = all(self._fast.token_to_id(character) is not None for character in byte_characters().values())
            whole = whole and self.decode(self.encode(sample)) == sample.encode()
        except KeyError:
            whole = False
        if not whole:
            raise NotSupported(f"the tokenizer of {where!r} is not byte-level", hint=_UPSTREAM)

    def special_id(self, token: str) -> int:
        found = self._fast.token_to_id(token)
        if found is None:
            raise ModelInvalid(f"the tokenizer has no token {token!r}", hint=_RESTORE)
        return found

    def byte_id(self, byte: int) -> int:
        return self.special_id(byte_characters()[byte])

    def encode(self, text: str) -> list[int]:
        return self._fast.encode(self._without_specials(text), add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> bytes:
        table = self._bytes_by_id
        return b"".join(table.get(i, b"") for i in ids)  # a model's output may be wider than its vocabulary

    def render(self, messages: Sequence[tuple[str, str]]) -> list[int]:
        from jinja2.exceptions import TemplateError

        safe = [{"role": role, "content": self._without_specials(content)} for role, content in messages]
        try:
            text = self._template.render(
                messages=safe, add_generation_prompt=True, bos_token=self._chat["bos_token"], eos_token=self._chat["eos_token"], tools=None
            )
        except (TemplateError, TypeError, ValueError) as error:
            what = f"the model's chat template does not take these messages: {str(error)[:200]}"
            raise InvalidRequest(what, hint="leave out system messages, or let users and assistant take turns", param="messages") from error
        return self._fast.encode(text, add_special_tokens=False).ids

    def _without_specials(self, text: str) -> str:
        for token in self._specials:
            if token in text:
                text = text.replace(token, token[:2] + "\u200b" + token[2:])
        return text

    @cached_property
    def _template(self) -> Any:
        from jinja2.exceptions import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        def refuse(message: str) -> None:
            raise TemplateError(message)

        # As `transformers` sets it up, since templates are written for that.
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
        environment.globals["raise_exception"] = refuse
        try:
            return environment.from_string(self._chat["chat_template"])
        except TemplateError as error:
            raise ModelInvalid(f"the model's chat template cannot be read: {error}", hint=_RESTORE) from error

    @cached_property
    def _bytes_by_id(self) -> dict[int, bytes]:
        to_byte = {character: byte for byte, character in byte_characters().items()}
        table: dict[int, bytes] = {}
        for token, i in self._fast.get_vocab().items():
            if token in self._added:
                table[i] = b"" if self._added[token] else token.encode()
            else:
                table[i] = bytes(to_byte[character] for character in token)
        return table


def _token_text(value: Any) -> str:
    """A special token's text, which some files wrap in an object."""
    found = value.get("content") if isinstance(value, dict) else value
    return found if isinstance(found, str) else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ModelInvalid(f"tokenizer file {str(path)!r} cannot be read: {error}", hint=_RESTORE) from error


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        value = json.loads(_read(path))
    except ValueError as error:
        raise ModelInvalid(f"model file {str(path)!r} is no JSON: {error}", hint=_RESTORE) from error
    return value if isinstance(value, dict) else {}
