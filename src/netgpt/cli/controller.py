"""`netgpt controller`: the control plane of a network of several machines."""

from __future__ import annotations

import argparse
import os
import sys

from netgpt.cli.up import home_option
from netgpt.core.settings import resolve_settings
from netgpt.world.runstate import RunState

HTTP = "127.0.0.1:8090"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", metavar="HOST:PORT", required=True, help="where nodes reach it, over mutual TLS")
    parser.add_argument("--http", metavar="HOST:PORT", default=HTTP, help=f"its HTTP API: nodes and events (default: {HTTP})")


def run(args: argparse.Namespace) -> int:
    from netgpt.world.deployed import ControllerRequest, parse_address, run_controller

    resolved = resolve_settings(environment=os.environ, flags=args.flags)
    request = ControllerRequest(
        home=args.home,
        listen=parse_address(args.listen, "listen"),
        http=parse_address(args.http, "http"),
        allowed_hosts=resolved["allowed_hosts"].value,
        until_pid=resolved["until_pid"].value,
    )

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def show(_: RunState) -> None:
        print(ready_text(args.listen, args.http, home_option(args.home)), flush=True)

    run_controller(request, say=say, when_ready=show)
    return 0


def ready_text(listen: str, http: str, home_flag: str) -> str:
    """What an operator does next."""
    return f"""The controller is up: nodes reach it at {listen}, people at http://{http}/api/v1/nodes

To let a machine in, make a token here:

  netgpt join-token create{home_flag} --node edge1 --tier edge

and start the node there, with that token:

  netgpt node --join TOKEN --controller {listen} --listen HOST:PORT

Stop it with Ctrl-C, or netgpt down{home_flag} in another terminal."""
