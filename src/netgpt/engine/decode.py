"""One step of many sessions at once: the mathematics of `models.decoder`, weights fused for decoding.

A step feeds each session some of its next tokens: one while decoding, more for a prompt or for drafts.
All rows of all sessions go through the matrices together and only attention is done per session, each
over exactly its own past: selective batching (Orca, OSDI '22). So prefill, decoding and verification
are one function, no row is padded, and a session's numbers hardly depend on its company.

What is fused, all of it exact up to rounding:
  - q, k and v are one matrix, gate and up another;
  - a norm's weight, and the sqrt(D) of its mean, are multiplied into the matrix that follows;
  - rows of q and k are reordered so that RoPE's pairs lie together: a turn is one complex product.
The residual stream and the norms are float32 whatever the weights' dtype.

Axes: N rows (tokens of all segments), D hidden, A = H + 2G heads of q, k and v, H query head, G
key-value head, R = H / G queries that share a key, K head dimension, F half of K, T rows of a segment,
S tokens that they may see, I feed-forward, V vocabulary, M rows whose logits are wanted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from netgpt.engine.kv import KvBuffer
from netgpt.engine.matrix import Matrix, laid_out
from netgpt.models.decoder import Attention, Decoder, Layer, rope_tables
from netgpt.models.decoder_config import DecoderConfig


@dataclass(frozen=True, slots=True)
class Segment:
    """The next tokens of one session; its buffer has room for them."""

    kv: KvBuffer
    ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class _FusedLayer:
    qkv: Matrix  # D to A K
    head_norm_AK: Tensor | None  # of q and k heads, with its sqrt(K); 1 for v heads
    o: Matrix  # H K to D
    gate_up: Matrix  # D to 2 I
    down: Matrix  # I to D


class FusedDecoder:
    """A decoder that decodes: `step` extends sessions, `logits` turns rows into predictions.

    Shares what it can with the decoder it is made of, which must not be trained any further.
    """

    def __init__(self, decoder: Decoder) -> None:
        config = decoder.config
        self.config: DecoderConfig = config
        self.dtype = decoder.output_VD.dtype
        with torch.inference_mode():
            self._embedding_VD = decoder.model.embed_tokens.weight.detach()
            self._output = laid_out(decoder.output_VD)
            self._last_norm_D = decoder.model.norm.weight.float() * math.sqrt(config.hidden_size)
            self._layers = [_fuse(layer, config) for layer in decoder.model.layers if isinstance(layer, Layer)]
            cos_TK, sin_TK = rope_tables(config, torch.arange(config.max_position))
            half = config.head_dim // 2
            self._turn_TF = torch.complex(cos_TK[:, :half].contiguous(), sin_TK[:, :half].contiguous())
            self._no_turn_F = torch.ones(half, dtype=torch.complex64)
            # hypot(|x|, sqrt(D eps)) = sqrt(D) sqrt(mean(x^2) + eps)
            self._head_norm_floor = torch.tensor(math.sqrt(config.head_dim * config.norm_eps))
            self._is_v_A1 = torch.arange(config.num_heads + 2 * config.num_kv_heads)[:, None] >= config.num_heads + config.num_kv_heads
            self._norm_floor = torch.tensor(math.sqrt(config.hidden_size * config.norm_eps))

    def new_kv(self) -> KvBuffer:
        return KvBuffer(self.config, self.dtype)

    def step(self, segments: Sequence[Segment]) -> Tensor:
        """Feed every segment's tokens and extend its buffer.

        Returns:
            hidden_ND, float32: the last layer's output, segments one after the other; see `logits`.
        """
        ids = [i for segment in segments for i in segment.ids]
        attention = _Attention(segments, self.config)
        turn_NAF = self._turns(segments)
        x_ND = self._embed(ids)
        heads = self.config.num_heads
        rows_by_head = (len(ids), turn_NAF.shape[1], self.config.head_dim // 2, 2)
        for number, layer in enumerate(self._layers):
            qkv = layer.qkv(self._direction(x_ND)).float().view(rows_by_head)
            if layer.head_norm_AK is not None:
                qkv = self._norm_heads(qkv.flatten(2), layer.head_norm_AK).view(rows_by_head)
            qkv_NAK = torch.view_as_real(torch.view_as_complex(qkv) * turn_NAF).flatten(2)
            mixed = attention.mix(number, qkv_NAK[:, :heads].to(self.dtype), qkv_NAK[:, heads:])
            x_ND = x_ND + layer.o(mixed)
            gate_NI, up_NI = layer.gate_up(self._direction(x_ND)).chunk(2, dim=-1)
            x_ND = x_ND + layer.down(F.silu(gate_NI).mul_(up_NI))
        attention.extend_buffers()
        return x_ND

    def logits(self, hidden_MD: Tensor) -> Tensor:
        """logits_MV, float32, of rows that `step` returned."""
        return self._output(self.normed(hidden_MD).to(self.dtype)).float()

    def normed(self, hidden_MD: Tensor) -> Tensor:
        """Rows that `step` returned, after the last norm: [M, D], float32."""
        return hidden_MD / torch.hypot(torch.linalg.vector_norm(hidden_MD, dim=-1, keepdim=True), self._norm_floor) * self._last_norm_D

    def _embed(self, ids: list[int]) -> Tensor:
        if len(ids) == 1:
            return self._embedding_VD.narrow(0, ids[0], 1).float()
        return self._embedding_VD[torch.tensor(ids)].float()

    def _direction(self, x_ND: Tensor) -> Tensor:
        """RMSNorm without its weight and sqrt(D), which the next matrix has."""
        return (x_ND / torch.hypot(torch.linalg.vector_norm(x_ND, dim=-1, keepdim=True), self._norm_floor)).to(self.dtype)

    def _norm_heads(self, qkv_NAK: Tensor, weight_AK: Tensor) -> Tensor:
        """Qwen3's RMSNorm over each q and k head."""
        length_NA1 = torch.hypot(torch.linalg.vector_norm(qkv_NAK, dim=-1, keepdim=True), self._head_norm_floor)
        return qkv_NAK / torch.where(self._is_v_A1, 1.0, length_NA1) * weight_AK

    def _turns(self, segments: Sequence[Segment]) -> Tensor:
        """turn_NAF: each row's RoPE angles for q and k heads, and none for v heads."""
        config = self.config
        parts = [self._turn_TF.narrow(0, s.kv.length, len(s.ids)) for s in segments]
        turn_NF = parts[0] if len(parts) == 1 else torch.cat(parts)
        turn_NAF = turn_NF.new_empty(len(turn_NF), config.num_heads + 2 * config.num_kv_heads, config.head_dim // 2)
        turn_NAF[:, : config.num_heads + config.num_kv_heads] = turn_NF[:, None]
        turn_NAF[:, config.num_heads + config.num_kv_heads :] = self._no_turn_F
        return turn_NAF


class _Attention:
    """Attention of one step: each segment's rows over its own buffer, layer after layer."""

    def __init__(self, segments: Sequence[Segment], config: DecoderConfig) -> None:
        self._segments = segments
        self._group_shape = (config.num_kv_heads, config.num_heads // config.num_kv_heads, config.head_dim)
        self._kv_shape = (2, config.num_kv_heads, config.head_dim)
        self._sizes = [len(segment.ids) for segment in segments]
        self._single = max(self._sizes) == 1
        self._past = [s.kv.past(s.kv.length + len(s.ids)) for s in segments]
        self._masks = [_mask(s.kv.length, len(s.ids)) for s in segments]
        if self._single:
            self._slots = [s.kv.slot(s.kv.length) for s in segments]
        else:
            self._slots = [s.kv.span(s.kv.length, len(s.ids)) for s in segments]

    def mix(self, layer: int, q_NHK: Tensor, kv_NxK: Tensor) -> Tensor:
        """Write the rows' keys and values, and return what their queries gather: [N, H K]."""
        return (self._mix_single if self._single else self._mix_spans)(layer, q_NHK, kv_NxK)

    def _mix_single(self, layer: int, q_NHK: Tensor, kv_NxK: Tensor) -> Tensor:
        """One row a segment: the queries that share a key are its rows, and nothing needs a mask."""
        for slots, kv_2GK in zip(self._slots, kv_NxK.view(-1, *self._kv_shape).unbind(0), strict=True):
            slots[layer].copy_(kv_2GK)
        mixed = [
            F.scaled_dot_product_attention(q_1GRK, past[2 * layer], past[2 * layer + 1])
            for past, q_1GRK in zip(self._past, q_NHK.view(-1, 1, *self._group_shape).unbind(0), strict=True)
        ]
        return (mixed[0] if len(mixed) == 1 else torch.cat(mixed)).view(len(mixed), -1)

    def _mix_spans(self, layer: int, q_NHK: Tensor, kv_NxK: Tensor) -> Tensor:
        groups, shared, size = self._group_shape
        mixed: list[Tensor] = []
        rows = zip(self._slots, self._past, self._masks, q_NHK.split(self._sizes), kv_NxK.split(self._sizes), strict=True)
        for slots, past, mask_TS, q_THK, kv_TxK in rows:
            slots[layer].copy_(kv_TxK.view(-1, *self._kv_shape).permute(1, 2, 0, 3))
            q_GRTK = q_THK.reshape(-1, groups, shared, size).permute(1, 2, 0, 3)
            k_GRSK = past[2 * layer].transpose(0, 1).expand(-1, shared, -1, -1)
            v_GRSK = past[2 * layer + 1].transpose(0, 1).expand(-1, shared, -1, -1)
            causal = mask_TS is None and len(q_THK) > 1
            mixed_GRTK = F.scaled_dot_product_attention(q_GRTK, k_GRSK, v_GRSK, attn_mask=mask_TS, is_causal=causal)
            mixed.append(mixed_GRTK.permute(2, 0, 1, 3).reshape(len(q_THK), -1))
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)

    def extend_buffers(self) -> None:
        for segment in self._segments:
            segment.kv.length += len(segment.ids)


def _mask(past: int, rows: int) -> Tensor | None:
    """mask_TS, true where a row may look; None where plain causality, or no mask at all, says it."""
    if past == 0 or rows == 1:
        return None
    return torch.ones(rows, past + rows, dtype=torch.bool).tril(past)


def _fuse(layer: Layer, config: DecoderConfig) -> _FusedLayer:
    attention, mlp = layer.self_attn, layer.mlp
    dtype = attention.q_proj.weight.dtype
    scale = math.sqrt(config.hidden_size)
    pairs = _pair_order(config.head_dim)
    qkv = _fuse_qkv(attention, "weight", pairs) * layer.input_layernorm.weight.float() * scale
    gate_up = torch.cat((mlp.gate_proj.weight.float(), mlp.up_proj.weight.float())) * layer.post_attention_layernorm.weight.float() * scale
    return _FusedLayer(
        qkv=laid_out(qkv.to(dtype), _fuse_qkv(attention, "bias", pairs).to(dtype) if config.attention_bias else None),
        head_norm_AK=_fuse_head_norms(attention, pairs) if config.qk_norm else None,
        o=laid_out(attention.o_proj.weight),
        gate_up=laid_out(gate_up.to(dtype)),
        down=laid_out(mlp.down_proj.weight),
    )


def _pair_order(head_dim: int) -> Tensor:
    """0, K/2, 1, K/2 + 1, ...: brings the two halves that RoPE turns together."""
    return torch.arange(head_dim).view(2, -1).T.flatten()


def _fuse_qkv(attention: Attention, name: str, pairs: Tensor) -> Tensor:
    """q, k and v stacked; the rows of each q and k head in `pairs` order. float32."""
    q, k, v = (getattr(projection, name).detach().float() for projection in (attention.q_proj, attention.k_proj, attention.v_proj))
    by_head = (-1, len(pairs))
    return torch.cat((q.unflatten(0, by_head)[:, pairs].flatten(0, 1), k.unflatten(0, by_head)[:, pairs].flatten(0, 1), v))


def _fuse_head_norms(attention: Attention, pairs: Tensor) -> Tensor:
    """Weights of the norms of q and k for each head, times sqrt(K); 1 for v heads."""
    heads, kv_heads, root = attention.config.num_heads, attention.config.num_kv_heads, math.sqrt(len(pairs))
    q_norm_K, k_norm_K = (norm.weight.float()[pairs] * root for norm in (attention.q_norm, attention.k_norm))
    return torch.cat((q_norm_K.expand(heads, -1), k_norm_K.expand(kv_heads, -1), torch.ones(kv_heads, len(pairs))))
