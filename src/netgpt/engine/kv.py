"""The keys and values of one session: one growable buffer, and the number of tokens that it holds.

A session's buffer is its own, so that parking, rolling back and dropping it cost nothing and move
nothing; a batch is formed step by step from whichever sessions run (`engine.decode`).

Axes: L layer, 2 key then value, 1 a batch of one, G key-value head, C capacity in tokens, K head
dimension, T tokens held.
"""

from __future__ import annotations

import torch
from torch import Tensor

from netgpt.models.decoder_config import DecoderConfig

SLACK_TOKENS = 64  # spare room of a new buffer, so that a few more tokens do not copy it


class KvBuffer:
    """Keys (turned by RoPE) and values of the first `length` tokens of a session, for all layers."""

    def __init__(self, config: DecoderConfig, dtype: torch.dtype) -> None:
        self.length = 0
        self._config = config
        self._data_L21GCK = torch.empty(config.num_layers, 2, 1, config.num_kv_heads, 0, config.head_dim, dtype=dtype)

    @property
    def capacity(self) -> int:
        return self._data_L21GCK.shape[4]

    def reserve(self, tokens: int) -> None:
        """Make room for `tokens` tokens in all; what is held stays. Memory is touched only as it is written."""
        if tokens <= self.capacity:
            return
        capacity = min(max(tokens + SLACK_TOKENS, 2 * self.capacity), max(tokens, self._config.max_position))
        shape = list(self._data_L21GCK.shape)
        shape[4] = capacity
        grown = self._data_L21GCK.new_empty(shape)
        grown[..., : self.length, :] = self._data_L21GCK[..., : self.length, :]
        self._data_L21GCK = grown

    def truncate(self, tokens: int) -> None:
        """Forget what lies past the first `tokens` tokens."""
        self.length = min(self.length, tokens)

    def past(self, tokens: int) -> tuple[Tensor, ...]:
        """Views of the first `tokens` tokens: the keys and then the values of each layer, [1, G, T, K] each."""
        return self._data_L21GCK.narrow(4, 0, tokens).flatten(0, 1).unbind(0)

    def slot(self, position: int) -> tuple[Tensor, ...]:
        """Views where one token's keys and values are written: [2, G, K] for each layer."""
        return self._data_L21GCK.select(4, position).squeeze(2).unbind(0)

    def span(self, position: int, tokens: int) -> tuple[Tensor, ...]:
        """Views where `tokens` tokens' keys and values are written: [2, G, T, K] for each layer."""
        return self._data_L21GCK.narrow(4, position, tokens).squeeze(2).unbind(0)


def kv_bytes_per_token(config: DecoderConfig, dtype: torch.dtype) -> int:
    return config.num_layers * 2 * config.num_kv_heads * config.head_dim * dtype.itemsize
