"""Hardware profiles as data, and how long a model's work takes on them.

A first-order roofline: prefill is bound by arithmetic, decoding by reading the weights once per step
for the whole batch, whichever is slower. What it leaves out (attention's quadratic term, KV reads) is
small for the prompt lengths of today's scenarios.

Source of the form: Pope et al., Efficiently scaling transformer inference, arXiv 2211.05102, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

from netgpt.core.errors import ScenarioInvalid
from netgpt.core.spelling import did_you_mean


@dataclass(frozen=True, kw_only=True)
class HardwareProfile:
    """What a machine can do. Peak figures times `efficiency` are what inference sees."""

    id: str
    flops: float  # dense 16-bit multiply-adds counted as two, 1/s
    memory_bytes_per_s: float
    efficiency: float
    source: str


# Peak figures are the vendors' own data sheets; the efficiency is an assumption, the same for all.
PROFILES: dict[str, HardwareProfile] = {
    profile.id: profile
    for profile in (
        HardwareProfile(
            id="phone",
            flops=4e12,
            memory_bytes_per_s=60e9,
            efficiency=0.4,
            source="assumed: 16-bit NPU rate and LPDDR5X bandwidth of a 2024 flagship phone",
        ),
        HardwareProfile(
            id="edge-server", flops=120e12, memory_bytes_per_s=300e9, efficiency=0.4, source="NVIDIA L4 data sheet: 121 TFLOP/s bf16, 300 GB/s"
        ),
        HardwareProfile(
            id="cloud-server",
            flops=989e12,
            memory_bytes_per_s=3350e9,
            efficiency=0.4,
            source="NVIDIA H100 SXM data sheet: 989 TFLOP/s bf16, 3.35 TB/s",
        ),
    )
}

BYTES_PER_PARAMETER = 2  # 16-bit weights


def find_profile(profile_id: str) -> HardwareProfile:
    """The profile of that name.

    Raises:
        ScenarioInvalid: unknown name.
    """
    if profile_id not in PROFILES:
        raise ScenarioInvalid(f"unknown hardware profile {profile_id!r}", hint=did_you_mean(profile_id, PROFILES))
    return PROFILES[profile_id]


def prefill_time_s(profile: HardwareProfile, parameters: int, tokens: int) -> float:
    """Duration of computing `tokens` prompt tokens of one model of `parameters` weights."""
    arithmetic_s = 2 * parameters * tokens / (profile.flops * profile.efficiency)
    return max(arithmetic_s, _weights_read_s(profile, parameters)) if tokens else 0.0


def decode_step_time_s(profile: HardwareProfile, parameters: int, batch: int) -> float:
    """Duration of one decoding step that makes one token for each of `batch` sessions."""
    arithmetic_s = 2 * parameters * batch / (profile.flops * profile.efficiency)
    return max(arithmetic_s, _weights_read_s(profile, parameters))


def _weights_read_s(profile: HardwareProfile, parameters: int) -> float:
    return BYTES_PER_PARAMETER * parameters / (profile.memory_bytes_per_s * profile.efficiency)
