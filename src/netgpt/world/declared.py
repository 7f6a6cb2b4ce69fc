"""Which model on which machine a node's engine is declared to be, and hence how long its work takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from netgpt.core.errors import ScenarioInvalid, UsageError
from netgpt.engine.useful_threads import torch_stack
from netgpt.models.store import read_decoder_config
from netgpt.network.profile import THIS_MACHINE, find_profile
from netgpt.network.roofline import Declared, declare
from netgpt.network.scenario import NodeSpec
from netgpt.network.scenario_key import refusal
from netgpt.network.shape import ModelShape, node_shape
from netgpt.world.config import EngineConfig

PRECISION_OF_DTYPE = {"float32": "fp32", "bfloat16": "bf16"}
DTYPE_OF_PRECISION = {precision: dtype for dtype, precision in PRECISION_OF_DTYPE.items()}


def declared_machine(config: EngineConfig) -> Declared | None:
    """What the node's times are those of: the declared model, or its own; None if neither's size is known.

    Raises:
        ScenarioInvalid: unknown names, `this-machine` has not been measured, or model and KV do not fit the machine.
    """
    shape = node_shape(config.card, config.parameters) or own_shape(config.model_folder)
    if shape is None:
        return None
    profile = find_profile(config.profile, Path(config.home) if config.home else None)
    if profile.id != THIS_MACHINE:
        return declare(profile, shape, config.precision, slots=config.slots)
    precision = config.precision or PRECISION_OF_DTYPE.get(config.dtype, "")
    return declare(profile, shape, precision, slots=config.slots, stack=torch_stack(config.dtype, shape.weights))


def declared_node(node: NodeSpec, config: EngineConfig) -> Declared | None:
    """The same of a scenario's node, before anything starts: what is wrong is named with its file and line."""
    try:
        return declared_machine(config)
    except ScenarioInvalid as error:
        raise refusal(node.place, error.param or "profile", f"node {node.id!r}: {error.message}", error.hint) from error


def variant_machine(config: EngineConfig, precision: str) -> Declared | None:
    """The same with the model in another precision. Raises as `declared_machine`."""
    return declared_machine(replace(config, precision=precision, dtype=DTYPE_OF_PRECISION.get(precision, config.dtype)))


def torch_dtype(config: EngineConfig, precision: str) -> str:
    """What torch calls a precision; raises UsageError where it has none of it."""
    if precision not in DTYPE_OF_PRECISION:
        known = ", ".join(DTYPE_OF_PRECISION)
        hint = f"torch runs {known}: name one of them, or leave it out; the simulated world and engine hash take any"
        raise UsageError(f"node {config.node!r} cannot run its model in {precision!r}", hint=hint, param="variants")
    return DTYPE_OF_PRECISION[precision]


def own_shape(model_folder: str) -> ModelShape | None:
    """Of the model in that folder; None without one."""
    if not model_folder:
        return None
    config = read_decoder_config(Path(model_folder))
    return ModelShape(
        id=Path(model_folder).name,
        layers=config.num_layers,
        hidden=config.hidden_size,
        heads=config.num_heads,
        kv_heads=config.num_kv_heads,
        head_dim=config.head_dim,
        intermediate=config.intermediate_size,
        vocabulary=config.vocab_size,
        tied=config.tie_embeddings,
        context_tokens=config.max_position,
        parameters=config.parameters,
    )
