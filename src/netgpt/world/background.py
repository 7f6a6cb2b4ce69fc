"""A network that outlives the command that started it: `netgpt up --detach`.

`start_in_background` runs this module as a session leader of its own, hands it the request on stdin,
and reads lines of JSON from its stdout until the network is up or cannot be.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterable
from typing import Any

from netgpt.core.errors import BY_CODE, NetgptError, NotRunning
from netgpt.world.launch import Say, run_network
from netgpt.world.request import UpRequest
from netgpt.world.runstate import RunState

STOP_DEADLINE_S = 30.0


def start_in_background(request: UpRequest, *, say: Say) -> None:
    """Start the network and return when it is up. Its supervisor has no terminal and no open end of ours.

    Raises:
        NetgptError: what kept it from starting; everything is stopped.
    """
    command = [sys.executable, "-m", "netgpt.world.background"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdout as lines:
            with process.stdin as stdin:
                json.dump(dataclasses.asdict(request), stdin)
            _follow(lines, say)
    except BaseException:
        process.terminate()
        process.wait(STOP_DEADLINE_S)
        raise
    process.returncode = 0  # it is meant to outlive us: nobody waits for it


def _follow(lines: Iterable[str], say: Say) -> None:
    for line in lines:
        match json.loads(line):
            case {"say": text}:
                say(text)
            case {"ready": True}:
                return
            case {"error": error}:
                raise BY_CODE.get(error["code"], NetgptError)(error["message"], hint=error["hint"])
    raise NetgptError("the supervisor ended while it started the network", hint="read its log: netgpt log supervisor")


class _Reports:
    """The way to the command that started us; closed once the network is up."""

    def __init__(self) -> None:
        self._pipe: int | None = os.dup(sys.stdout.fileno())
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, sys.stdin.fileno())
        os.dup2(nowhere, sys.stdout.fileno())

    def tell(self, message: dict[str, Any]) -> None:
        """Raises NotRunning: that command has ended, and nobody waits for the network."""
        if self._pipe is None:
            return
        try:
            os.write(self._pipe, json.dumps(message).encode() + b"\n")
        except BrokenPipeError as error:
            self._close()
            raise NotRunning("the command that was starting this network has ended", hint="start it again: netgpt up") from error

    def ready(self, state: RunState) -> None:
        self.tell({"ready": True})
        self._close()

    def _close(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None

    def failed(self, error: NetgptError) -> None:
        self.tell({"error": {"code": error.code, "message": error.message, "hint": error.hint}})


def main() -> int:
    request = UpRequest(**json.load(sys.stdin))
    reports = _Reports()
    try:
        run_network(request, say=lambda text: reports.tell({"say": text}), when_ready=reports.ready, own_log=True)
    except NetgptError as error:
        reports.failed(error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        traceback.print_exc()
        reports.failed(NetgptError(f"{type(error).__name__}: {error}", hint="read the traceback: netgpt log supervisor"))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
