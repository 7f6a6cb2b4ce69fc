"""`POST /v1/embeddings`: texts to vectors. Reads the body, asks the door, words the reply.

A vector has as many dimensions as its model; the models are not trained to be cut shorter, hence
`dimensions` is refused.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, cast

import numpy as np
from starlette.types import Receive, Scope, Send

from netgpt.api.account import ReplyHead, origin, timing
from netgpt.api.auth import KEY_ID
from netgpt.api.connection import read_json, while_connected
from netgpt.api.fields import as_object, number, prompts, refuse_unsupported, required_text
from netgpt.api.reply import REQUEST_ID, json_response
from netgpt.api.unsupported import EMBEDDING
from netgpt.core.clock import Clock
from netgpt.core.errors import InvalidRequest
from netgpt.core.spelling import did_you_mean
from netgpt.inference.request import DEFAULT_PRIVACY, EmbedRequest, Vectors

MAX_TEXTS = 256  # of one request
ENCODINGS = ("float", "base64")

Encoding = Literal["float", "base64"]


class EmbedDoor(Protocol):
    """What the route needs of `inference.door.Door`."""

    async def embed(self, request: EmbedRequest) -> Vectors: ...


@dataclass(frozen=True, kw_only=True)
class EmbeddingEndpoint:
    """The ASGI application behind the route."""

    door: EmbedDoor
    node_id: str
    clock: Clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_json(scope, receive)
        request, encoding = replace(parse_embedding(body, scope[REQUEST_ID]), key=scope[KEY_ID]), parse_encoding(body)
        head = ReplyHead(id=request.request_id, model=request.model, created=int(self.clock.date_s()), entry=self.node_id)

        async def work() -> None:
            vectors = await self.door.embed(request)
            await json_response(embedding_list(head, vectors, encoding))(scope, receive, send)

        await while_connected(scope, receive, work())


def parse_embedding(body: object, request_id: str) -> EmbedRequest:
    """The request that `body` (parsed JSON) makes. Raises InvalidRequest, NotSupported."""
    fields = as_object(body)
    refuse_unsupported(fields, EMBEDDING)
    return EmbedRequest(
        request_id=request_id,
        model=required_text(fields, "model"),
        texts=prompts(fields.get("input"), "input", most=MAX_TEXTS),
        privacy=required_text(fields, "privacy") if fields.get("privacy") is not None else DEFAULT_PRIVACY,
        deadline_s=number(fields, "deadline_s", None),
    )


def parse_encoding(body: object) -> Encoding:
    """In which form the client wants the numbers. Raises InvalidRequest."""
    fields = as_object(body)
    if fields.get("encoding_format") is None:
        return "float"
    encoding = required_text(fields, "encoding_format")
    if encoding not in ENCODINGS:
        raise InvalidRequest(f"encoding_format is {encoding!r}", hint=did_you_mean(encoding, ENCODINGS), param="encoding_format")
    return cast(Encoding, encoding)


def embedding_list(head: ReplyHead, vectors: Vectors, encoding: Encoding) -> dict[str, Any]:
    """The vectors in OpenAI's shape, with their account beside them."""
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": encoded(vector, encoding)} for index, vector in enumerate(vectors.vectors)],
        "model": head.model,
        "usage": {"prompt_tokens": vectors.prompt_tokens, "total_tokens": vectors.prompt_tokens},
        "netgpt": {
            "strategy": vectors.strategy,
            "why": vectors.why,
            "entry": head.entry,
            "origin": origin(vectors.origin),
            "link_bytes": {node: dict(count) for node, count in vectors.link_bytes.items()},
            "queue_ms": round(vectors.queue_s * 1e3, 3),
            "duration_ms": round(vectors.duration_s * 1e3, 3),
            "modelled": vectors.modelled,
            "timing": timing([vectors]),
        },
    }


def encoded(vector: tuple[float, ...], encoding: Encoding) -> list[float] | str:
    """The numbers as JSON has them, or the base64 of little-endian binary32."""
    return list(vector) if encoding == "float" else base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()
