"""`netgpt chat`: a conversation, a line a turn. With piped standard input, each line is a turn as well."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from netgpt.cli.ask import add_door_arguments, request_body, stream_answer
from netgpt.core.errors import NetgptError, UsageError
from netgpt.core.spelling import did_you_mean

if TYPE_CHECKING:
    from netgpt.cli.door_client import Told

COMMANDS = {
    "/model": "NAME: let another model answer; without a name, list them",
    "/node": "NAME: enter at another node's door; the conversation goes with you",
    "/stats": "show how the last answer came about",
    "/help": "show these commands",
    "/quit": "leave (so do Ctrl-C and Ctrl-D)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_door_arguments(parser)
    parser.epilog = "In the conversation: " + "; ".join(f"{name} {text}" for name, text in COMMANDS.items())


def run(args: argparse.Namespace) -> int:
    at_terminal = sys.stdin.isatty()
    conversation = Conversation(args)
    if at_terminal:
        import readline  # noqa: F401 - line editing for input()

        print(f"at {conversation.url}, model {args.model}; /help shows the commands", file=sys.stderr)
    try:
        while (line := _read_line(at_terminal)) is not None and line != "/quit":
            try:
                conversation.take(line)
            except NetgptError as error:
                if not at_terminal:
                    raise
                print(f"error: {error.message}\nnext: {error.hint}", file=sys.stderr)
    except KeyboardInterrupt:
        print(file=sys.stderr)
    return 0


def _read_line(at_terminal: bool) -> str | None:
    try:
        return input("> " if at_terminal else "").strip()
    except EOFError:
        return None


class Conversation:
    """The turns so far, and at which door they are taken. A turn that fails is not remembered."""

    def __init__(self, args: argparse.Namespace) -> None:
        from netgpt.cli.door_client import find_door, find_key

        self._args = args
        self._turns: list[dict[str, str]] = []
        self._last: Told | None = None
        self.url = find_door(args.home, url=args.url, node=args.node)
        self._key = find_key(args.home, url=args.url)

    def take(self, line: str) -> None:
        """Answer one line of input, or obey it if it is a command."""
        if line.startswith("/"):
            self._obey(*line.split(maxsplit=1))
        elif line:
            self._answer(line)

    def _answer(self, question: str) -> None:
        from netgpt.cli.door_client import DoorClient

        turns = [*self._turns, {"role": "user", "content": question}]
        with DoorClient(self.url, self._key) as client:
            self._last = stream_answer(client, request_body(self._args, turns))
        self._turns = [*turns, {"role": "assistant", "content": self._last.text}]

    def _obey(self, command: str, argument: str = "") -> None:
        match command:
            case "/model":
                self._choose_model(argument)
            case "/node":
                self._move(argument)
            case "/stats":
                self._show_stats()
            case "/help":
                print("\n".join(f"{name:<8}{text}" for name, text in COMMANDS.items()), file=sys.stderr)
            case _:
                raise UsageError(f"unknown command {command!r}", hint=did_you_mean(command, COMMANDS))

    def _choose_model(self, name: str) -> None:
        from netgpt.cli.door_client import DoorClient

        with DoorClient(self.url, self._key) as client:
            names = [model["id"] for model in client.models()]
        if not name:
            print("\n".join(names), file=sys.stderr)
        elif name not in names:
            raise UsageError(f"no model {name!r}", hint=did_you_mean(name, names))
        else:
            self._args.model = name

    def _move(self, node: str) -> None:
        from netgpt.cli.door_client import find_door, find_key

        if not node:
            raise UsageError("/node needs a node's name", hint="see the nodes: netgpt ps")
        self.url = find_door(self._args.home, url=None, node=node)
        self._key = find_key(self._args.home, url=None)

    def _show_stats(self) -> None:
        from netgpt.cli.door_client import summary

        print(summary(self._last) if self._last else "nothing was answered yet", file=sys.stderr)
