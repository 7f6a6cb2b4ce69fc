"""A scenario's topology as an SVG picture: columns from the cloud to the devices, boxes with their facts, lines with rate and delay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape

from netgpt.network.scenario import Scenario
from netgpt.network.topology import Branch, topology

BOX_WIDTH, LINE, PADDING, GAP_X, GAP_Y, MARGIN, TITLE = 230, 15, 9, 190, 16, 24, 48  # pixels
FILLS = {"cloud": "#dbe7fb", "edge": "#dff2df", "cell": "#fdf3d0", "device": "#f3e3f5"}
FONT = "font-family='DejaVu Sans, Verdana, sans-serif'"


@dataclass(frozen=True)
class _Box:
    """A branch at its place."""

    branch: Branch
    x: float
    y: float
    height: float
    parent: _Box | None

    @property
    def middle(self) -> float:
        return self.y + self.height / 2


def topology_picture(scenario: Scenario) -> str:
    """An SVG document of its own."""
    trees, left_out = topology(scenario)
    boxes: list[_Box] = []
    y = float(MARGIN + TITLE)
    for tree in trees:
        y = _place(tree, None, MARGIN, y, boxes) + GAP_Y
    width = max(box.x for box in boxes) + BOX_WIDTH + MARGIN
    notes = [f"also {line}" for line in left_out]
    height = y + LINE * len(notes) + MARGIN
    body = [f"<title>{escape(scenario.name)}: {escape(scenario.description)}</title>", "<rect width='100%' height='100%' fill='white'/>"]
    body += [_text(MARGIN, MARGIN + 12, scenario.name, size=18, bold=True), _text(MARGIN, MARGIN + 32, scenario.description)]
    body += [part for box in boxes for part in _drawn(box)]
    body += [_text(MARGIN, y + LINE * (number + 1), note) for number, note in enumerate(notes)]
    size = f"width='{width:.0f}' height='{height:.0f}' viewBox='0 0 {width:.0f} {height:.0f}'"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img' {FONT}>"
    return "\n".join([head, *body, "</svg>", ""])


def _place(branch: Branch, parent: _Box | None, x: float, y: float, boxes: list[_Box]) -> float:
    """Add the branch and all below it from `y` on; returns where the next may begin. A parent stands at the first of its children."""
    height = LINE * (1 + len(branch.facts)) + 2 * PADDING
    box = _Box(branch, x, y, height, parent)
    boxes.append(box)
    below = y
    for each in branch.below:
        below = _place(each, box, x + BOX_WIDTH + GAP_X, below, boxes)
    return max(y + height + GAP_Y, below)


def _drawn(box: _Box) -> Iterator[str]:
    branch = box.branch
    if box.parent:
        start, bend = box.parent.x + BOX_WIDTH, box.parent.x + BOX_WIDTH + 16
        path = f"M{start} {box.parent.middle:.0f} H{bend} V{box.middle:.0f} H{box.x}"
        yield f"<path d='{path}' fill='none' stroke='#666'/>"
        for number, fact in enumerate(branch.link):
            at = box.middle - 6 if number == 0 else box.middle + LINE * number - 1
            yield _text(bend + 6, at, fact, size=11)
    for shadow in [8, 4] if branch.count > 1 else []:
        yield _rectangle(box.x + shadow, box.y + shadow, box.height, "#eee")
    yield _rectangle(box.x, box.y, box.height, FILLS[branch.kind])
    name = branch.name if branch.count == 1 else f"{branch.name} × {branch.count:,}"
    yield _text(box.x + PADDING, box.y + PADDING + 11, f"{name} ({branch.kind})", bold=True)
    for number, fact in enumerate(branch.facts, start=1):
        yield _text(box.x + PADDING, box.y + PADDING + 11 + LINE * number, fact, size=11)


def _rectangle(x: float, y: float, height: float, fill: str) -> str:
    return f"<rect x='{x:.0f}' y='{y:.0f}' width='{BOX_WIDTH}' height='{height:.0f}' rx='5' fill='{fill}' stroke='#666'/>"


def _text(x: float, y: float, text: str, *, size: int = 12, bold: bool = False) -> str:
    weight = " font-weight='bold'" if bold else ""
    return f"<text x='{x:.0f}' y='{y:.0f}' font-size='{size}'{weight}>{escape(text)}</text>"
