"""What the roofline needs to know of a model: its shape, as data. No weights.

`shapes.toml` beside this module holds those of published models. A node that only states how large its
model is gets the shape of the published model nearest in size, scaled to the stated count.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from functools import cache
from importlib import resources
from typing import Any

from netgpt.core.errors import ScenarioInvalid
from netgpt.core.spelling import check_keys, did_you_mean

SHAPES = "shapes.toml"


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A decoder-only transformer with grouped-query attention and a gated feed-forward part.

    Norms and biases are left out: they are well under 1 % of the weights. `scale` multiplies the matrices of a
    shape that stands for a model of another size.
    """

    id: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool  # the output matrix is the embedding
    context_tokens: int
    parameters: int = 0  # as published; 0: nobody has
    licence: str = ""
    source: str = ""
    scale: float = 1.0

    @property
    def layer_weights(self) -> float:
        """Weights of all layers' matrices."""
        attention = self.hidden * self.head_dim * 2 * (self.heads + self.kv_heads)
        return self.scale * self.layers * (attention + 3 * self.hidden * self.intermediate)

    @property
    def head_weights(self) -> float:
        """Weights of the output matrix, which every step reads."""
        return self.scale * self.hidden * self.vocabulary

    @property
    def weights(self) -> float:
        """All weights, a tied embedding counted once."""
        return self.layer_weights + self.head_weights * (1 if self.tied else 2)

    @property
    def kv_values(self) -> int:
        """Numbers that one token leaves in the KV cache."""
        return 2 * self.layers * self.kv_heads * self.head_dim


def read_shapes(text: str, where: str) -> dict[str, ModelShape]:
    """The shapes of a TOML file with tables `[[model]]`, by id.

    Raises:
        ScenarioInvalid: no such file format, an unknown or missing key, a size below 1, or an id that stands twice.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioInvalid(f"{where} is not valid TOML: {error}", hint="mend the line that the message names") from error
    check_keys(table, {"model"}, where, ScenarioInvalid)
    shapes: dict[str, ModelShape] = {}
    for number, row in enumerate(table.get("model", []), start=1):
        shape = _shape(row, f"model {number} of {where}")
        if shape.id in shapes:
            raise ScenarioInvalid(f"model {shape.id!r} stands twice in {where}", hint="give every model its own id")
        shapes[shape.id] = shape
    return shapes


def _shape(row: Mapping[str, Any], where: str) -> ModelShape:
    known = {field.name: field for field in fields(ModelShape) if field.name != "scale"}
    check_keys(row, known, where, ScenarioInvalid)
    for name, field in known.items():
        if name not in row and field.default is MISSING:
            raise ScenarioInvalid(f"{where} lacks {name!r}", hint=f"add {name} = ...", param=name)
        value = row.get(name, field.default)
        if field.type == "int" and (isinstance(value, bool) or not isinstance(value, int) or value < (0 if name == "parameters" else 1)):
            raise ScenarioInvalid(f"{name!r} of {where} is {value!r}", hint="write a whole number of 1 or more", param=name)
    return ModelShape(**row)


@cache
def shapes() -> Mapping[str, ModelShape]:
    """The shapes that come with the package, by id, smallest first."""
    text = resources.files("netgpt.network").joinpath(SHAPES).read_text(encoding="utf-8")
    return dict(sorted(read_shapes(text, SHAPES).items(), key=lambda item: item[1].weights))


def find_shape(card: str) -> ModelShape:
    """The published model of that id.

    Raises:
        ScenarioInvalid: unknown id; the hint has the nearest and all known ones.
    """
    if card not in shapes():
        raise ScenarioInvalid(f"unknown card {card!r}", hint=did_you_mean(card, shapes()), param="card")
    return shapes()[card]


def node_shape(card: str, parameters: float) -> ModelShape | None:
    """Of the model that a node is declared to run: a published one, or one of that size; None if it states neither.

    Raises:
        ScenarioInvalid: unknown card, or both are stated.
    """
    if card and parameters:
        raise ScenarioInvalid(f"card {card!r} stands beside parameters", hint="leave parameters out: the card says how large it is", param="card")
    if card:
        return find_shape(card)
    return sized_shape(parameters) if parameters else None


@cache
def sized_shape(parameters: float) -> ModelShape:
    """A stand-in for a model of which only the size is known: the published one nearest in size, its matrices scaled."""
    nearest = min(shapes().values(), key=lambda shape: abs(math.log(shape.weights / parameters)))
    return replace(nearest, id=f"{parameters / 1e9:.3g}B", parameters=int(parameters), scale=parameters / nearest.weights, licence="", source="")
