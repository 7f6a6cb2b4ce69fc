"""A process of the emulated network: `python -m netgpt.world.process ROLE CONFIG.json`.

It says on stdout, in one line of JSON, that it is ready (`{"ready": {"port": ...}}`) or why it cannot be
(`{"error": {...}}`); everything else that it has to say is its log, on stderr. It stops on SIGTERM, and
when its stdin closes: that pipe's other end is the supervisor's, so that no process outlives it.
It knows nothing of what a role does.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from netgpt.core.clock import WallClock
from netgpt.core.errors import NetgptError
from netgpt.telemetry.log import Log
from netgpt.world.config import Config, ControllerConfig, DoorConfig, EngineConfig, ShaperConfig, UpstreamConfig
from netgpt.world.logs import join_library_logs

ORPHAN_GRACE_S = 1.5  # an orphan that has not stopped by itself by then is ended
GC_THRESHOLDS = (2_000, 5, 100)
# A door's requests leave nothing to the garbage collector (tests/api/test_garbage.py), and each of its looks holds up every stream: at all
# the 150,000 objects of a thousand open ones for 10 to 20 ms. So it looks at what is new, some hundred microseconds' worth, and hardly
# ever at the rest.
DOOR_GC_THRESHOLDS = (2_000, 500, 100)
CONFIGS: dict[str, type[Config]] = {"controller": ControllerConfig, "engine": EngineConfig, "door": DoorConfig, "shaper": ShaperConfig}

Ready = Callable[[dict], None]
Work = Callable[[Ready, asyncio.Event], Awaitable[None]]


class ReadyPipe:
    """The supervisor's end of stdout, taken before anything can print there. Carries one line."""

    def __init__(self, gc_thresholds: tuple[int, int, int]) -> None:
        self._gc_thresholds = gc_thresholds
        self._handle: int | None = os.dup(sys.stdout.fileno())
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print goes to the log

    @property
    def told(self) -> bool:
        return self._handle is None

    def ready(self, ports: dict) -> None:
        _spare_what_stays(self._gc_thresholds)
        self._tell({"ready": ports})

    def failed(self, error: NetgptError) -> None:
        self._tell({"error": {"code": error.code, "message": error.message, "hint": error.hint}})

    def _tell(self, message: dict) -> None:
        if self._handle is not None:
            with contextlib.suppress(BrokenPipeError):  # the supervisor is gone: stdin closes too
                os.write(self._handle, json.dumps(message).encode() + b"\n")
            os.close(self._handle)
            self._handle = None


def _spare_what_stays(gc_thresholds: tuple[int, int, int]) -> None:
    """What a process has loaded by now stays for its life: the garbage collector shall not stop answers to look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*gc_thresholds)


def run_process(work: Work, *, source: str, gc_thresholds: tuple[int, int, int] = GC_THRESHOLDS) -> int:
    """Run `work(ready, stop)` until it returns, under uvloop, and return the exit status.

    Args:
        source: this process's name, for its log.
        gc_thresholds: how rarely the garbage collector looks at objects made since the process was ready (`gc.set_threshold`).
    """
    pipe = ReadyPipe(gc_thresholds)
    log = Log(sys.stderr, WallClock(), source=source)
    join_library_logs(sys.stderr)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_until_stopped(work, pipe, log))
    except NetgptError as error:
        log.error(error.message, code=error.code, hint=error.hint)
        pipe.failed(error)
        return error.exit_code
    except Exception:
        log.error("an error that nobody expected")
        traceback.print_exc()
        return 1
    return 0


async def _until_stopped(work: Work, pipe: ReadyPipe, log: Log) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    threading.Thread(target=_watch_supervisor, args=(loop, stop, log), name="watch-supervisor", daemon=True).start()
    await work(pipe.ready, stop)


def _watch_supervisor(loop: asyncio.AbstractEventLoop, stop: asyncio.Event, log: Log) -> None:
    """Stop this process when stdin closes. A thread, since the loop may be busy when that happens."""
    with contextlib.suppress(OSError):
        while os.read(sys.stdin.fileno(), 4096):
            pass
    log.warning("the supervisor is gone: stopping")
    with contextlib.suppress(RuntimeError):  # the loop has closed: this process ends anyway
        loop.call_soon_threadsafe(stop.set)
    time.sleep(ORPHAN_GRACE_S)
    os._exit(1)


async def serve(role: str, config: Config, ready: Ready, stop: asyncio.Event) -> None:
    """Do what the role does. Imported here: the supervisor is watched while torch loads."""
    from netgpt.world.serve import serve_controller, serve_door, serve_engine

    match config:
        case ControllerConfig():
            await serve_controller(config, ready, stop)
        case EngineConfig():
            await serve_engine(config, ready, stop)
        case DoorConfig():
            await serve_door(config, ready, stop)
        case ShaperConfig():
            from netgpt.world.shaper import serve_shaper

            await serve_shaper(config, ready, stop)


def read_config(role: str, path: Path) -> Config:
    """The configuration that the supervisor wrote."""
    record = json.loads(path.read_text(encoding="utf-8"))
    kind = CONFIGS[role]
    if record.get("upstream"):
        record["upstream"] = UpstreamConfig(**record["upstream"])
    return kind(**{field.name: record[field.name] for field in dataclasses.fields(kind)})


def main(role: str, config_file: str) -> int:
    config = read_config(role, Path(config_file))
    thresholds = DOOR_GC_THRESHOLDS if role == "door" else GC_THRESHOLDS
    return run_process(lambda ready, stop: serve(role, config, ready, stop), source=Path(config_file).stem, gc_thresholds=thresholds)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
