"""Typed reading of the fields of a JSON body: pure, strict about types, each refusal by name.

It knows JSON and which errors a client can act on; which fields a route has is the route's matter. A
field that is null counts as one that is not given. The value itself is never shown: it may be content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from netgpt.core.errors import InvalidRequest, NotSupported

SEED_RANGE = range(-(1 << 63), 1 << 63)
_LARGEST = 1e300  # of a number that is not whole; keeps infinities and NaN out


def as_object(body: object) -> Mapping[str, Any]:
    """The body's fields. Raises InvalidRequest where it is not a JSON object."""
    if not isinstance(body, dict):
        raise InvalidRequest(f"the body is {kind_of(body)}", hint="send one JSON object")
    return body


def refuse_unsupported(fields: Mapping[str, Any], inert: Mapping[str, Sequence[object]]) -> None:
    """Refuse a parameter that would change the answer and is not implemented.

    Args:
        inert: such parameters, each with the values with which it changes nothing.

    Raises:
        NotSupported: names the parameter.
    """
    if inert.keys().isdisjoint(fields):
        return
    for name, harmless in inert.items():
        value = fields.get(name)
        if value is not None and value not in harmless:
            raise NotSupported(f"{name} is not supported", hint=f"leave {name} out", param=name)


def text(value: object, param: str) -> str:
    if not isinstance(value, str):
        raise wrong(param, value, "a string")
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{param} holds half of a surrogate pair", hint="send valid Unicode", param=param) from error
    return value


def required_text(fields: Mapping[str, Any], name: str) -> str:
    return text(fields.get(name), name)


def flag(fields: Mapping[str, Any], name: str, *, within: str = "") -> bool:
    """True or false; false where it is not given. `within` goes before the name in a refusal."""
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise wrong(within + name, value, "true or false")
    return bool(value)


def whole(fields: Mapping[str, Any], name: str) -> int | None:
    """A whole number; JSON's `1.0` is one too."""
    value = fields.get(name)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise wrong(name, value, "a whole number")
    return value


def count(fields: Mapping[str, Any], name: str, *, most: int, least: int = 0) -> int | None:
    """A whole number within limits."""
    value = whole(fields, name)
    if value is not None and not least <= value <= most:
        raise InvalidRequest(f"{name} is {shown(value)}", hint=f"give a whole number from {least} to {most}", param=name)
    return value


def number(fields: Mapping[str, Any], name: str, default: Any) -> Any:
    """A finite number."""
    value = fields.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST < value < _LARGEST:
        raise wrong(name, value, "a finite number")
    return value


def seed(fields: Mapping[str, Any]) -> int | None:
    value = whole(fields, "seed")
    if value is not None and value not in SEED_RANGE:
        raise InvalidRequest(f"seed is {shown(value)}", hint="give a whole number of 64 bits", param="seed")
    return value


def token_ids(value: Sequence[object], param: str) -> tuple[int, ...]:
    """Ids of tokens, JSON's `1.0` among them; whether the vocabulary has them is for the door to say."""
    ids = [int(item) for item in value if isinstance(item, int | float) and not isinstance(item, bool) and 0 <= item < 1 << 32 and item % 1 == 0]
    if len(ids) < len(value):
        raise InvalidRequest(f"{param} holds something that is no token id", hint="give whole numbers from 0 up, or a string", param=param)
    return tuple(ids)


def prompts(value: object, param: str, *, most: int) -> tuple[str | tuple[int, ...], ...]:
    """A prompt, or a list of them; each is a string or a list of token ids.

    Raises:
        InvalidRequest: of a wrong type, empty, or more than `most`.
    """
    if isinstance(value, str) or (isinstance(value, list) and value and not isinstance(value[0], str | list)):
        value = [value]
    if not isinstance(value, list):
        raise wrong(param, value, "a string, a list of strings, a list of token ids, or a list of such lists")
    if not 1 <= len(value) <= most:
        raise InvalidRequest(f"{param} has {len(value)} entries", hint=f"give 1 to {most}", param=param)
    return tuple(_prompt(item, param if len(value) == 1 else f"{param}[{position}]") for position, item in enumerate(value))


def _prompt(value: object, param: str) -> str | tuple[int, ...]:
    found = token_ids(value, param) if isinstance(value, list) else text(value, param)
    if not found:
        raise InvalidRequest(f"{param} is empty", hint="give some text, or token ids", param=param)
    return found


def wrong(param: str, value: object, wanted: str) -> InvalidRequest:
    """The refusal of a value of a wrong type."""
    return InvalidRequest(f"{param} is {kind_of(value)}", hint=f"give {wanted}", param=param)


def kind_of(value: object) -> str:
    kinds = {type(None): "missing or null", bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
    return kinds.get(type(value), "an object")


def shown(value: int) -> str:
    """A number as a message shows it: one of thousands of digits only by its size."""
    return str(value) if -(10**30) < value < 10**30 else f"a number of {value.bit_length()} bits"
