"""What benchmarks draw with: matplotlib, which is an extra."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from netgpt.core.errors import MissingExtra


def figure_class(folder: Path) -> Any:
    """`matplotlib.figure.Figure`; the folder is made where it is not there.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("pictures need matplotlib", hint="pip install 'netgpt[plot]'") from error
    folder.mkdir(parents=True, exist_ok=True)
    return Figure
