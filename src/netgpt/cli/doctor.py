"""`netgpt doctor`: whether this machine can run the network, and what to do where it cannot.

Each check looks and changes nothing. Exit status 1 if one fails; a warning is no failure.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from netgpt.cli.table import format_table
from netgpt.cli.up import settings_with_scenario
from netgpt.core.clock import WallClock
from netgpt.core.errors import NetgptError
from netgpt.core.settings import Resolved
from netgpt.core.units import format_bytes
from netgpt.models.store import read_card, search_path
from netgpt.network.scenario import Scenario
from netgpt.world.emulated import find_models, plan_ports
from netgpt.world.modelled import check_emulated
from netgpt.world.ports import is_port_free
from netgpt.world.runstate import read_state

OK, WARN, FAIL = "ok", "warn", "fail"
OLDEST_PYTHON = (3, 11)
DOOR_BYTES, ENGINE_BYTES = 120 << 20, 450 << 20  # of one process, with the shipped models
LITTLE_DISK_BYTES, NO_DISK_BYTES = 2 << 30, 100 << 20
RELEASE_DATE_S = 1_767_225_600.0  # 2026-01-01: a clock before that is wrong
COARSE_CLOCK_S = 1e-3


@dataclass(frozen=True, kw_only=True)
class Check:
    """One finding; `next` is the next step, empty when all is well."""

    name: str
    status: str
    detail: str
    next: str = ""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is to be started, and from where."""

    settings: dict[str, Resolved]
    scenario: Scenario

    @property
    def home(self) -> Path:
        return self.settings["home"].value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scenario", metavar="SCENARIO", help="the network to check for (default: campus)")
    parser.add_argument("--json", action="store_true", help="print a JSON list")


def run(args: argparse.Namespace) -> int:
    settings, scenario = settings_with_scenario(args.flags)
    check_emulated(scenario)
    subject = Subject(settings=settings, scenario=scenario)
    checks = [check(subject) for check in CHECKS]
    if args.json:
        json.dump([dataclasses.asdict(check) for check in checks], sys.stdout, indent=2)
        print()
    else:
        print(format_table(["CHECK", "STATUS", "FOUND"], [[check.name, check.status, check.detail] for check in checks]))
        for check in checks:
            if check.next:
                print(f"{check.name}: {check.next}")
    return int(any(check.status == FAIL for check in checks))


def check_python(_: Subject) -> Check:
    found = f"Python {platform.python_version()} on {platform.system()} {platform.release()}"
    if sys.version_info < OLDEST_PYTHON:
        return Check(name="python", status=FAIL, detail=found, next="install Python 3.11 or newer")
    if not hasattr(os, "pidfd_open"):
        return Check(name="python", status=FAIL, detail=found, next="netgpt up needs Linux 5.3 or newer; netgpt simulate runs everywhere")
    return Check(name="python", status=OK, detail=found)


def check_torch(_: Subject) -> Check:
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        return Check(name="torch", status=FAIL, detail=str(error), next="pip install torch; or use netgpt up --engine hash")
    return Check(name="torch", status=OK, detail=f"torch {torch.__version__}, {torch.get_num_threads()} threads")


def check_memory(subject: Subject) -> Check:
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    available_bytes = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    needed_bytes = len(subject.scenario.nodes) * (DOOR_BYTES + ENGINE_BYTES) + DOOR_BYTES
    detail = f"{format_bytes(available_bytes)} available, about {format_bytes(needed_bytes)} needed"
    if available_bytes < needed_bytes:
        return Check(name="memory", status=WARN, detail=detail, next="stop other programs, or choose a scenario with fewer nodes")
    return Check(name="memory", status=OK, detail=detail)


def check_disk(subject: Subject) -> Check:
    folder = next(path for path in (subject.home, *subject.home.parents) if path.exists())
    free_bytes = shutil.disk_usage(folder).free
    detail = f"{format_bytes(free_bytes)} free at {folder}"
    if not os.access(folder, os.W_OK):
        return Check(name="disk", status=FAIL, detail=f"{folder} cannot be written", next="choose another folder with --home")
    if free_bytes < LITTLE_DISK_BYTES:
        status = FAIL if free_bytes < NO_DISK_BYTES else WARN
        return Check(name="disk", status=status, detail=detail, next="free space, or choose another folder with --home")
    return Check(name="disk", status=OK, detail=detail)


def check_port_plan(subject: Subject) -> Check:
    first = subject.settings["port"].value
    if first == 0:
        return Check(name="ports", status=OK, detail="any free ones")
    ports = plan_ports(subject.scenario, first).all()
    detail = f"{ports[0]} to {ports[-1]}"
    state = read_state(subject.home)
    if state is not None and state.supervised:
        return Check(name="ports", status=OK, detail=f"{detail}; a network runs from this home")
    taken = [str(port) for port in ports if not is_port_free(port, subject.settings["host"].value)]
    if taken:
        return Check(name="ports", status=FAIL, detail=f"in use: {', '.join(taken)}", next="choose another first port: netgpt up --port N")
    return Check(name="ports", status=OK, detail=f"{detail} are free")


def check_models(subject: Subject) -> Check:
    try:
        folders = set(find_models(subject.scenario, search_path(subject.home, subject.settings["models"].value), fetch=False).values())
        cards = [read_card(folder) for folder in sorted(folders)]
    except NetgptError as error:
        status = WARN if subject.settings["engine"].value == "hash" else FAIL
        return Check(name="models", status=status, detail=error.message, next=f"{error.hint}; or try without: netgpt up --engine hash")
    return Check(name="models", status=OK, detail=", ".join(card.id for card in cards))


def check_clock(_: Subject) -> Check:
    resolution_s = time.get_clock_info("monotonic").resolution
    if WallClock().date_s() < RELEASE_DATE_S:
        return Check(name="clock", status=FAIL, detail="the date is before this release", next="set the machine's date: join tokens expire by it")
    if resolution_s > COARSE_CLOCK_S:
        return Check(name="clock", status=WARN, detail=f"resolution {resolution_s:g} s", next="timings will be coarse on this machine")
    return Check(name="clock", status=OK, detail=f"resolution {resolution_s:g} s")


def check_namespaces(_: Subject) -> Check:
    """Network namespaces give emulated links a kernel of their own; nothing needs them yet."""
    tool = shutil.which("unshare")
    if tool is None:
        return Check(name="namespaces", status=WARN, detail="no command unshare", next="only for kernel-level links: install util-linux")
    done = subprocess.run([tool, "--user", "--map-root-user", "--net", "true"], capture_output=True, text=True, timeout=10, check=False)
    if done.returncode:
        step = "only for kernel-level links: allow them with sysctl -w user.max_net_namespaces=1024 and kernel.unprivileged_userns_clone=1"
        return Check(name="namespaces", status=WARN, detail=done.stderr.strip() or "not permitted", next=step)
    return Check(name="namespaces", status=OK, detail="user and network namespaces are permitted")


CHECKS: tuple[Callable[[Subject], Check], ...] = (
    check_python, check_torch, check_memory, check_disk, check_port_plan, check_models, check_clock, check_namespaces,
)  # fmt: skip
