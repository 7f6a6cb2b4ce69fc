"""Values that are made for every request or token: keyword-only dataclasses that nobody changes.

To a type checker they are frozen. At run time nothing enforces it, since that would make each of them three times as costly to make
as one is now: a frozen dataclass sets each of its fields by a call. Where values are few, `@dataclass(frozen=True, kw_only=True)`
remains the way.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
def value(kind: type[T]) -> type[T]:
    """Make a class a value: slots, equality and hash by its fields."""
    return dataclass(kw_only=True, slots=True, unsafe_hash=True)(kind)
