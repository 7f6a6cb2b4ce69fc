"""`netgpt node`: this machine as a node of a network of several machines."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from netgpt.cli.up import home_option
from netgpt.core.errors import StorageFailed, UsageError
from netgpt.core.settings import BY_NAME, resolve_settings
from netgpt.network.scenario import TIERS
from netgpt.world.runstate import RunState

DOOR = "127.0.0.1:8080"
MOST_ENTRIES = 1_000_000
SETTINGS = ("engine", "dtype", "threads", "models", "agreement", "allowed_hosts", "wire_version", "policy", "until_pid")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--join", metavar="TOKEN", default="", help="of netgpt join-token create, or @FILE that holds it; for the first start alone")
    parser.add_argument("--controller", metavar="HOST:PORT", default="", help="where the controller listens (default: as at the first start)")
    parser.add_argument("--tier", choices=TIERS, default="", help="what the token says, as a check")
    parser.add_argument("--model", metavar="NAME", default="", help="the model to run (default: netgpt-TIER)")
    parser.add_argument("--listen", metavar="HOST:PORT", required=True, help="where other nodes reach this one's engine, over mutual TLS")
    parser.add_argument("--door", metavar="HOST:PORT", default=DOOR, help=f"this node's OpenAI-compatible API (default: {DOOR})")
    who_answers = parser.add_mutually_exclusive_group()
    for name, metavar, group in (("engine", "torch|hash", who_answers), ("dtype", "float32|bfloat16", parser), ("policy", "NAME", parser)):
        setting = BY_NAME[name]
        group.add_argument(setting.flag, metavar=metavar, help=f"{setting.help} (default: {setting.default})")
    who_answers.add_argument("--upstream", metavar="URL", default="", help="ask the OpenAI-compatible server at this base URL for --model")
    parser.add_argument("--api-key-env", metavar="NAME", default="", help="--upstream: the environment variable that holds its key")
    parser.add_argument("--context-tokens", metavar="N", type=int, default=0, help="--upstream: its model's context, where the server does not tell")
    parser.add_argument(
        "--cache-entries",
        metavar="N",
        type=entries,
        default=0,
        help="of an edge node: answers that it keeps for requests that ask for it (default: 0)",
    )


def entries(text: str) -> int:
    """How many answers a node keeps, 0 to a million; raises ValueError."""
    if not 0 <= (number := int(text)) <= MOST_ENTRIES:
        raise ValueError
    return number


def run(args: argparse.Namespace) -> int:
    from netgpt.inference.policy import check_policy
    from netgpt.world.deployed import NodeRequest, parse_address, run_node

    _check_upstream_options(args)
    resolved = resolve_settings(environment=os.environ, flags=args.flags)
    check_policy(resolved["policy"].value)
    request = NodeRequest(
        home=args.home,
        listen=parse_address(args.listen, "listen"),
        door=parse_address(args.door, "door"),
        controller=str(parse_address(args.controller, "controller")) if args.controller else "",
        token=token_text(args.join),
        tier=args.tier,
        model=args.model,
        upstream=args.upstream,
        api_key_env=args.api_key_env,
        context_tokens=args.context_tokens,
        cache_entries=args.cache_entries,
        **{name: resolved[name].value for name in SETTINGS},
    )

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def show(state: RunState) -> None:
        url = state.doors()[state.default_node]
        print(f"The node {state.default_node!r} is up: its door is {url}/v1, other nodes reach it at {request.listen}\n", flush=True)
        print(f"Stop it with Ctrl-C, or netgpt down{home_option(args.home)} in another terminal.", flush=True)

    run_node(request, say=say, when_ready=show)
    return 0


def _check_upstream_options(args: argparse.Namespace) -> None:
    if args.upstream or not (args.api_key_env or args.context_tokens):
        return
    flag = "--api-key-env" if args.api_key_env else "--context-tokens"
    raise UsageError(
        f"{flag} is about an upstream, and none is given", hint="give its base URL: --upstream http://127.0.0.1:8000/v1", param="upstream"
    )


def token_text(given: str) -> str:
    """The token itself, or what the file after `@` holds: other users can see a command line.

    Raises:
        StorageFailed: the file cannot be read.
    """
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StorageFailed(f"cannot read the token in {given[1:]!r}", hint="write it there: netgpt join-token create ... > FILE") from error
