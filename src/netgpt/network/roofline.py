"""How long a model's work takes on a machine, and whether it fits: a first-order roofline.

A step is bound by arithmetic or by reading memory, whichever is slower, and pays a fixed overhead. A
prompt is arithmetic: two operations per weight and token, and attention, which grows with the square of
the prompt. Software may compute a long one in several steps. A decoding step reads every weight once for the
whole batch, and every session's KV.

Source of the form: Pope et al., Efficiently scaling transformer inference, arXiv 2211.05102, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from netgpt.core.errors import ScenarioInvalid
from netgpt.core.spelling import did_you_mean
from netgpt.network.profile import Efficiency, HardwareProfile
from netgpt.network.shape import ModelShape

CONTEXT_TOKENS = 2048  # of a node's slot, at most


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How weights are stored. KV and arithmetic stay at 16 bits where nothing else is said."""

    layer_bits: float  # a weight of the layers, its share of a group's scale and zero included
    head_bits: float  # of embedding and output matrix
    kv_bits: float = 16
    rate: str = "bf16"
    packed: bool = True


PRECISIONS = {
    "fp32": Precision(layer_bits=32, head_bits=32, kv_bits=32, rate="fp32", packed=False),
    "bf16": Precision(layer_bits=16, head_bits=16, packed=False),
    "fp16": Precision(layer_bits=16, head_bits=16, packed=False),
    "fp8": Precision(layer_bits=8, head_bits=16, rate="fp8", packed=False),
    "int8": Precision(layer_bits=8.125, head_bits=16),  # groups of 128 with a 16-bit scale, as GPTQ's
    "int4": Precision(layer_bits=4.5, head_bits=8.125),  # groups of 32 with a 16-bit scale
    "w4a8": Precision(layer_bits=4.5, head_bits=8.125, rate="int8"),  # int4 with 8-bit activations
    "awq": Precision(layer_bits=4.16, head_bits=16),  # groups of 128 with scale and zero; GPTQ's 4 bits too
    "q4f16_1": Precision(layer_bits=4.5, head_bits=4.5),  # MLC
    "q4_0": Precision(layer_bits=4.5, head_bits=6.56),  # llama.cpp, whose output matrix is q6_k
    "q4_k_m": Precision(layer_bits=4.83, head_bits=6.56),  # llama.cpp: some matrices are q6_k
}
WIDEST_FIRST = ("bf16", "int8", "int4")  # tried in turn where a node names none


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """The durations of a decoding step, or of a prompt's steps together, at a machine's peaks."""

    arithmetic_s: float
    reading_s: float
    score_s: float  # if attention moved one byte per score
    layers: int
    tokens: int
    steps: int = 1
    calls: int = 0  # 1: a prompt, which a call brings


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A model of that shape, at that precision, on that machine."""

    profile: HardwareProfile
    shape: ModelShape
    precision: str
    stack: str = ""  # empty: the class's default

    def __str__(self) -> str:
        return f"{self.shape.id} in {self.precision} on {self.profile.id}"

    @property
    def weight_bytes(self) -> float:
        """All of the model in memory."""
        stored = PRECISIONS[self.precision]
        rest = self.shape.weights - self.shape.layer_weights
        return (self.shape.layer_weights * stored.layer_bits + rest * stored.head_bits) / 8

    def memory_bytes(self, tokens: int) -> float:
        """The model, and the KV of that many tokens."""
        return self.weight_bytes + tokens * self.kv_bytes

    def prefill_s(self, tokens: int, past: int = 0) -> float:
        """Duration of computing `tokens` prompt tokens of a session of which `past` are in KV."""
        if not tokens:
            return 0.0
        efficiency = self.profile.efficiency(self.stack)
        return self.duration_s(self.prompt(tokens, past, step_tokens=efficiency.step_tokens), efficiency)

    def decode_s(self, contexts: Sequence[int]) -> float:
        """Duration of the step that makes one token for each session; `contexts` are their lengths, tokens."""
        return self.duration_s(self.step(contexts), self.profile.efficiency(self.stack))

    def prompt(self, tokens: int, past: int = 0, *, step_tokens: int = 0) -> Work:
        """Computing a prompt.

        Args:
            step_tokens: most tokens of a step; one that goes on from earlier ones also scores what it may not see. 0: all in one step, exactly.
        """
        operations = 2 * self.shape.layer_weights * tokens + 2 * self.shape.head_weights
        if not step_tokens:
            pairs = tokens * past + tokens * (tokens + 1) / 2
            return self._work(operations, pairs, self.read_bytes + past * self.kv_bytes, tokens, calls=1)
        pairs, read_bytes, begins = 0.0, 0.0, range(0, tokens, step_tokens)
        for begin in begins:
            rows, before = min(step_tokens, tokens - begin), past + begin
            pairs += rows * (before + rows) if before else rows * (rows + 1) / 2
            read_bytes += self.read_bytes + before * self.kv_bytes
        return self._work(operations, pairs, read_bytes, tokens, steps=len(begins), calls=1)

    def step(self, contexts: Sequence[int]) -> Work:
        batch, pairs = len(contexts), sum(contexts)
        operations = 2 * (self.shape.layer_weights + self.shape.head_weights) * batch
        return self._work(operations, pairs, self.read_bytes + pairs * self.kv_bytes, batch)

    def _work(self, operations: float, pairs: float, read_bytes: float, tokens: int, *, steps: int = 1, calls: int = 0) -> Work:
        scores = self.shape.layers * self.shape.heads * pairs
        flops = self.profile.flops[PRECISIONS[self.precision].rate]
        return Work(
            arithmetic_s=(operations + 4 * self.shape.head_dim * scores) / flops,  # of attention: scores, and weighted sums
            reading_s=read_bytes / self.profile.memory_bytes_per_s,
            score_s=scores / self.profile.memory_bytes_per_s,
            layers=self.shape.layers,
            tokens=tokens,
            steps=steps,
            calls=calls,
        )

    def duration_s(self, work: Work, efficiency: Efficiency) -> float:
        """Of that work, if so much of the machine's peaks is had."""
        packed = PRECISIONS[self.precision].packed
        decode = efficiency.decode(packed)
        each_step_s = efficiency.step_overhead_s + work.layers * efficiency.layer_overhead_s
        overhead_s = work.calls * efficiency.call_overhead_s + work.steps * each_step_s + work.layers * efficiency.token_overhead_s * work.tokens
        bound_s = max(work.arithmetic_s / efficiency.prefill(packed), work.reading_s / decode)
        return overhead_s + bound_s + work.score_s * efficiency.score_bytes / decode

    @property
    def kv_bytes(self) -> float:
        """Of one token."""
        return self.shape.kv_values * PRECISIONS[self.precision].kv_bits / 8

    @property
    def read_bytes(self) -> float:
        """What a step reads of the weights: of the embedding only some rows."""
        stored = PRECISIONS[self.precision]
        return (self.shape.layer_weights * stored.layer_bits + self.shape.head_weights * stored.head_bits) / 8


def declare(profile: HardwareProfile, shape: ModelShape, precision: str = "", *, slots: int = 1, stack: str = "") -> Declared:
    """That model on that machine with room for `slots` sessions of at most CONTEXT_TOKENS tokens.

    Args:
        precision: one of PRECISIONS; empty: the widest of bf16, int8 and int4 that fits.
        stack: the software that runs it; empty: the class's default.

    Raises:
        ScenarioInvalid: unknown precision, one that the machine does not compute, or model and KV do not fit its memory.
    """
    check_precision(precision)
    if precision and PRECISIONS[precision].rate not in profile.flops:
        known = [name for name, one in PRECISIONS.items() if one.rate in profile.flops]
        raise ScenarioInvalid(f"{profile.id} has no {precision} rate", hint="take one of: " + ", ".join(known), param="precision")
    tokens = slots * min(shape.context_tokens, CONTEXT_TOKENS)
    tried = [Declared(profile=profile, shape=shape, precision=one, stack=stack) for one in ((precision,) if precision else WIDEST_FIRST)]
    for declared in tried:
        if declared.memory_bytes(tokens) <= profile.usable_bytes:
            return declared
    raise _too_large(tried[-1], tokens, slots)


def declare_variants(
    profile: HardwareProfile, shape: ModelShape, precision: str, variants: Sequence[str], *, slots: int = 1
) -> tuple[Declared, dict[str, Declared]]:
    """`declare`, and the same model in other precisions, all of whose weights are in memory together.

    Raises:
        ScenarioInvalid: as `declare`; or they do not fit together.
    """
    own = declare(profile, shape, precision, slots=slots)
    check_variants(variants, own.precision)
    others = {name: declare(profile, shape, name, slots=slots) for name in variants}
    tokens = slots * min(shape.context_tokens, CONTEXT_TOKENS)
    every = (own, *others.values())
    need = sum(one.weight_bytes for one in every) + tokens * max(one.kv_bytes for one in every)
    if need > profile.usable_bytes:
        told = f"{own} and in {', '.join(variants)} needs {need / 1e9:.3g} GB, and {profile.id} has {profile.usable_bytes / 1e9:.3g} GB for it"
        raise ScenarioInvalid(told, hint="take fewer or narrower variants, or a machine with more memory: netgpt hardware list", param="variants")
    return own, others


def check_variants(variants: Sequence[str], precision: str) -> None:
    """Refuse a precision that is not known, or stands twice; raises ScenarioInvalid."""
    for place, name in enumerate(variants):
        if name not in PRECISIONS:
            raise ScenarioInvalid(f"unknown precision {name!r}", hint=did_you_mean(name, PRECISIONS), param="variants")
        if name == precision or name in variants[:place]:
            raise ScenarioInvalid(f"precision {name!r} stands twice", hint="name each once: `precision` is one of them", param="variants")


def check_precision(precision: str) -> None:
    """Refuse one that is neither empty nor known; raises ScenarioInvalid."""
    if precision and precision not in PRECISIONS:
        raise ScenarioInvalid(f"unknown precision {precision!r}", hint=did_you_mean(precision, PRECISIONS), param="precision")


def _slots(count: int) -> str:
    return "1 slot" if count == 1 else f"{count} slots"


def _too_large(declared: Declared, tokens: int, slots: int) -> ScenarioInvalid:
    profile, need = declared.profile, declared.memory_bytes(tokens)
    room = profile.usable_bytes - declared.weight_bytes
    fitting = int(room / (need - declared.weight_bytes) * slots)
    narrower = "" if declared.precision == "int4" else ", a narrower precision"
    hint = f"take at most {_slots(fitting)}{narrower}" if fitting > 0 else f"take a smaller model{narrower}"
    return ScenarioInvalid(
        f"{declared} with {_slots(slots)} needs {need / 1e9:.3g} GB ({declared.weight_bytes / 1e9:.3g} of weights), "
        f"and {profile.id} has {profile.usable_bytes / 1e9:.3g} GB for it",
        hint=hint + ", or a machine with more memory: netgpt hardware list",
        param="slots" if fitting > 0 else "model",
    )
