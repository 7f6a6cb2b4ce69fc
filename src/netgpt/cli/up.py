"""`netgpt up`: start a network on this machine and say how to use it."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from netgpt.api.key_file import KeyStore
from netgpt.cli.table import format_table
from netgpt.core.clock import WallClock
from netgpt.core.errors import NotRunning
from netgpt.core.settings import BY_NAME, Resolved, default_home, resolve_settings
from netgpt.network.scenario import Scenario
from netgpt.network.scenario_file import load_scenario, shipped_scenarios
from netgpt.world.request import UpRequest
from netgpt.world.runstate import DOOR, RunState, read_state

QUESTION = "What is the role of NWDAF?"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("scenario", nargs="?", metavar="SCENARIO", help="a shipped scenario's name, or a .toml file (default: campus)")
    parser.add_argument("--detach", action="store_true", help="return when the network is up; stop it with netgpt down")
    options = (
        ("port", "N"),
        ("host", "ADDRESS"),
        ("timing", "real|declared"),
        ("engine", "torch|hash"),
        ("dtype", "float32|bfloat16"),
        ("tls", "off|on"),
        ("links", "off|stream|packet"),
        ("policy", "NAME"),
        ("until_pid", "PID"),
    )
    for name, metavar in options:
        setting = BY_NAME[name]
        parser.add_argument(setting.flag, metavar=metavar, help=f"{setting.help} (default: {setting.default})")


def run(args: argparse.Namespace) -> int:
    from netgpt.world.background import start_in_background
    from netgpt.world.launch import run_network

    request = _request(args)
    home_flag = home_option(args.home)

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def show(state: RunState) -> None:
        needs_key = bool(KeyStore(args.home, WallClock()).ring().keys)
        print(ready_screen(state, home_flag=home_flag, detached=args.detach, needs_key=needs_key), flush=True)

    if not args.detach:
        run_network(request, say=say, when_ready=show)
        return 0
    start_in_background(request, say=say)
    state = read_state(args.home)
    if state is None:
        raise NotRunning("the network was stopped as soon as it was up", hint="start it again: netgpt up")
    show(state)
    return 0


def settings_with_scenario(flags: Mapping[str, object]) -> tuple[dict[str, Resolved], Scenario]:
    """All settings, the scenario's own among them.

    Raises:
        UsageError: a setting's value is wrong, or a NETGPT_ variable unknown.
        ScenarioInvalid: the scenario is unknown or wrong.
    """
    name = resolve_settings(environment=os.environ, flags=flags)["scenario"].value
    scenario = load_scenario(name)
    layer = {"default_node": scenario.default_node, "agreement": scenario.agreement}
    return resolve_settings(environment=os.environ, flags=flags, scenario=layer), scenario


def _request(args: argparse.Namespace) -> UpRequest:
    from netgpt.inference.policy import check_policy

    resolved, _ = settings_with_scenario(args.flags)
    check_policy(resolved["policy"].value)
    asked = {field.name for field in dataclasses.fields(UpRequest)}
    values = {name: each.value for name, each in resolved.items() if name in asked}
    scenario = values["scenario"] if values["scenario"] in shipped_scenarios() else str(Path(values["scenario"]).absolute())
    return UpRequest(**(values | {"scenario": scenario, "home": str(values["home"])}))


def home_option(home: Path) -> str:
    """` --home DIR` if a command in another terminal needs it to find this home, else nothing."""
    return "" if home == default_home(os.environ) else f" --home {shlex.quote(str(home))}"


def ready_screen(state: RunState, *, home_flag: str, detached: bool, needs_key: bool = False) -> str:
    """What a user needs once the network is up, for 100 columns of plain text."""
    doors = state.doors()
    url = doors[state.default_node]
    nodes = [process for process in state.processes if process.role == DOOR and process.node]
    rows = [[process.node, process.tier, process.model, doors[process.node or ""], process.state] for process in nodes]
    netgpt = "netgpt" if shutil.which("netgpt") else _own_command()
    stop = f"{netgpt} down{home_flag}"
    key = "\n    -H 'Authorization: Bearer ngpt_...' \\" if needs_key else ""
    links = f"\n  {netgpt} links{home_flag}" if state.links != "off" else ""
    return f"""
{format_table(["NODE", "TIER", "MODEL", "DOOR", "STATE"], rows)}
{_timing_lines(state)}
The network {state.scenario!r} is up. You enter at {state.default_node}'s door, an OpenAI-compatible API:

  base URL   {url}/v1

  curl {url}/v1/chat/completions \\
    -H 'Content-Type: application/json' \\{key}
    -d '{{"model": "auto", "temperature": 0,
         "messages": [{{"role": "user", "content": "{QUESTION}"}}]}}'

  {netgpt} ask{home_flag} {shlex.quote(QUESTION)}
  {netgpt} chat{home_flag}
  {netgpt} ps{home_flag}
  {netgpt} log{home_flag}{links}

Stop it with {stop if detached else f"Ctrl-C, or {stop} in another terminal"}.""".lstrip("\n")


def _timing_lines(state: RunState) -> str:
    """Whose times these are, so that nobody takes a declared machine's for this one's."""
    if not state.declared:
        return ""
    lines = "".join(f"  {node}: {machine}\n" for node, machine in state.declared.items())
    return f"\nTiming is declared: no answer comes before these machines would give it.\n{lines}"


def _own_command() -> str:
    """This very command, for a shell in which its environment is not active."""
    path = Path(sys.argv[0])
    return f"{_from_here(Path(sys.executable))} -m netgpt" if path.name == "__main__.py" else _from_here(path)


def _from_here(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
