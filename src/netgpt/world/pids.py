"""Processes of this machine by pid *and* start time, so that a recycled pid is never taken for ours.

Knows Linux's `/proc` and pidfds; knows nothing of what the processes do.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_STATE, _USER_TIME, _SYSTEM_TIME, _START_TIME = 0, 11, 12, 19  # fields after the command name in /proc/PID/stat: proc_pid_stat(5), from field 3


@dataclass(frozen=True, kw_only=True)
class Pid:
    """One process, for as long as the machine runs. `started_ticks` counts clock ticks since boot."""

    number: int
    started_ticks: int


def pid_of(number: int) -> Pid | None:
    """The process that has this pid now; None if there is none, or it has ended and waits to be reaped."""
    fields = _stat(number)
    return None if not fields or fields[_STATE] in "ZX" else Pid(number=number, started_ticks=int(fields[_START_TIME]))


def _stat(number: int) -> list[str]:
    """The fields after the command name; none if there is no such process."""
    try:
        text = (_PROC / str(number) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text[text.rindex(")") + 2 :].split()


def is_alive(pid: Pid) -> bool:
    return pid_of(pid.number) == pid


def uptime_s(pid: Pid) -> float:
    """Seconds since the process was started."""
    since_boot_s = float((_PROC / "uptime").read_text(encoding="ascii").split()[0])
    return max(0.0, since_boot_s - pid.started_ticks / os.sysconf("SC_CLK_TCK"))


def cpu_s(pid: Pid) -> float:
    """Processor time that it has used, in its own and the kernel's code; 0 if it has ended."""
    fields = _stat(pid.number)
    return sum(int(fields[place]) for place in (_USER_TIME, _SYSTEM_TIME)) / os.sysconf("SC_CLK_TCK") if fields else 0.0


def rss_bytes(pid: Pid) -> int:
    """Resident memory; 0 if the process has ended."""
    try:
        return int((_PROC / str(pid.number) / "statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def end_processes(pids: Iterable[Pid], *, grace_s: float) -> list[Pid]:
    """Ask every process that still lives to end (SIGTERM), and kill what lives after `grace_s` seconds.

    Returns:
        The processes that lived when this was called; none of them lives when it returns.
    """
    with ExitStack() as stack:
        handles: dict[int, Pid] = {}
        for pid in pids:
            if (handle := open_handle(pid)) is not None:
                stack.callback(os.close, handle)
                handles[handle] = pid
        living = set(handles)
        for signal_number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
            for handle in living:
                _send(handle, signal_number)
            living = _wait(living, wait_s)
        return list(handles.values())


def wait_for_end(pid: Pid, *, timeout_s: float) -> bool:
    """Whether the process has ended `timeout_s` seconds from now, or earlier."""
    handle = open_handle(pid)
    if handle is None:
        return True
    try:
        return not _wait({handle}, timeout_s)
    finally:
        os.close(handle)


def open_handle(pid: Pid) -> int | None:
    """A handle that stays with the process even when its pid is given to another, and is readable once it has ended; None if it has."""
    try:
        handle = os.pidfd_open(pid.number)
    except ProcessLookupError:
        return None
    if is_alive(pid):  # asked after opening: from here on the handle cannot mean another process
        return handle
    os.close(handle)
    return None


def _send(handle: int, signal_number: int) -> None:
    try:
        signal.pidfd_send_signal(handle, signal_number)
    except ProcessLookupError:
        return


def _wait(handles: set[int], timeout_s: float) -> set[int]:
    """The handles whose processes still live after `timeout_s`."""
    poll = select.poll()
    for handle in handles:
        poll.register(handle, select.POLLIN)
    living, deadline_s = set(handles), time.monotonic() + timeout_s
    while living and (left_s := deadline_s - time.monotonic()) > 0:
        for handle, _ in poll.poll(left_s * 1000):
            poll.unregister(handle)
            living.discard(handle)
    return living
