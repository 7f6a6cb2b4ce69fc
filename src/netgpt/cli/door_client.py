"""How the commands speak to a door: over its public HTTP API, like any other client.

What the door refuses is raised here as the same error class, so that a command ends with the same
words and exit status as the API. It prints nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from netgpt.core.errors import BY_CODE, DeadlineExceeded, NetgptError, NodeUnreachable, UsageError
from netgpt.core.settings import resolve_settings
from netgpt.core.units import format_bytes, format_duration

CONNECT_S = 5.0
SILENCE_S = 180.0  # beyond a door's own deadline
_PS = "see which nodes are up: netgpt ps"


@dataclass(frozen=True, kw_only=True)
class Told:
    """A whole answer and what the door says about it."""

    text: str
    finish_reason: str
    usage: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    account: Mapping[str, Any] = field(default_factory=dict)  # the root object `netgpt`


class DoorClient:
    """One door. Use it as a context manager: leaving closes the connection, which ends the answer."""

    def __init__(self, url: str, key: str = "") -> None:
        """Args:
        key: an API key; empty where the door asks for none.
        """
        self.url = url.rstrip("/").removesuffix("/v1")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # A door is in the local network: no proxy of the environment stands before it.
        self._http = httpx.Client(timeout=httpx.Timeout(SILENCE_S, connect=CONNECT_S), trust_env=False, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def models(self) -> list[dict[str, Any]]:
        """The models that the door answers to, as `GET /v1/models` lists them."""
        with self._failures():
            response = self._http.get(f"{self.url}/v1/models")
        return _object(response.status_code, response.content)["data"]

    def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The door's reply to a chat completion, as it came."""
        with self._failures():
            response = self._http.post(f"{self.url}/v1/chat/completions", json=body)
        return _object(response.status_code, response.content)

    def plan(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What the door would choose for a chat completion."""
        with self._failures():
            response = self._http.post(f"{self.url}/api/v1/plan", json=body)
        return _object(response.status_code, response.content)

    def stream(self, body: Mapping[str, Any], show: Callable[[str], None]) -> Told:
        """Stream a chat completion: `show` gets each new text.

        Raises:
            NetgptError: the door's own, also when it comes after some text.
        """
        texts: list[str] = []
        finish_reason = ""
        last: dict[str, Any] = {}
        for chunk in self._chunks({**body, "stream": True, "stream_options": {"include_usage": True}}):
            for choice in chunk["choices"]:
                finish_reason = choice["finish_reason"] or finish_reason
                if text := choice["delta"].get("content"):
                    texts.append(text)
                    show(text)
            if "netgpt" in chunk:
                last = chunk
        told = {name: last.get(name) or {} for name in ("usage", "metrics")}
        return Told(text="".join(texts), finish_reason=finish_reason, account=last.get("netgpt", {}), **told)

    def _chunks(self, body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        with self._failures(), self._http.stream("POST", f"{self.url}/v1/chat/completions", json=body) as response:
            if response.status_code != 200:
                _object(response.status_code, response.read())
            for line in response.iter_lines():
                if line == "data: [DONE]":
                    return
                if line.startswith("data: "):
                    yield _object(200, line[len("data: ") :].encode())
        raise NodeUnreachable(f"the door at {self.url} broke off its answer", hint=_PS)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise UsageError(f"{self.url!r} is no URL of a door", hint="give one such as http://127.0.0.1:8080") from error
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NodeUnreachable(f"no door answers at {self.url}", hint=_PS) from error
        except httpx.TimeoutException as error:
            raise DeadlineExceeded(f"the door at {self.url} was silent for {SILENCE_S:g} s", hint=_PS) from error
        except httpx.HTTPError as error:
            raise NodeUnreachable(f"the door at {self.url} broke off: {error}", hint=_PS) from error


def _object(status: int, content: bytes) -> dict[str, Any]:
    """The JSON object in a reply, or the error that it tells of."""
    try:
        value = json.loads(content)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise NetgptError(f"a reply with status {status} is not what a door sends", hint="check the URL: is it a NetGPT door?")
    if isinstance(told := value.get("error"), dict):
        kind = BY_CODE.get(str(told.get("code")), NetgptError)
        raise kind(str(told.get("message")), hint=str(value.get("hint", "")), param=told.get("param"))
    return value


def find_door(home: Path, *, url: str | None, node: str | None) -> str:
    """The URL that a command is to use: the given one, or that of a node of the running network.

    Raises:
        NotRunning, UsageError: there is no such door.
    """
    from netgpt.world.runstate import door_url

    return url or door_url(home, node)


def find_key(home: Path, *, url: str | None) -> str:
    """The API key that a command is to show: NETGPT_API_KEY, else the home's own to its own network, else none.

    The home's own key opens everything there: it never goes to a URL that somebody gave.
    """
    from netgpt.api.key_file import local_key

    given = resolve_settings(environment=os.environ, flags={})["api_key"].value
    return given or ("" if url else local_key(home))


def summary(told: Told) -> str:
    """How an answer came about, in one line for people."""
    account, metrics = told.account, told.metrics
    parts = [f"{account.get('strategy', '?')}: {account.get('why', '')}"]
    parts.append(", ".join(f"{span['node']} {span['tokens']} tokens" for span in account.get("origin", [])))
    if "time_to_first_token_ms" in metrics:
        first_s = (metrics["time_to_first_token_ms"] + metrics["queue_time_ms"]) / 1e3
        parts.append(f"first token {format_duration(first_s)}")
    if (rate := metrics.get("tokens_per_second")) is not None:
        parts.append(f"{rate:.0f} tokens/s" if rate >= 10 else f"{rate:.2g} tokens/s")
    link_bytes = sum(count for peer in account.get("link_bytes", {}).values() for count in peer.values())
    parts.append(f"{format_bytes(link_bytes)} to engines")
    if account.get("modelled"):
        timing = account.get("timing", {})
        machines = ", ".join(timing.get("machines", []))
        late = f", {timing['overruns']} late" if timing.get("overruns") else ""
        parts.append("times modelled" + (f" as {machines}" if machines else "") + late)
    if told.finish_reason == "length":
        parts.append("cut at the token limit")
    return " | ".join(part for part in parts if part)


def printable(text: str) -> str:
    """Text without control characters, so that an answer cannot steer the terminal that shows it."""
    return "".join(c for c in text if c in "\n\t" or not (ord(c) < 32 or 127 <= ord(c) < 160))
