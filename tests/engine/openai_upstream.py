"""An upstream of the tests' own, in the running loop: sound by default, and as hostile as a script of bytes makes it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

HANG, CLOSE, RESET, PAUSE = object(), object(), object(), object()  # steps of a script beside the bytes that are sent

PAUSE_S = 0.01

Step = bytes | object


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def delta(text: str, **choice: Any) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None, **choice}]})


def finish(reason: str = "stop") -> bytes:
    return event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})


def counts(prompt: int, completion: int) -> bytes:
    return event({"choices": [], "usage": {"prompt_tokens": prompt, "completion_tokens": completion}})


DONE = b"data: [DONE]\n\n"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def stream(*events: Step, end: Step = b"0\r\n\r\n") -> list[Step]:
    """The script of a streamed answer."""
    return [STREAM, *(framed(one) if isinstance(one, bytes) else one for one in events), end]


def reply(status: int, body: bytes, kind: str = "application/json", **headers: str) -> list[Step]:
    """The script of a whole answer."""
    lines = [f"HTTP/1.1 {status} X", f"content-type: {kind}", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ["\r\n".join(lines).encode() + b"\r\n\r\n" + body]


@dataclass
class Upstream:
    """What the server is, and what it was asked. `scripts` answer the coming chat requests; then it answers as it should."""

    url: str = ""
    model: str = "strange"
    says: Sequence[str] = ("All", " is", " well")
    logprobs: bool = True
    continues: bool = True
    context_tokens: int = 1000
    scripts: list[list[Step]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)  # bodies of streamed chat requests
    keys: list[str] = field(default_factory=list)
    open: int = 0
    connections: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)  # a caller went away before the end

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                method, path, body = await self._read(reader)
                self.open += 1
                try:
                    await self._play(self._script(method, path, body), reader, writer)
                finally:
                    self.open -= 1
        except (asyncio.IncompleteReadError, ConnectionError):
            self.left.set()
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> tuple[str, str, dict[str, Any]]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.lower().split("\r\n")
        length = next(int(line.partition(":")[2]) for line in lines if line.startswith("content-length"))
        self.keys += [line.partition(":")[2].strip() for line in head.split("\r\n") if line.startswith("authorization")]
        content = await reader.readexactly(length)
        method, path, _ = head.split(" ", 2)
        return method, path, json.loads(content) if content else {}

    async def _play(self, script: Sequence[Step], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for step in script:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif step is PAUSE:
                await asyncio.sleep(PAUSE_S)
            elif step is HANG:
                await reader.read(1)  # nothing comes until the caller hangs up
                self.left.set()
                raise ConnectionError
            else:
                if step is RESET:
                    writer.transport.abort()
                raise ConnectionError

    def _script(self, method: str, path: str, body: dict[str, Any]) -> list[Step]:
        if path.endswith("/models"):
            return self._json({"object": "list", "data": [{"id": self.model, "max_model_len": self.context_tokens}]})
        if not path.endswith("/chat/completions"):
            return reply(404, b'{"error": {"message": "no such route"}}')
        if body["model"] != self.model:
            return reply(404, b'{"error": {"message": "no such model"}}')
        if not body.get("stream"):
            return self._json({"choices": [], "usage": {"prompt_tokens": self._prompt_tokens(body), "completion_tokens": 1}})
        if body.get("logprobs") and not self.logprobs:
            return reply(400, b'{"error": {"message": "logprobs are not supported"}}')
        self.asked.append(body)
        return self.scripts.pop(0) if self.scripts else stream(*self._answer(body), DONE)

    def _answer(self, body: dict[str, Any]) -> list[Step]:
        said = body["messages"][-1]["content"] if body["messages"][-1]["role"] == "assistant" and body.get("continue_final_message") else ""
        words = list(self.says)
        while words and said.startswith(words[0]):
            said = said[len(words.pop(0)) :]
        limit = body.get("max_tokens", 100)
        events: list[Step] = [delta(word, **self._scored(word, body)) for word in words[:limit]]
        return [*events, finish("length" if len(words) > limit else "stop"), counts(self._prompt_tokens(body), min(len(words), limit) + 1)]

    def _scored(self, word: str, body: dict[str, Any]) -> dict[str, Any]:
        if not body.get("logprobs"):
            return {}
        top = [{"token": word, "logprob": -0.5}, {"token": "other", "logprob": -1.5}][: body.get("top_logprobs", 0)]
        return {"logprobs": {"content": [{"token": word, "logprob": -0.5, "bytes": list(word.encode()), "top_logprobs": top}]}}

    def _prompt_tokens(self, body: dict[str, Any]) -> int:
        """One token a message's character, and two around each message that is closed, with a head after the last."""
        open_end = self.continues and body.get("continue_final_message") and body["messages"][-1]["role"] == "assistant"
        return sum(len(message["content"]) + 2 for message in body["messages"]) + (-1 if open_end else 1)

    def _json(self, value: Any) -> list[Step]:
        return reply(200, json.dumps(value).encode())


@asynccontextmanager
async def serving(upstream: Upstream, port: int = 0) -> AsyncIterator[Upstream]:
    """The upstream at `upstream.url`, on a port of the loopback; 0: a free one."""
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", port)
    upstream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield upstream
    finally:
        server.close()
