"""The OpenAPI 3.1 document of a door: its routes, what they take and what they give. Pure.

The bodies are `api.openapi_bodies`', the replies `api.openapi_replies`'. Each door has a document of its
own, since it names the models that this door answers to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from netgpt import __version__
from netgpt.api.openapi_bodies import Schema, Served, chat_body, completion_body, embedding_body
from netgpt.api.openapi_replies import part, reply_schemas
from netgpt.api.reply import CHAT_PATH, COMPLETIONS_PATH, DOCS_PATH, EMBEDDINGS_PATH, OPENAPI_PATH, PLAN_PATH

MODELS_PATH = "/v1/models"
MODEL_PATH = "/v1/models/{name}"
HEALTH_PATH, READY_PATH, METRICS_PATH = "/health", "/ready", "/metrics"
EVENTS = "text/event-stream"

_ABOUT = """OpenAI's API at a node of a NetGPT network, with NetGPT's own fields beside it: `strategy`, `privacy`, `deadline_s`, `service`, budgets,
`cache` and `compress` in a body, `metrics` and `netgpt` in a reply. Unknown fields of a body are ignored; what would change the answer and
is not supported is refused by name. Every reply has the header `X-Request-Id`; every error has the shape of `Error`, in a stream that has
begun as its last event."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One route: its method, what it is for, and the media types of its reply with their schemas."""

    path: str
    method: str
    id: str
    summary: str
    reply: dict[str, Schema]  # an empty schema: a stream of events, which JSON Schema does not describe
    body: str = ""  # the name of its schema
    example: Any = None  # of a body
    parameters: tuple[Schema, ...] = ()

    def item(self) -> Schema:
        """The operation as the document has it."""
        replies = {media: {"schema": schema} if schema else {} for media, schema in self.reply.items()}
        told: Schema = {
            "operationId": self.id,
            "summary": self.summary,
            "responses": {"200": {"description": "It worked.", "content": replies}, "default": {"$ref": "#/components/responses/Refused"}},
        }
        if self.parameters:
            told["parameters"] = list(self.parameters)
        if self.body:
            media = {"schema": part(self.body), "example": self.example}
            told["requestBody"] = {"required": True, "content": {"application/json": media}}
        return told


def operations(served: Served) -> tuple[Operation, ...]:
    """Every route of a door."""
    model = served.models[-1]
    name: Schema = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "enum": list(served.models)}}
    return (
        Operation(
            path=CHAT_PATH,
            method="post",
            id="createChatCompletion",
            summary="Answer a conversation.",
            reply={"application/json": part("ChatCompletion"), EVENTS: {}},
            body="ChatBody",
            example={"model": model, "messages": [{"role": "user", "content": "What is the role of NWDAF?"}], "max_tokens": 64},
        ),
        Operation(
            path=COMPLETIONS_PATH,
            method="post",
            id="createCompletion",
            summary="Continue raw texts.",
            reply={"application/json": part("Completion"), EVENTS: {}},
            body="CompletionBody",
            example={"model": model, "prompt": "A GBR flow is", "max_tokens": 16},
        ),
        Operation(
            path=EMBEDDINGS_PATH,
            method="post",
            id="createEmbedding",
            summary="Turn texts into vectors of length 1.",
            reply={"application/json": part("Embeddings")},
            body="EmbeddingBody",
            example={"model": model, "input": ["packet loss", "delay budget"]},
        ),
        Operation(
            path=PLAN_PATH,
            method="post",
            id="plan",
            summary="What `auto` would choose for a conversation; nothing runs.",
            reply={"application/json": part("Plan")},
            body="ChatBody",
            example={"model": "auto", "messages": [{"role": "user", "content": "What is the role of NWDAF?"}], "service": "interactive"},
        ),
        _get(MODELS_PATH, "listModels", "Model names, ready or not.", "Models"),
        _get(MODEL_PATH, "retrieveModel", "One model name.", "Model", name),
        _get(HEALTH_PATH, "isAlive", "Whether the door runs.", "Health"),
        _get(READY_PATH, "isReady", "Whether some model can answer.", "Readiness"),
        _page(METRICS_PATH, "readMetrics", "Metrics in Prometheus' text format.", "text/plain"),
        _page(OPENAPI_PATH, "readOpenApi", "This document.", "application/json"),
        _page(DOCS_PATH, "readDocs", "This document as a page for people.", "text/html"),
    )


def _get(path: str, id: str, summary: str, reply: str, *parameters: Schema) -> Operation:
    return Operation(path=path, method="get", id=id, summary=summary, reply={"application/json": part(reply)}, parameters=parameters)


def _page(path: str, id: str, summary: str, media: str) -> Operation:
    kind = "object" if media == "application/json" else "string"
    return Operation(path=path, method="get", id=id, summary=summary, reply={media: {"type": kind}})


def openapi_document(served: Served) -> Schema:
    """The document of a door that serves these models."""
    paths: Schema = {}
    for operation in operations(served):
        paths.setdefault(operation.path, {})[operation.method] = operation.item()
    refused = {"description": "It did not.", "content": {"application/json": {"schema": part("Error")}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "NetGPT", "version": __version__, "description": _ABOUT, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": {
                "ChatBody": chat_body(served),
                "CompletionBody": completion_body(served),
                "EmbeddingBody": embedding_body(served),
                **reply_schemas(),
            },
            "responses": {"Refused": refused},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key, where the network has keys."}},
        },
        "security": [{"key": []}, {}],
    }
