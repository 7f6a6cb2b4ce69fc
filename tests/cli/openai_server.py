"""A small OpenAI-compatible server with known answers, tokens and log-probabilities, on a real socket."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

LOGPROB, OTHER_LOGPROB, GAP_S = -0.25, -1.75, 0.004


def words(text: str) -> list[str]:
    """Tokens of a text: words with the blank before them."""
    return [(" " if place else "") + word for place, word in enumerate(text.split(" "))]


class OpenAIServer:
    """Answers a question by (model, question). Knobs say how it misbehaves."""

    def __init__(self, answers: Mapping[str, Mapping[str, str]]) -> None:
        self.answers = answers
        self.logprobs = True
        self.refuses_logprobs = False
        self.busy = 0  # how many requests are told to come back
        self.fails_after: int | None = None  # answers until it answers 400
        self.key = ""
        self.asked: list[dict[str, Any]] = []
        self.url = ""

    async def models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": name, "object": "model"} for name in self.answers]})

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        if self.key and request.headers.get("authorization") != f"Bearer {self.key}":
            return JSONResponse({"error": {"message": "wrong key"}}, 401)
        if self.refuses_logprobs and "logprobs" in body:
            return JSONResponse({"error": {"message": "logprobs are not supported"}}, 400)
        if self.busy:
            self.busy -= 1
            return JSONResponse({"error": {"message": "busy"}}, 429, {"retry-after": "0.01"})
        if self.fails_after is not None and len(self.asked) >= self.fails_after:
            return JSONResponse({"error": {"message": "this task is too long"}}, 400)
        self.asked.append(body)
        return StreamingResponse(self._chunks(body), media_type="text/event-stream")

    async def _chunks(self, body: dict[str, Any]) -> AsyncIterator[bytes]:
        tokens = words(self.answers[body["model"]][body["messages"][-1]["content"]])
        for token in tokens:
            await asyncio.sleep(GAP_S)
            entry = self._entry(token, LOGPROB) | {"top_logprobs": [self._entry(token, LOGPROB), self._entry("other", OTHER_LOGPROB)]}
            given = {"content": [entry]} if self.logprobs and body.get("logprobs") else None
            yield _frame({"choices": [{"index": 0, "delta": {"content": token}, "logprobs": given, "finish_reason": None}]})
        end = {"content": [self._entry("<|im_end|>", -0.01) | {"top_logprobs": []}]} if self.logprobs and body.get("logprobs") else None
        yield _frame({"choices": [{"index": 0, "delta": {}, "logprobs": end, "finish_reason": "stop"}]})
        yield _frame({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(tokens) + 1}})
        yield b"data: [DONE]\n\n"

    @staticmethod
    def _entry(token: str, logprob: float) -> dict[str, Any]:
        return {"token": token, "bytes": list(token.encode()), "logprob": logprob}


def _frame(value: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


@contextmanager
def serving(server: OpenAIServer) -> Iterator[OpenAIServer]:
    """The server at `server.url`, in a thread of its own."""
    routes = [Route("/v1/models", server.models), Route("/v1/chat/completions", server.chat, methods=["POST"])]
    runner = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    ready = threading.Event()

    async def run() -> None:
        config = runner.config
        config.load()
        runner.lifespan = config.lifespan_class(config)
        await runner.startup()
        server.url = f"http://127.0.0.1:{runner.servers[0].sockets[0].getsockname()[1]}/v1"
        ready.set()
        await runner.main_loop()
        await runner.shutdown()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        assert ready.wait(20)
        yield server
    finally:
        runner.should_exit = True
        thread.join(20)
