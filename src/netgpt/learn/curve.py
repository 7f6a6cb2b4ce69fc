"""The learning curve of a run: a CSV file that grows, and a picture of it. Knows no model."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Point:
    """One line of the curve. Losses are nats per weighted token; validation is of held-out answers only."""

    step: int
    tokens: int
    loss: float
    validation_loss: float
    learning_rate: float
    tokens_per_s: float
    elapsed_s: float


COLUMNS = tuple(field.name for field in fields(Point))


def append_point(path: Path, point: Point) -> None:
    """Add a line; the first one makes the file and its header."""
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if is_new:
            writer.writeheader()
        writer.writerow(asdict(point))


def read_curve(path: Path) -> list[Point]:
    """All points; none if there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [_point(row) for row in csv.DictReader(file)]


def _point(row: dict[str, str]) -> Point:
    return Point(
        step=int(row["step"]),
        tokens=int(row["tokens"]),
        loss=float(row["loss"]),
        validation_loss=float(row["validation_loss"]),
        learning_rate=float(row["learning_rate"]),
        tokens_per_s=float(row["tokens_per_s"]),
        elapsed_s=float(row["elapsed_s"]),
    )


def cut_curve(path: Path, last_step: int) -> None:
    """Drop the points past `last_step`: a resumed run writes them again."""
    kept = [point for point in read_curve(path) if point.step <= last_step]
    path.unlink(missing_ok=True)
    for point in kept:
        append_point(path, point)


def draw_curve(csv_path: Path, picture_path: Path, title: str) -> bool:
    """Draw the curve; False, and no picture, where matplotlib (the extra `plot`) is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    points = read_curve(csv_path)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    tokens = [point.tokens / 1e6 for point in points]
    axes.plot(tokens, [point.loss for point in points], label="training")
    axes.plot(tokens, [point.validation_loss for point in points], label="held-out answers")
    axes.set(title=title, xlabel="tokens seen, millions", ylabel="loss, nats per token", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture_path, dpi=120)
    return True
