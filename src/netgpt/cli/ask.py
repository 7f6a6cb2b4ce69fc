"""`netgpt ask`: one question, one answer. The answer alone goes to stdout."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from netgpt.core.errors import NetgptError, UsageError

if TYPE_CHECKING:
    from netgpt.cli.door_client import DoorClient, Told

COMPRESS = ("never", "auto", "always")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("question", nargs="?", help="what to ask; - or nothing reads it from standard input")
    add_door_arguments(parser)
    parser.add_argument("--stream", action=argparse.BooleanOptionalAction, default=True, help="print text as it comes")
    parser.add_argument("--json", action="store_true", help="print the door's whole reply as JSON")


def add_door_arguments(parser: argparse.ArgumentParser) -> None:
    """Which door, which model, how to answer and within which limits: the same for `ask`, `chat` and `plan`."""
    door = parser.add_mutually_exclusive_group()
    door.add_argument("--node", help="enter at this node's door (default: the scenario's default node)")
    door.add_argument("--url", help="enter at the door with this URL, whatever runs here")
    parser.add_argument("--model", default="auto", help="netgpt-device, netgpt-edge, netgpt-cloud, auto, cascade or route (default: auto)")
    parser.add_argument("--system", metavar="TEXT", help="instructions that go before the conversation")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 to 2; 0 always takes the likeliest token (default: 0)")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="at most so many tokens (default: as many as the model's context holds)")
    parser.add_argument("--seed", type=int, help="the same seed gives the same answer")
    parser.add_argument("--service", metavar="CLASS", help="by which weights auto chooses: interactive, batch or critical (default: interactive)")
    parser.add_argument("--privacy", metavar="LEVEL", help="who may see it: device-only, edge-allowed or cloud-allowed (default: cloud-allowed)")
    parser.add_argument("--deadline", type=float, metavar="SECONDS", help="after which the answer is of no use")
    parser.add_argument("--max-cost", type=float, metavar="COST", help="in the unit of the nodes' prices")
    parser.add_argument("--max-energy", type=float, metavar="JOULES", help="of the entry node's energy")
    parser.add_argument(
        "--compress", choices=COMPRESS, default=COMPRESS[0], help="whether what tells least may be left out of the question (default: never)"
    )


def run(args: argparse.Namespace) -> int:
    from netgpt.cli.door_client import DoorClient, find_door, find_key

    body = request_body(args, [{"role": "user", "content": _question(args.question)}])
    with DoorClient(find_door(args.home, url=args.url, node=args.node), find_key(args.home, url=args.url)) as client:
        if args.json:
            json.dump(client.complete(body), sys.stdout, indent=2)
            print()
        else:
            _answer(client, body, stream=args.stream)
    return 0


def request_body(args: argparse.Namespace, messages: list[dict[str, str]]) -> dict[str, Any]:
    """A chat completion's body for these arguments; what was not given is left out."""
    system = [{"role": "system", "content": args.system}] if args.system else []
    wishes = {"temperature": args.temperature, "max_tokens": args.max_tokens, "seed": args.seed, "service": args.service, "privacy": args.privacy}
    wishes |= {"deadline_s": args.deadline, "max_cost": args.max_cost, "max_energy_j": args.max_energy}
    wishes |= {"compress": None if args.compress == COMPRESS[0] else {"when": args.compress}}
    return {"model": args.model, "messages": system + messages, **{name: value for name, value in wishes.items() if value is not None}}


def _question(given: str | None) -> str:
    if given is not None and given != "-":
        if not given.strip():
            raise UsageError("the question is empty", hint='run: netgpt ask "What is 5QI 1?"')
        return given
    if given is None and sys.stdin.isatty():
        raise UsageError("no question given", hint='run: netgpt ask "What is 5QI 1?", or pipe the question in')
    question = sys.stdin.read().strip()
    if not question:
        raise UsageError("standard input holds no question", hint='run: netgpt ask "What is 5QI 1?"')
    return question


def _answer(client: DoorClient, body: dict[str, Any], *, stream: bool) -> None:
    from netgpt.cli.door_client import summary

    if stream:
        told = stream_answer(client, body)
    else:
        told = client.stream(body, lambda _: None)
        show_text(told.text)
        print()
    if sys.stderr.isatty():
        print(summary(told), file=sys.stderr)


def stream_answer(client: DoorClient, body: dict[str, Any]) -> Told:
    """Print an answer as it comes, and a newline after it, even if it breaks off."""
    shown = 0

    def show(text: str) -> None:
        nonlocal shown
        shown += len(text)
        show_text(text)

    try:
        told = client.stream(body, show)
    except NetgptError:
        if shown:
            print()
        raise
    print()
    return told


def show_text(text: str) -> None:
    """Print a part of an answer at once; a terminal gets no control characters."""
    from netgpt.cli.door_client import printable

    print(printable(text) if sys.stdout.isatty() else text, end="", flush=True)
