"""Fast fading: tapped delay lines whose taps turn with the way that a user goes.

Each tap is a sum of sinusoids with angles of arrival all around (Jakes' spectrum); the argument is the distance travelled, not
the time, so that Doppler follows the speed at every moment and a user who stops keeps the fade. What moves around a user goes
on at `SURROUNDINGS_MPS`. Profiles are those of TR 38.901 (clause 7.7.2); antennas fade independently and are
combined by maximum ratio.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netgpt.radio.large_scale import Profile

SINUSOIDS = 8  # a tap
SURROUNDINGS_MPS = 0.3
SLOTS_A_CHUNK = 4000


def power_gains(
    chance: np.random.Generator,
    profile: Profile,
    k: NDArray[np.float64] | None,
    turns: NDArray[np.float64],
    direct_turns: NDArray[np.float64],
    antennas: int,
    frequencies_hz: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Channel power over time and frequency, summed over antennas; the mean is `antennas`.

    Args:
        k: Rice factor (linear) at each time, shape (n,); None without a direct path.
        turns: wavelengths travelled, with what moves around, shape (n,).
        direct_turns: wavelengths travelled by the user, shape (n,).
        frequencies_hz: shape (f,), around the carrier.

    Returns:
        Shape (n, f).
    """
    taps = profile.powers.size
    spread = (np.arange(SINUSOIDS) + chance.random((antennas, taps, SINUSOIDS))) * 2 * np.pi / SINUSOIDS
    start = chance.random((antennas, taps, SINUSOIDS))
    direct_cosine, direct_start = np.cos(2 * np.pi * chance.random()), chance.random(antennas)
    steering = np.exp(-2j * np.pi * np.outer(profile.delays_s, frequencies_hz)).astype(np.complex64)
    weights = np.sqrt(profile.powers / SINUSOIDS).astype(np.float32)
    gains = np.empty((turns.size, frequencies_hz.size), np.float32)
    for begin in range(0, turns.size, SLOTS_A_CHUNK):
        part = slice(begin, begin + SLOTS_A_CHUNK)
        power = np.zeros((turns[part].size, frequencies_hz.size), np.float32)
        for antenna in range(antennas):
            phase = np.multiply.outer(turns[part], np.cos(spread[antenna])) + start[antenna]  # in turns, (n, taps, SINUSOIDS)
            phase = (2 * np.pi * (phase - np.floor(phase))).astype(np.float32)
            tap = weights * (np.cos(phase).sum(axis=2) + 1j * np.sin(phase).sum(axis=2))
            channel = tap.astype(np.complex64) @ steering
            if k is not None:
                whole = k[part, None]
                direct = np.exp(2j * np.pi * (direct_turns[part, None] * direct_cosine + direct_start[antenna]))
                channel = np.sqrt(1 / (1 + whole)) * channel + np.sqrt(whole / (1 + whole)) * direct
            power += (channel.real**2 + channel.imag**2).astype(np.float32)
        gains[part] = power
    return gains
