"""What TCP over IPv4 adds to a payload, as the links of the simulated world and the link shaper's mode `stream` charge it."""

from __future__ import annotations

SEGMENT_BYTES = 1448  # of payload; 1,500 with the headers below
HEADER_BYTES = 52  # IPv4 20, TCP 20, timestamps 12 (RFC 7323)


def charged_bytes(payload_bytes: int) -> int:
    """What TCP over IPv4 sends for so much payload, in full segments."""
    return payload_bytes + HEADER_BYTES * segments(payload_bytes)


def segments(payload_bytes: int) -> int:
    return -(-payload_bytes // SEGMENT_BYTES)
