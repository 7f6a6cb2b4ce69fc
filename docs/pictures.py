"""Draw the README's terminal sessions: real commands, what they really print, as SVG in docs/pictures.

`.venv/bin/python docs/pictures.py` runs all of them, with names as arguments some. Each session has a home and a folder of
its own; the port is the default one, so that nothing else may hold it. What is drawn is what was printed: the
same output gives the same bytes, but times and pids are those of the run.
"""

import fcntl
import os
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
COLUMNS, ROWS = 140, 40
SHOWN_HOME = "/home/you"
QUESTION = '"What is the role of NWDAF?"'

# By file name: the title, the commands that are shown, and those that clean up after them.
SESSIONS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "up": ("A network on this machine", ("netgpt up --detach", "netgpt ps"), ("netgpt down",)),
    "ask": (
        "One door, every model",
        (f"netgpt ask {QUESTION}", f"netgpt ask --model netgpt-device {QUESTION}", "netgpt models"),
        ("netgpt down",),
    ),
    "simulate": ("A whole network under a virtual clock, byte for byte from a seed", ("netgpt simulate campus --seed 7 --duration 90s",), ()),
    "install": (
        "Models and backups of an installation",
        ("netgpt models fetch netgpt-device --from release", "netgpt backup campus.backup", "netgpt restore campus.backup --home other"),
        (),
    ),
}
BEFORE: dict[str, tuple[str, ...]] = {  # what a session needs and does not show
    "ask": ("netgpt up --detach",),
    "install": (f"netgpt models pack {ROOT / 'weights' / 'netgpt-device'} --output release",),
}

FONTS = "ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace"
BACKGROUND, TEXT, COMMAND, DIM = "#16181d", "#d7dae0", "#8fd18b", "#7d8590"
ADVANCE, LEADING, MARGIN, HEAD, FONT = 8.4, 20, 18, 44, 14  # pixels
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line on the screen; `typed` by the user, or printed."""

    text: str
    typed: bool = False


def screen_lines(printed: str, columns: int = COLUMNS) -> list[Line]:
    """What a terminal of that width shows of a program's output."""
    lines: list[Line] = []
    for line in _ESCAPE.sub("", printed).rstrip("\n").split("\n"):
        text = "".join(c for c in line.rpartition("\r")[2].expandtabs() if c.isprintable()).rstrip()
        lines += [Line(text=text[start : start + columns]) for start in range(0, max(1, len(text)), columns)]
    return lines


def svg(title: str, lines: Sequence[Line]) -> str:
    """The picture of a terminal; its width is that of the longest line."""
    columns = max(60, *(len(line.text) + 2 * line.typed for line in lines))
    width, height = round(columns * ADVANCE + 2 * MARGIN), HEAD + len(lines) * LEADING + MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">',
        f"<title>{escape(title)}</title>",
        "<style>text{white-space:pre}</style>",
        f'<rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>',
        *(f'<circle cx="{MARGIN + 4 + 18 * place}" cy="20" r="5" fill="{DIM}"/>' for place in range(3)),
        f'<g font-family="{FONTS}" font-size="{FONT}" fill="{TEXT}" xml:space="preserve">',
        f'<text x="{width / 2:g}" y="25" text-anchor="middle" fill="{DIM}">{escape(title)}</text>',
    ]
    for place, line in enumerate(lines):
        text = f"$ {line.text}" if line.typed else line.text
        if text:
            look = f' fill="{COMMAND}"' if line.typed else ""
            length = round(len(text) * ADVANCE, 1)  # columns stand one below the other in any font
            parts.append(f'<text x="{MARGIN}" y="{HEAD + 14 + place * LEADING}" textLength="{length:g}"{look}>{escape(text)}</text>')
    return "\n".join([*parts, "</g>", "</svg>", ""])


def run(command: str, folder: Path, environment: Mapping[str, str]) -> str:
    """What a command prints at a terminal, its own errors among it."""
    here, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
    with subprocess.Popen(
        ["bash", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        printed = b"".join(iter(lambda: _read(here), b"")).decode()
    os.close(here)
    if process.returncode:
        raise SystemExit(f"docs/pictures.py: {command!r} ended with {process.returncode}:\n{printed}")
    return printed.replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    """What was printed since; nothing once nobody has the other end open."""
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # Linux says EIO there
        return b""


def draw(name: str) -> Path:
    """Run one session and draw it."""
    title, commands, after = SESSIONS[name]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("NETGPT_", "XDG_"))}
        environment = kept | {"HOME": scratch, "PATH": path, "COLUMNS": str(COLUMNS)}
        try:
            for command in BEFORE.get(name, ()):
                run(command, folder, environment)
            lines: list[Line] = []
            for command in commands:
                printed = run(command, folder, environment).replace(scratch, SHOWN_HOME)
                lines += [*([Line(text="")] if lines else []), Line(text=command, typed=True), *screen_lines(printed)]
        finally:
            for command in after:
                run(command, folder, environment)
    target = PICTURES / f"{name}.svg"
    target.write_text(svg(title, lines), encoding="utf-8")
    return target


def main(names: Iterable[str]) -> None:
    for name in names:
        print(draw(name).relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1:] or SESSIONS)
