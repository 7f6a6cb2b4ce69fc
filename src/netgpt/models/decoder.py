"""The decoder-only transformer: one readable forward pass, used for training and as the reference.

Decoding with a cache is `engine.decode`, the same mathematics with weights fused; a test holds the two
equal. Parameters bear Hugging Face's names (`model.layers.0.self_attn.q_proj.weight`), so that folders
are exchanged with `transformers` without a mapping.

Axes: B sequence, T position, D hidden, H query head, G key-value head, K head dimension, F half of K,
V vocabulary.

Sources: RMSNorm arXiv 1910.07467, RoPE arXiv 2104.09864, GQA arXiv 2305.13245, SwiGLU arXiv 2002.05202.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from netgpt.models.decoder_config import DecoderConfig, RopeScaling

INIT_STD = 0.02  # Radford et al. 2019
PLAIN_ATTENTION_TOKENS = 512  # up to here a plain product of matrices trains faster on a CPU


def rope_tables(config: DecoderConfig, positions_T: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines by which RoPE turns the halves of each head's q and k.

    Args:
        positions_T: positions, any integer type.

    Returns:
        cos_TK and sin_TK, float32; their two halves along K are equal, as Hugging Face pairs (i, i + K/2).
    """
    exponent_F = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device=positions_T.device) / config.head_dim
    frequency_F = 1.0 / config.rope_theta**exponent_F
    if config.rope_scaling is not None:
        frequency_F = _llama3_frequencies(frequency_F, config.rope_scaling)
    angle_TF = positions_T.float()[:, None] * frequency_F
    angle_TK = torch.cat((angle_TF, angle_TF), dim=-1)
    return angle_TK.cos(), angle_TK.sin()


def _llama3_frequencies(frequency_F: Tensor, scaling: RopeScaling) -> Tensor:
    """Slow rotations divided by `factor`, fast ones kept, a ramp between (Llama 3, arXiv 2407.21783)."""
    turns_F = scaling.original_max_position * frequency_F / (2 * math.pi)
    ramp_F = ((turns_F - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor)).clamp(0.0, 1.0)
    return (1 - ramp_F) * frequency_F / scaling.factor + ramp_F * frequency_F


def rotate(x_BHTK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """RoPE: turn the pairs (x_i, x_{i+K/2}) by their position's angle."""
    first, second = x_BHTK.chunk(2, dim=-1)
    return x_BHTK * cos_TK + torch.cat((-second, first), dim=-1) * sin_TK


class RMSNorm(nn.Module):
    """x / rms(x) * weight."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


def causal_attention(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor) -> Tensor:
    """Each position's mix of the values up to it.

    Training on short rows on a CPU multiplies plainly: that takes half the time of torch's fused kernel there,
    whose backward pass is slow. All else takes the fused kernel.
    """
    positions, head_dim = q_BHTK.shape[-2:]
    if q_BHTK.device.type != "cpu" or not q_BHTK.requires_grad or positions > PLAIN_ATTENTION_TOKENS:
        return F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True)
    hidden_TT = torch.full((positions, positions), -math.inf, dtype=q_BHTK.dtype).triu(1)
    with torch.autocast("cpu", enabled=False):
        scores_BHTT = torch.matmul(q_BHTK * head_dim**-0.5, k_BHTK.transpose(-1, -2)) + hidden_TT
        return torch.matmul(torch.softmax(scores_BHTT, dim=-1), v_BHTK)


class Attention(nn.Module):
    """Causal grouped-query attention: H / G query heads share a key-value head."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        queries, keys = config.num_heads * config.head_dim, config.num_kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, queries, bias=config.attention_bias)
        self.k_proj = nn.Linear(config.hidden_size, keys, bias=config.attention_bias)
        self.v_proj = nn.Linear(config.hidden_size, keys, bias=config.attention_bias)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=False)
        if config.qk_norm:
            self.q_norm = RMSNorm(config.head_dim, config.norm_eps)
            self.k_norm = RMSNorm(config.head_dim, config.norm_eps)

    def forward(self, x_BTD: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
        by_head = (-1, self.config.head_dim)
        q_BTHK = self.q_proj(x_BTD).unflatten(-1, by_head)
        k_BTGK = self.k_proj(x_BTD).unflatten(-1, by_head)
        v_BTGK = self.v_proj(x_BTD).unflatten(-1, by_head)
        if self.config.qk_norm:
            q_BTHK, k_BTGK = self.q_norm(q_BTHK), self.k_norm(k_BTGK)
        cos_TK, sin_TK = cos_TK.to(q_BTHK.dtype), sin_TK.to(q_BTHK.dtype)
        q_BHTK = rotate(q_BTHK.transpose(1, 2), cos_TK, sin_TK)
        k_BGTK = rotate(k_BTGK.transpose(1, 2), cos_TK, sin_TK)
        group = self.config.num_heads // self.config.num_kv_heads
        k_BHTK = k_BGTK.repeat_interleave(group, dim=1)
        v_BHTK = v_BTGK.transpose(1, 2).repeat_interleave(group, dim=1)
        mixed_BHTK = causal_attention(q_BHTK, k_BHTK, v_BHTK)
        return self.o_proj(mixed_BHTK.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x_BTD)) * self.up_proj(x_BTD))


class Layer(nn.Module):
    """Attention, then the feed-forward network, each on a norm of the residual stream."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x_BTD: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), cos_TK, sin_TK)
        return x_BTD + self.mlp(self.post_attention_layernorm(x_BTD))


class Trunk(nn.Module):
    """Embedding, layers, last norm; an attribute named `model` in Hugging Face's classes."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)

    def forward(self, ids_BT: Tensor) -> Tensor:
        cos_TK, sin_TK = rope_tables(self.config, torch.arange(ids_BT.shape[1], device=ids_BT.device))
        x_BTD = self.embed_tokens(ids_BT)
        for layer in self.layers:
            x_BTD = layer(x_BTD, cos_TK, sin_TK)
        return self.norm(x_BTD)


class Decoder(nn.Module):
    """A causal language model, freshly initialised: equal seeds give equal weights."""

    def __init__(self, config: DecoderConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        if not config.tie_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if not self.output_VD.is_meta:
            self._initialise(torch.Generator(self.output_VD.device).manual_seed(seed))

    @property
    def output_VD(self) -> Tensor:
        """The matrix that turns hidden states into logits."""
        return self.model.embed_tokens.weight if self.config.tie_embeddings else self.lm_head.weight

    def forward(self, ids_BT: Tensor) -> Tensor:
        """Logits of the token after each position, given all tokens up to it.

        Args:
            ids_BT: int64, 0 <= id < vocab_size, T <= max_position.

        Returns:
            logits_BTV in the weights' dtype, or autocast's.
        """
        return F.linear(self.model(ids_BT), self.output_VD)

    @torch.no_grad()
    def _initialise(self, chance: torch.Generator) -> None:
        """Normal with std 0.02; what writes to the residual stream divided by sqrt(2 layers) (GPT-2)."""
        residual_std = INIT_STD / math.sqrt(2 * self.config.num_layers)
        for name, parameter in self.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.normal_(0.0, residual_std, generator=chance)
            elif name.endswith(".bias"):
                parameter.zero_()
            elif parameter.dim() > 1:
                parameter.normal_(0.0, INIT_STD, generator=chance)
