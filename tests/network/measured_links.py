"""Measured Mahimahi traces, read in place: `LINK_TRACES` names their folder; tests that want them are skipped without it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("LINK_TRACES") or "no-such-folder")
FILES = sorted(path for path in FOLDER.glob("*") if path.suffix in (".up", ".down"))
MEASURED = [pytest.param(path, id=path.name) for path in FILES] or [
    pytest.param(None, marks=pytest.mark.skip(reason="LINK_TRACES names no folder of Mahimahi traces"), id="measured")
]
