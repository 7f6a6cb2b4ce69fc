"""Resolve the three environments anew and write their exact pins, as pip constraints, beside this file.

Run by `make pins` on Linux with Python 3.11. It installs nothing and knows no package index: that is
pip's configuration. A local version such as `2.13.0+cpu` is written without its local part.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
TORCH = "torch==2.13.0"  # the release that all figures are measured with; pip would take the newest
ENVIRONMENTS = {
    "core": ["-e", ".[all]", "--group", "dev", TORCH],
    "federated": ["-e", ".[federated]", "--group", "test", "hatchling", TORCH],
    "peers": ["--group", "peers"],
}


def resolve(arguments: list[str]) -> list[str]:
    """The `name==version` lines of everything that pip would install into an empty environment."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report", str(report), *arguments]
        subprocess.run(command, check=True, cwd=HERE.parent)
        found = [entry["metadata"] for entry in json.loads(report.read_text())["install"]]
    return sorted(f"{one['name'].lower().replace('_', '-')}=={one['version'].partition('+')[0]}" for one in found if one["name"] != "netgpt")


for name, arguments in ENVIRONMENTS.items():
    pins = resolve(arguments)
    heading = f"# Everything that `make {'up' if name == 'core' else name}` may install, exactly. Written by `make pins`.\n"
    (HERE / f"{name}.txt").write_text(heading + "\n".join(pins) + "\n")
    print(f"requirements/{name}.txt: {len(pins)} pins")
