"""Messages to bytes and back. One table for all: the dataclass's fields against `netgpt.proto`'s.

`encode` is deterministic: a message gives the same bytes in every process and world. A field with
presence (`optional`, or a message) is left out when it equals its default and takes the default when
it is absent; but an optional number whose default is 0 is always written, so that a time of 0 weighs
as much as any other. Log-probabilities, and what nodes say of their pace, cross as binary32; all else comes back exactly.

The codec decides nothing about meaning: a message that decodes may still ask for nonsense.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from google.protobuf.message import DecodeError, Message

from netgpt.core.errors import InvalidRequest
from netgpt.core.transport import Payload
from netgpt.wire import schema

T = TypeVar("T")


def encode(message: Any) -> bytes:
    """The payload of `message`, any of the dataclasses that `netgpt.proto` names.

    Raises:
        InvalidRequest: a field holds a value that its wire type cannot carry, a negative id for example.
    """
    try:
        return _layout(type(message)).pack(message).SerializeToString(deterministic=True)
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"this {type(message).__name__} cannot be sent: {error}", hint="netgpt.proto gives each field's type") from error


def pack(message: Any, *, near: bool) -> Payload:
    """The payload of `message` for a call: the message itself if the call is near. Raises as `encode` does."""
    return message if near else encode(message)


def decode(kind: type[T], payload: Payload) -> T:
    """The message of type `kind` that `payload` holds, or is. Unknown fields are ignored.

    Raises:
        InvalidRequest: not such a message, or a message field that has no default is absent.
    """
    if type(payload) is kind:
        return payload
    layout = _layout(kind)
    try:
        return layout.unpack(layout.proto.FromString(payload))
    except (DecodeError, ValueError) as error:
        hint = "both sides must speak neighbouring protocol versions: compare `netgpt --version`"
        raise InvalidRequest(f"{len(payload)} bytes are not a {kind.__name__}: {error}", hint=hint) from error


@dataclass(frozen=True)
class _Part:
    """One field. `pack` and `unpack` convert a present value; None passes it through unchanged."""

    name: str
    default: Any  # MISSING if the field has none
    presence: bool
    pack: Callable[[Any], Any] | None
    unpack: Callable[[Any], Any] | None


class _Layout:
    """How one kind of message is laid out."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.proto: Any = schema.message_class(kind.__name__)
        hints = get_type_hints(kind)
        self._parts = tuple(self._part(field, hints[field.name]) for field in fields(kind))

    def _part(self, field: Field[Any], hint: Any) -> _Part:
        descriptor = self.proto.DESCRIPTOR.fields_by_name[field.name]
        pack, unpack = _converters(hint)
        return _Part(field.name, field.default, descriptor.has_presence, pack, unpack)

    def pack(self, message: Any) -> Message:
        values: dict[str, Any] = {}
        for part in self._parts:
            value = getattr(message, part.name)
            if part.presence and part.default != 0 and (value is part.default or value == part.default):
                continue
            values[part.name] = value if part.pack is None else part.pack(value)
        return self.proto(**values)

    def unpack(self, proto: Any) -> Any:
        values: dict[str, Any] = {}
        for part in self._parts:
            if part.presence and not proto.HasField(part.name):
                if part.default is MISSING:
                    raise ValueError(f"{self.kind.__name__}.{part.name} is missing")
                values[part.name] = part.default
            else:
                value = getattr(proto, part.name)
                values[part.name] = value if part.unpack is None else part.unpack(value)
        return self.kind(**values)


@cache
def _layout(kind: type) -> _Layout:
    return _Layout(kind)


def _converters(hint: Any) -> tuple[Callable[[Any], Any] | None, Callable[[Any], Any] | None]:
    """(pack, unpack) for a value of the annotated type `hint`."""
    if get_origin(hint) is tuple:
        pack, unpack = _converters(get_args(hint)[0])
        return (None, tuple) if pack is None or unpack is None else (_each(pack, list), _each(unpack, tuple))
    choices = [choice for choice in get_args(hint) if choice is not NoneType]
    inner = choices[0] if len(choices) == 1 else hint  # `Timings | None`
    if not is_dataclass(inner):
        return None, None
    layout = _layout(inner)  # type: ignore[arg-type] - a dataclass type, not an instance
    return layout.pack, layout.unpack


def _each(convert: Callable[[Any], Any], into: Callable[[Iterable[Any]], Any]) -> Callable[[Any], Any]:
    return lambda items: into(map(convert, items))
