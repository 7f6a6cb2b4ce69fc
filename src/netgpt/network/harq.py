"""How often a transport block is sent, from one uniform draw for each block.

Link adaptation aims at 10 % failed first attempts; soft combining lets a repeat nearly always succeed. What fails
at every attempt is lost to unacknowledged RLC, and sent again by acknowledged RLC after its timers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from netgpt.core.chance import uniforms
from netgpt.core.errors import ScenarioInvalid

BLOCKS_DRAWN = 256  # at once: drawing one costs nearly as much
_LEAST_DRAW = 2.0**-53  # a draw of 0 would never be received


@dataclass(frozen=True, kw_only=True)
class Harq:
    """Error rates and repeats of a transport block."""

    bler: float = 0.1  # of the first attempt: TS 38.214 clause 5.2.2.1, the target of CQI tables 1, 2 and 4
    retransmission_bler: float = 0.01  # of each repeat given the failures before; estimate: combining gives 3 dB, 10 % to 1 % takes 0.3 dB
    max_transmissions: int = 4  # usual setting; TS 38.321 clause 5.4.2 leaves it to the gNB
    rlc_recovery_s: float = 0.045  # t-PollRetransmit = 45 ms (TS 38.331 clause 9.2.1), then the block is sent anew

    def __post_init__(self) -> None:
        for name in ("bler", "retransmission_bler"):
            if not 0 <= getattr(self, name) < 1:
                raise ScenarioInvalid(f"HARQ {name!r} is {getattr(self, name)!r}", hint="give a probability, 0 or more and less than 1")
        if self.max_transmissions < 1 or self.rlc_recovery_s < 0:
            raise ScenarioInvalid(
                f"HARQ sends a block {self.max_transmissions} times, RLC after {self.rlc_recovery_s} s", hint="at least once, after 0 s or more"
            )

    @cached_property
    def failure(self) -> tuple[float, ...]:
        """Probability that the first n attempts of a block all fail, n from 1 to `max_transmissions`."""
        return tuple(self.bler * self.retransmission_bler**n for n in range(self.max_transmissions))

    @property
    def residual(self) -> float:
        """Probability that a block fails at every attempt: what RLC sees."""
        return self.failure[-1]

    @cached_property
    def expected_transmissions(self) -> float:
        """Attempts a block, acknowledged RLC's included."""
        return (1.0 + sum(self.failure[:-1])) / (1.0 - self.residual)

    def outcome(self, draw: float) -> tuple[int, int]:
        """How a block fares.

        Args:
            draw: uniform in [0, 1).

        Returns:
            (rounds of HARQ that failed altogether, attempts of the round that succeeded): (0, 1) if all goes well.
        """
        if draw >= self.bler:
            return 0, 1
        draw, rounds = max(draw, _LEAST_DRAW), 0
        if draw < self.residual:
            rounds = int(math.log(draw) / math.log(self.residual))
            draw = min(draw / self.residual**rounds, 1.0)  # uniform again
        return rounds, 1 + sum(draw < failure for failure in self.failure[:-1])


class Draws:
    """The draws of one UE's transport blocks in one direction: block n's depends on the key and n alone."""

    def __init__(self, key: int) -> None:
        self._key = key
        self._page = -1
        self._draws_P: NDArray[np.float64] = np.empty(0)

    def at(self, block: int) -> float:
        """The draw of a block, uniform in [0, 1)."""
        page, place = divmod(block, BLOCKS_DRAWN)
        return float(self._drawn(page)[place])

    def range(self, block: int, count: int) -> NDArray[np.float64]:
        """The draws of `count` blocks, shape (count,)."""
        page, first = divmod(block, BLOCKS_DRAWN)
        if first + count <= BLOCKS_DRAWN:
            return self._drawn(page)[first : first + count]
        pages = range(page, (block + count - 1) // BLOCKS_DRAWN + 1)
        return np.concatenate([self._drawn(one) for one in pages])[first : first + count]

    def _drawn(self, page: int) -> NDArray[np.float64]:
        if page != self._page:
            self._page, self._draws_P = page, uniforms(self._key, page, BLOCKS_DRAWN)
        return self._draws_P
