"""The command `netgpt`: finds the verb, runs it, and turns every error into two lines and an exit status.

Imports a verb's module only when that verb is chosen, so that `netgpt --help` is instant. A verb's module
has `add_arguments(parser)` and `run(args) -> int`; `args.home` is then the resolved home folder, and
`args.flags` what the user gave.

Exit status: 0 done, 130 interrupted, otherwise the error's own (`docs/reference/errors.md`).
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from netgpt import __version__
from netgpt.core.errors import NetgptError, UsageError
from netgpt.core.settings import default_home, resolve_settings
from netgpt.core.spelling import did_you_mean

VERBS: dict[str, tuple[str, str]] = {
    "up": ("netgpt.cli.up", "start a network on this machine"),
    "controller": ("netgpt.cli.controller", "run the controller of a network of several machines"),
    "node": ("netgpt.cli.node", "run this machine as a node of such a network"),
    "join-token": ("netgpt.cli.join_token", "make a token with which one machine may join once"),
    "certs": ("netgpt.cli.certs", "list, show, revoke and renew certificates"),
    "down": ("netgpt.cli.down", "stop the network"),
    "ps": ("netgpt.cli.ps", "list the network's processes"),
    "links": ("netgpt.cli.links", "show the links between nodes as they are now, and set them"),
    "log": ("netgpt.cli.log", "show what the network's processes logged"),
    "chat": ("netgpt.cli.chat", "talk to the network"),
    "ask": ("netgpt.cli.ask", "ask the network one question"),
    "plan": ("netgpt.cli.plan", "show what auto would choose for a question, before anything runs"),
    "explain": ("netgpt.cli.explain", "show why a request was answered where it was, predicted beside happened"),
    "keys": ("netgpt.cli.keys", "make, list and revoke API keys"),
    "models": ("netgpt.cli.models", "list, fetch, import and remove models"),
    "calibrate": ("netgpt.cli.calibrate", "fit when an answer is good enough, and when a larger model is to be asked"),
    "pretrain": ("netgpt.cli.pretrain", "train the models from scratch"),
    "record": ("netgpt.cli.record", "record what models answer to tasks, to play it back anywhere"),
    "scenario": ("netgpt.cli.scenario", "list, draw and check the networks that up and simulate run"),
    "simulate": ("netgpt.cli.simulate", "run a scenario under the virtual clock, reproducibly from a seed"),
    "trace": ("netgpt.cli.trace", "generate, import and show what links and radio channels carry over time"),
    "hardware": ("netgpt.cli.hardware", "list the machines that nodes can be declared to be, and measure this one"),
    "doctor": ("netgpt.cli.doctor", "check that this machine can run a network"),
    "backup": ("netgpt.cli.backup", "save keys, certificates, models and events in one file"),
    "restore": ("netgpt.cli.restore", "bring back what netgpt backup saved"),
    "config": ("netgpt.cli.config", "show every setting and where its value comes from"),
    "bench": ("netgpt.cli.bench", "measure the network"),
    "corpus": ("netgpt.cli.corpus", "show, count and export the tasks that models are trained on and judged by"),
}

DESCRIPTION = "Large models on a communication network: device, edge and cloud behind one OpenAI-compatible door."
INTERRUPTED, BROKEN_PIPE = 130, 141


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are NetGPT's errors."""

    def error(self, message: str) -> NoReturn:
        hint = f"run: {self.prog} --help"
        if unknown := re.match(r"unrecognized arguments: (--[a-z-]+)", message):
            hint = did_you_mean(unknown[1], sorted(set(re.findall(r"--[a-z][a-z-]*", self.format_help()))))
        raise UsageError(message, hint=hint)


def entry() -> NoReturn:
    """What the installed command `netgpt` calls."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Run one command line and return its exit status. Errors go to stderr; `--help` and `--version` raise SystemExit."""
    try:
        return _dispatch(arguments)
    except NetgptError as error:
        return _tell(error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains when it closes stdout
        return BROKEN_PIPE
    except Exception as error:
        return _tell(_unexpected(error))


def verb_parser(verb: str) -> argparse.ArgumentParser:
    """The parser of one verb, as its `--help` shows it."""
    module, summary = VERBS[verb]
    parser = _Parser(prog=f"netgpt {verb}", description=summary[0].upper() + summary[1:] + ".", allow_abbrev=False, conflict_handler="resolve")
    importlib.import_module(module).add_arguments(parser)
    parser.add_argument("--home", metavar="DIR", help="where NetGPT keeps its state, logs, keys and models (default: see netgpt config show)")
    return parser


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in VERBS:
        _without_verb(arguments)
    verb, *rest = arguments
    args = verb_parser(verb).parse_args(rest)
    args.flags = dict(vars(args))
    args.home = resolve_settings(environment=os.environ, flags=args.flags)["home"].value
    return importlib.import_module(VERBS[verb][0]).run(args)


def _without_verb(arguments: list[str]) -> NoReturn:
    layout = argparse.RawDescriptionHelpFormatter
    parser = _Parser(prog="netgpt", usage="netgpt VERB [...]", description=DESCRIPTION, epilog=_verb_list(), formatter_class=layout)
    parser.add_argument("--version", action="version", version=f"netgpt {__version__}")
    if not arguments:
        parser.print_help()
        raise SystemExit(UsageError.exit_code)
    if not arguments[0].startswith("-"):
        raise UsageError(f"unknown command {arguments[0]!r}", hint=did_you_mean(arguments[0], VERBS))
    parser.parse_args(arguments)  # --help and --version leave from here
    raise UsageError("no command given", hint="run: netgpt --help")


def _verb_list() -> str:
    lines = [f"  {verb:<10} {summary}" for verb, (_, summary) in VERBS.items()]
    return "\n".join(["commands:", *lines, "", "netgpt VERB --help shows one command's options; start with: netgpt up"])


def _tell(error: NetgptError) -> int:
    print(f"error: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"next: {error.hint}", file=sys.stderr)
    return error.exit_code


def _unexpected(error: Exception) -> NetgptError:
    """An error that nobody expected: its traceback goes to a file, for the report."""
    home = Path(os.environ.get("NETGPT_HOME") or default_home(os.environ)).expanduser()
    path = home / "log" / "netgpt.log"
    text = traceback.format_exc()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError:
        return NetgptError(f"{type(error).__name__}: {error}\n{text}".rstrip(), hint="report this with the traceback above")
    return NetgptError(f"{type(error).__name__}: {error}", hint=f"the traceback is in {path}: please report it")


if __name__ == "__main__":
    entry()
