"""The shape of a decoder-only transformer, and its reading from Hugging Face's `config.json`. No torch.

Four families share one mathematics (RMSNorm, RoPE, grouped-query attention, SwiGLU): Llama, Mistral,
Qwen2 (biases on q, k, v) and Qwen3 (a norm on each head's q and k). Whatever a config asks for beyond
that is refused by name, because a model that runs with one thing left out answers nonsense quietly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from netgpt.core.errors import ModelInvalid, NotSupported

N = TypeVar("N", int, float)

ARCHITECTURES = {"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}
_HINT = "use a Llama, Mistral, Qwen2 or Qwen3 folder, or put an OpenAI-compatible server behind the node"


@dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """Llama 3's stretch of the slow rotations, for contexts longer than the one trained on first."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position: int


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Everything that the mathematics of a decoder depends on. Two equal configs have equal tensor shapes.

    Raises:
        ModelInvalid: a size that is not positive, heads that do not divide, an odd head dimension.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_position: int
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    qk_norm: bool = False  # RMSNorm over each head's q and k, before RoPE
    attention_bias: bool = False  # on q, k, v; never on o
    tie_embeddings: bool = True  # the output matrix is the embedding
    rope_scaling: RopeScaling | None = None

    def __post_init__(self) -> None:
        for key in ("vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads", "num_kv_heads", "head_dim", "max_position"):
            if getattr(self, key) < 1:
                raise ModelInvalid(f"model config: {key} is {getattr(self, key)}, must be at least 1", hint="restore the model folder's config.json")
        if self.num_heads % self.num_kv_heads:
            raise ModelInvalid(
                f"model config: {self.num_heads} heads cannot share {self.num_kv_heads} key-value heads", hint="choose a divisor of num_heads"
            )
        if self.head_dim % 2:
            raise ModelInvalid(f"model config: head_dim is {self.head_dim}, must be even", hint="RoPE rotates pairs: choose an even head_dim")

    @property
    def parameters(self) -> int:
        """Number of trained values; a tied embedding counts once."""
        d, heads, kv_heads, k = self.hidden_size, self.num_heads, self.num_kv_heads, self.head_dim
        attention = d * k * (2 * heads + 2 * kv_heads)
        bias = k * (heads + 2 * kv_heads) * self.attention_bias
        norms = 2 * d + 2 * k * self.qk_norm
        layer = attention + bias + norms + 3 * d * self.intermediate_size
        return self.num_layers * layer + d + self.vocab_size * d * (1 if self.tie_embeddings else 2)

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> DecoderConfig:
        """Read the mapping that Hugging Face's `config.json` holds.

        Raises:
            NotSupported: another family, or a feature that is not implemented; the key is named.
            ModelInvalid: a key is missing or is no number.
        """
        family = config.get("model_type")
        if family not in ARCHITECTURES:
            raise NotSupported(f"model config: model_type {family!r} is not supported", hint=_HINT, param="model_type")
        _refuse_extras(config, family)
        hidden_size, num_heads = _number(config, "hidden_size", int), _number(config, "num_attention_heads", int)
        rope = _rope(config)
        return cls(
            vocab_size=_number(config, "vocab_size", int),
            hidden_size=hidden_size,
            intermediate_size=_number(config, "intermediate_size", int),
            num_layers=_number(config, "num_hidden_layers", int),
            num_heads=num_heads,
            num_kv_heads=_number(config, "num_key_value_heads", int, num_heads),
            head_dim=_number(config, "head_dim", int, 128 if family == "qwen3" else hidden_size // max(1, num_heads)),
            max_position=_number(config, "max_position_embeddings", int),
            rope_theta=_number(rope, "rope_theta", float, 10_000.0),
            norm_eps=_number(config, "rms_norm_eps", float, 1e-6),
            qk_norm=family == "qwen3",
            attention_bias=family == "qwen2",
            tie_embeddings=bool(config.get("tie_word_embeddings", False)),
            rope_scaling=_scaling(rope),
        )

    def to_hf(self) -> dict[str, Any]:
        """The mapping that `from_hf` and `transformers` read back to the same model.

        Raises:
            NotSupported: q/k norm together with biases, which no supported family has.
        """
        if self.qk_norm and self.attention_bias:
            raise NotSupported("model config: no family has both qk_norm and attention_bias", hint="drop one of them", param="qk_norm")
        family = "qwen3" if self.qk_norm else "qwen2" if self.attention_bias else "llama"
        return {
            "architectures": [ARCHITECTURES[family]],
            "model_type": family,
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_layers,
            "num_attention_heads": self.num_heads,
            "num_key_value_heads": self.num_kv_heads,
            "head_dim": self.head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": self.max_position,
            "rms_norm_eps": self.norm_eps,
            "rope_theta": self.rope_theta,
            "rope_scaling": None if self.rope_scaling is None else _scaling_to_hf(self.rope_scaling),
            "tie_word_embeddings": self.tie_embeddings,
            "attention_dropout": 0.0,
            **({"attention_bias": False} if family != "qwen2" else {}),
            **({"use_sliding_window": False} if family != "llama" else {}),
        }


def _number(source: Mapping[str, Any], key: str, kind: type[N], default: N | None = None) -> N:
    value = source.get(key)
    value = default if value is None else value
    if value is None:
        raise ModelInvalid(f"model config: {key} is missing", hint="restore the model folder's config.json", param=key)
    if isinstance(value, bool) or not isinstance(value, int | float) or kind(value) != value:
        raise ModelInvalid(f"model config: {key} is {value!r}, must be a number", hint="restore the model folder's config.json", param=key)
    return kind(value)


def _refuse_extras(config: Mapping[str, Any], family: str) -> None:
    """Refuse what changes the mathematics beyond the four families' common part."""
    window = config.get("sliding_window")
    window_used = config.get("use_sliding_window", family == "mistral") and window is not None and window < config.get("max_position_embeddings", 0)
    refused = {
        "hidden_act": config.get("hidden_act", "silu") not in ("silu", "swish"),
        "attention_bias": family != "qwen2" and bool(config.get("attention_bias")),
        "mlp_bias": bool(config.get("mlp_bias")),
        "sliding_window": bool(window_used),
        "layer_types": bool(set(config.get("layer_types") or ()) - {"full_attention"}) and bool(window_used),
        "quantization_config": bool(config.get("quantization_config")),
        "partial_rotary_factor": config.get("partial_rotary_factor", 1.0) not in (None, 1, 1.0),
    }
    for key, is_refused in refused.items():
        if is_refused:
            raise NotSupported(f"model config: {key} = {config.get(key)!r} is not supported", hint=_HINT, param=key)


def _rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """RoPE's settings, from `rope_parameters` (transformers 5) or `rope_theta` and `rope_scaling` (before)."""
    rope: dict[str, Any] = {"rope_theta": config.get("rope_theta")}
    for key in ("rope_scaling", "rope_parameters"):
        settings = config.get(key)
        if isinstance(settings, Mapping):
            rope.update({k: v for k, v in settings.items() if v is not None})
    return rope


def _scaling(rope: Mapping[str, Any]) -> RopeScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind != "llama3":
        raise NotSupported(f"model config: rope_scaling type {kind!r} is not supported", hint=_HINT, param="rope_scaling")
    return RopeScaling(
        factor=_number(rope, "factor", float),
        low_freq_factor=_number(rope, "low_freq_factor", float),
        high_freq_factor=_number(rope, "high_freq_factor", float),
        original_max_position=_number(rope, "original_max_position_embeddings", int),
    )


def _scaling_to_hf(scaling: RopeScaling) -> dict[str, Any]:
    return {
        "rope_type": "llama3",
        "factor": scaling.factor,
        "low_freq_factor": scaling.low_freq_factor,
        "high_freq_factor": scaling.high_freq_factor,
        "original_max_position_embeddings": scaling.original_max_position,
    }
