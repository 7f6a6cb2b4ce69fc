"""The environment in which tests start programs."""

from __future__ import annotations

import os


def clean_environment() -> dict[str, str]:
    """Ours without its settings; a network that is started with it ends with this process, also if that is killed."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("NETGPT_")}
    return ours | {"NETGPT_UNTIL_PID": str(os.getpid())}
