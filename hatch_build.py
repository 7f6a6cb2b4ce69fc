"""Gives a wheel the list of the models that it was built with: names, sizes and SHA-256, but no weights.

`netgpt models fetch` in an installed wheel believes these digests alone. NETGPT_MODELS_URL says where the
archives will be published; `netgpt models pack` makes them, the same bytes as here.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ReleaseHook(BuildHookInterface):
    """Hatchling calls `initialize` before it builds a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        weights = sorted(path.parent for path in (Path(self.root) / "weights").glob("*/config.json"))
        if version != "standard" or not weights:
            return
        sys.path.insert(0, str(Path(self.root) / "src"))
        from netgpt.models.release import INDEX, pack_models

        self._folder = tempfile.TemporaryDirectory()
        pack_models(weights, Path(self._folder.name), url=os.environ.get("NETGPT_MODELS_URL", ""))
        build_data["force_include"][str(Path(self._folder.name) / INDEX)] = "netgpt/models/released.json"
