"""One life of one child process: spawned, ready or failed, ended.

Knows how a child says that it is ready (`world.process`); knows nothing of why it was started, nor of
what comes after its death.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from netgpt.core.errors import BY_CODE, DeadlineExceeded, NetgptError, NodeUnreachable
from netgpt.world.pids import Pid, pid_of


class Child:
    """A running child. Its stdin closes when this process ends, however it ends."""

    def __init__(self, name: str, log: Path, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.pid: Pid | None = pid_of(process.pid)
        self._log = log
        self._process = process

    @classmethod
    async def spawn(cls, name: str, command: Sequence[str], *, environment: Mapping[str, str], log: Path) -> Child:
        """Start `command` in a session of its own (a Ctrl-C at our terminal is ours alone); stderr is added to `log`."""
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=handle,
                env=os.environ | dict(environment),
                start_new_session=True,
            )
        finally:
            os.close(handle)
        return cls(name, log, process)

    async def ready(self, *, deadline_s: float) -> dict[str, int]:
        """Wait until the child says that it is ready, and return its ports.

        Raises:
            NetgptError: what the child says is wrong.
            NodeUnreachable: it ended without a word.
            DeadlineExceeded: it said nothing for `deadline_s` seconds.
        """
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(deadline_s):
                line = await self._process.stdout.readline()
        except TimeoutError:
            raise DeadlineExceeded(f"{self.name!r} was not ready within {deadline_s:g} s", hint=self._hint) from None
        if line.endswith(b"\n"):
            message = json.loads(line)
            if "ready" in message:
                return message["ready"]
            error = message["error"]
            raise BY_CODE.get(error["code"], NetgptError)(f"{self.name}: {error['message']}", hint=error["hint"])
        exit_text = describe_exit(await self._process.wait())
        raise NodeUnreachable(f"{self.name!r} ended with {exit_text} before it was ready{self._last_words()}", hint=self._hint)

    @property
    def _hint(self) -> str:
        return f"read its log: netgpt log {self.name}"

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f": {last}" if last else ""

    async def wait(self) -> str:
        """Wait until the child has ended; say how."""
        return describe_exit(await self._process.wait())

    async def end(self, *, grace_s: float) -> None:
        """SIGTERM, and SIGKILL if it still lives after `grace_s`. Returns when it has ended."""
        try:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._process.wait()
        finally:
            self._signal(signal.SIGKILL)
            await self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        """Not by the process's own `send_signal`: it may reap a child that has just ended, and then nobody learns how."""
        if self._process.returncode is None:  # not reaped: the pid is still the child's
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)


def describe_exit(status: int) -> str:
    """`exit status 1`, or `signal SIGKILL`."""
    return f"exit status {status}" if status >= 0 else f"signal {signal.Signals(-status).name}"
