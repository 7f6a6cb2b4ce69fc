"""A timer that is as precise as the machine: event loops round to milliseconds, a link does not."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import math
import os
import sys
from collections.abc import Callable

_CLOCK_MONOTONIC, _RELATIVE = 1, 0


class _Timespec(ctypes.Structure):
    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


class Alarm:
    """Calls `ring` once at the time that was last set, by whatever clock that runs as fast as the machine's. Belongs to the running loop."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._ring = ring
        self._at_s = math.inf
        self._handle = -1
        self._timer: asyncio.TimerHandle | None = None
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._handle = self._libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
            self._spec = _Itimerspec()
            self._spec_address = ctypes.byref(self._spec)
        if self._handle >= 0:
            self._loop.add_reader(self._handle, self._rang)

    def set(self, at_s: float, now_s: Callable[[], float]) -> None:
        """Ring when the clock `now_s` says `at_s`, not at the time that was set before; never at `math.inf`."""
        if at_s == self._at_s:
            return
        self._at_s = at_s
        after_s = at_s if at_s == math.inf else at_s - now_s()
        if self._handle < 0:
            self._set_coarse(after_s)
            return
        after_ns = 0 if after_s == math.inf else max(1, int(after_s * 1e9))  # 0 switches it off
        self._spec.it_value.tv_sec, self._spec.it_value.tv_nsec = divmod(after_ns, 1_000_000_000)
        self._libc.timerfd_settime(self._handle, _RELATIVE, self._spec_address, None)

    def _set_coarse(self, after_s: float) -> None:
        """Where there is no timerfd: to a millisecond or so."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if after_s == math.inf else self._loop.call_later(max(0.0, after_s), self._rang)

    def _rang(self) -> None:
        if self._handle >= 0:
            with contextlib.suppress(BlockingIOError):
                os.read(self._handle, 8)
        self._at_s = math.inf
        self._ring()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._handle >= 0:
            self._loop.remove_reader(self._handle)
            os.close(self._handle)
            self._handle = -1
