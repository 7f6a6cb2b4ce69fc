"""Where the content of requests is looked for afterwards: in every file of a running network's home and on its metrics pages."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from ..conftest import RunningNetwork  # noqa: TID252 - the network that all share

STRATEGIES = ("auto", "cascade", "netgpt-device")


def ask(network: RunningNetwork, model: str, question: str, **more: Any) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": 12, "temperature": 0, **more}
    request = urllib.request.Request(f"{network.url}/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        return json.load(reply)


def processes(network: RunningNetwork) -> list[dict[str, Any]]:
    return json.loads(network.run("netgpt", "ps", "--json").stdout)


def files_with(network: RunningNetwork, text: bytes) -> list[str]:
    home = Path(network.environment["NETGPT_HOME"])
    return [str(path) for path in home.rglob("*") if path.is_file() and text in path.read_bytes()]


@pytest.mark.parametrize("model", STRATEGIES)
def test_no_content_is_in_any_file_or_metric(network: RunningNetwork, model: str) -> None:
    canary = f"xyzzy{model.replace('-', '')}plugh"
    reply = ask(network, model, f"What is {canary}?")
    explained = network.run("netgpt", "explain", reply["id"]).stdout
    assert files_with(network, reply["id"].encode()), "the request is in the log, so its content would be"
    assert files_with(network, canary.encode()) == []
    assert canary not in explained
    ports = [process["port"] for process in processes(network) if process["role"] == "door"]
    for port in ports:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
            assert canary.encode() not in page.read()


def test_what_may_not_leave_the_device_crosses_no_link_and_is_in_no_file(network: RunningNetwork) -> None:
    reply = ask(network, "auto", "What is xyzzysecretplugh?", privacy="device-only")
    assert {span["node"] for span in reply["netgpt"]["origin"]} == set(reply["netgpt"]["link_bytes"]) == {"device1"}
    assert files_with(network, b"xyzzysecretplugh") == []
