"""A tiny model folder, and a release that holds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from .tiny import save_tiny_model


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "made" / "tiny"
    save_tiny_model(folder)
    return folder
