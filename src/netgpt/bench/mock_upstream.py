"""A process that answers like an OpenAI-compatible server whose model costs nothing: fixed tokens, at a set pace.

`python -m netgpt.bench.mock_upstream` prints its port as JSON and ends when its standard input is closed. A
request sets its own pace where its last message is a JSON object: `tag`, `tokens`, `first_s`, `gap_s`. With a
tag each token is `TAG:NUMBER:TIME `, the time (microseconds of the machine's monotonic clock) being when it
was sent, so that whoever receives it can tell what was lost, mixed up or late.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import httptools
import uvloop

from netgpt.core.clock import WallClock

MODEL = "mock"
CONTEXT_TOKENS = 8192
_CLOCK = WallClock()
_HEALTHY = {"/health", "/health_generate", "/readiness", "/liveness"}
_ABOUT = {"/get_model_info", "/model_info", "/get_server_info", "/server_info"}
_MODELS = {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "mock", "max_model_len": CONTEXT_TOKENS}]}


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How an answer comes."""

    tokens: int = 8
    first_s: float = 0.0  # before the first token
    gap_s: float = 0.0  # between two
    tag: str = ""

    def token(self, number: int) -> str:
        return f"{self.tag}:{number}:{_CLOCK.now_s() * 1e6:.0f} " if self.tag else "word "


def asked_pace(body: dict[str, Any], default: Pace) -> Pace:
    """The pace that the last message asks for, and no more tokens than `max_tokens`."""
    content = body["messages"][-1]["content"]
    told = json.loads(content) if content.startswith("{") else {}
    known = {field.name for field in fields(Pace)}
    pace = replace(default, **{name: value for name, value in told.items() if name in known})
    return replace(pace, tokens=min(pace.tokens, body.get("max_tokens") or pace.tokens))


def frame(value: object) -> bytes:
    """One event of a stream, as a chunk of HTTP."""
    data = b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunk(delta: dict[str, str], finish_reason: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "mock", "object": "chat.completion.chunk", "created": 0, "model": MODEL, "choices": [choice]}


# What is alike in all answers is written once: whoever asks for a stream must not pay for its writing, and be told that it is the gateway's.
_WORD, _STOP = frame(chunk({"content": Pace().token(0)}, None)), frame(chunk({}, "stop"))


def whole(pace: Pace, prompt_tokens: int) -> dict[str, Any]:
    message = {"role": "assistant", "content": "".join(pace.token(number) for number in range(pace.tokens))}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = usage_of(pace, prompt_tokens)
    return {"id": "mock", "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice], "usage": usage}


def usage_of(pace: Pace, prompt_tokens: int) -> dict[str, int]:
    return {"prompt_tokens": prompt_tokens, "completion_tokens": pace.tokens, "total_tokens": prompt_tokens + pace.tokens}


class Connection(asyncio.Protocol):
    """One client's connection; it asks again when it has its answer."""

    def __init__(self, default: Pace) -> None:
        self._default = default
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._path, self._body = b"", b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own class is not derived from it

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._close()

    def on_message_begin(self) -> None:
        self._path, self._body = b"", b""

    def on_url(self, url: bytes) -> None:
        self._path += url

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        path = self._path.partition(b"?")[0].decode("ascii", "replace")
        if path == "/v1/chat/completions":
            self._chat()
        elif path == "/v1/models":
            self._reply(200, _MODELS)
        elif path in _HEALTHY | _ABOUT:
            self._reply(200, {"model_path": MODEL, "served_model_name": MODEL, "status": "ok"})
        else:
            self._reply(404, {"error": {"message": f"there is no {path}", "type": "not_found_error", "code": "not_found", "param": None}})

    def _chat(self) -> None:
        try:
            body = json.loads(self._body)
            pace = asked_pace(body, self._default)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            self._reply(400, {"error": {"message": str(error), "type": "invalid_request_error", "code": None, "param": None}})
            return
        prompt_tokens = sum(len(str(message.get("content"))) for message in body["messages"])
        if not body.get("stream"):
            self._later(pace.first_s + pace.gap_s * (pace.tokens - 1), lambda: self._reply(200, whole(pace, prompt_tokens)))
            return
        counted = bool((body.get("stream_options") or {}).get("include_usage"))
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        if pace.first_s or pace.gap_s:
            self._write(head)
            self._later(pace.first_s, lambda: self._stream(self._frames(pace, prompt_tokens if counted else None), pace.gap_s))
        else:
            self._write(head + b"".join(self._frames(pace, prompt_tokens if counted else None)))

    @staticmethod
    def _frames(pace: Pace, prompt_tokens: int | None) -> Iterator[bytes]:
        for number in range(pace.tokens):
            yield frame(chunk({"content": pace.token(number)}, None)) if pace.tag else _WORD
        end = _STOP
        if prompt_tokens is not None:
            end += frame({**chunk({}, None), "choices": [], "usage": usage_of(pace, prompt_tokens)})
        yield end + frame(b"[DONE]") + b"0\r\n\r\n"

    def _stream(self, frames: Iterator[bytes], gap_s: float) -> None:
        data = next(frames, None)
        if data is not None and self._transport is not None:
            self._write(data)
            self._later(gap_s, lambda: self._stream(frames, gap_s))

    def _later(self, delay_s: float, act: Any) -> None:
        if delay_s:
            self._timer = asyncio.get_running_loop().call_later(delay_s, act)
        else:
            act()

    def _reply(self, status: int, value: object) -> None:
        data = json.dumps(value).encode()
        self._write(b"HTTP/1.1 %d -\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (status, len(data), data))

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def serve(default: Pace, port: int) -> None:
    """Serve on loopback until standard input ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(default), "127.0.0.1", port, backlog=2048)
    sys.stdout.write(json.dumps({"port": server.sockets[0].getsockname()[1]}) + "\n")
    sys.stdout.flush()
    gc.disable()  # a connection is all that it leaves; a look would hold up every stream, and count as whoever asked
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Answer like an OpenAI-compatible server, with fixed tokens at a set pace.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=Pace.tokens)
    parser.add_argument("--first-ms", type=float, default=0.0)
    parser.add_argument("--gap-ms", type=float, default=0.0)
    args = parser.parse_args()
    pace = Pace(tokens=args.tokens, first_s=args.first_ms / 1e3, gap_s=args.gap_ms / 1e3)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(pace, args.port))


if __name__ == "__main__":
    main()
