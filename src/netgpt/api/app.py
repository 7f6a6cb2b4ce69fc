"""A door's HTTP surface: OpenAI's routes, their description, health and metrics.

Everything that a client may send is checked here or in `ChatRequest`; what is asked of whom is the
door's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from netgpt.api.answer import AnswerDoor, AnswerEndpoint
from netgpt.api.auth import Guard, open_guard
from netgpt.api.chat import CHAT
from netgpt.api.completion import COMPLETION
from netgpt.api.docs_page import CONTENT_SECURITY_POLICY, docs_page
from netgpt.api.embedding import EmbeddingEndpoint, EmbedDoor
from netgpt.api.front import Front
from netgpt.api.openapi import HEALTH_PATH, METRICS_PATH, MODEL_PATH, MODELS_PATH, READY_PATH, openapi_document
from netgpt.api.openapi_bodies import Served
from netgpt.api.plan import PlanDoor, PlanEndpoint
from netgpt.api.reply import CHAT_PATH, COMPLETIONS_PATH, DOCS_PATH, EMBEDDINGS_PATH, OPENAPI_PATH, PLAN_PATH, json_response
from netgpt.core.chance import Chance
from netgpt.core.clock import Clock, WallClock
from netgpt.core.errors import ModelNotFound, NodeUnreachable
from netgpt.core.ids import ends_of_ids
from netgpt.core.spelling import did_you_mean
from netgpt.inference.request import ServedModel
from netgpt.telemetry.metrics import CONTENT_TYPE, Metrics


class ServingDoor(AnswerDoor, EmbedDoor, PlanDoor, Protocol):
    """What the HTTP surface needs of `inference.door.Door`."""

    @property
    def vocabulary(self) -> int: ...

    def models(self) -> list[ServedModel]: ...


def create_door_app(
    door: ServingDoor,
    *,
    node_id: str,
    metrics: Metrics,
    ready: Callable[[], bool],
    chance: Chance,
    clock: Clock | None = None,
    guard: Guard | None = None,
) -> Starlette:
    """The ASGI application of one node's door.

    Args:
        ready: whether some model can answer now.
        chance: request ids are drawn from its stream of this node.
        clock: dates replies; the wall clock if it is left out.
        guard: who may call; if it is left out, everybody on this machine and no foreign page.
    """
    clock = clock or WallClock()
    started = int(clock.date_s())

    async def list_models(_: Request) -> Response:
        return json_response({"object": "list", "data": [model_object(model, started) for model in door.models()]})

    async def one_model(request: Request) -> Response:
        name = request.path_params["name"]
        models = {model.name: model for model in door.models()}
        if name not in models:
            raise ModelNotFound(f"no model {name!r}", hint=did_you_mean(name, models), param="model")
        return json_response(model_object(models[name], started))

    async def is_ready(_: Request) -> Response:
        if not ready():
            raise NodeUnreachable(f"no model can answer at node {node_id!r} yet", hint="wait, or see which nodes are up: netgpt ps")
        return json_response({"status": "ready", "node": node_id})

    async def is_alive(_: Request) -> Response:
        return json_response({"status": "ok", "node": node_id})

    async def read_metrics(_: Request) -> Response:
        return Response(metrics.render(), headers={"content-type": CONTENT_TYPE})

    async def read_openapi(_: Request) -> Response:
        return json_response(openapi_document(served_by(door)))

    async def read_docs(request: Request) -> Response:
        host, port = request.scope["server"]
        page = docs_page(openapi_document(served_by(door)), f"http://{host}:{port}")
        return Response(page, media_type="text/html", headers={"content-security-policy": CONTENT_SECURITY_POLICY})

    asked = {
        CHAT_PATH: AnswerEndpoint(door, CHAT, node_id=node_id, clock=clock),
        COMPLETIONS_PATH: AnswerEndpoint(door, COMPLETION, node_id=node_id, clock=clock),
        EMBEDDINGS_PATH: EmbeddingEndpoint(door=door, node_id=node_id, clock=clock),
    }
    return assemble(
        [
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in asked.items()),
            Route(PLAN_PATH, PlanEndpoint(door=door), methods=["POST"]),
            Route(MODELS_PATH, list_models),
            Route(MODEL_PATH, one_model),
            Route(HEALTH_PATH, is_alive),
            Route(READY_PATH, is_ready),
            Route(METRICS_PATH, read_metrics),
            Route(OPENAPI_PATH, read_openapi),
            Route(DOCS_PATH, read_docs),
        ],
        chance=chance,
        server=node_id,
        guard=guard,
        quick=asked,
    )


def served_by(door: ServingDoor) -> Served:
    """What the door's OpenAPI document depends on, now."""
    models = door.models()
    context_tokens = max((model.context_tokens for model in models), default=0)
    return Served(models=tuple(model.name for model in models), context_tokens=context_tokens, vocabulary=door.vocabulary)


def assemble(
    routes: list[Route], *, chance: Chance, server: str, guard: Guard | None = None, quick: Mapping[str, ASGIApp] | None = None
) -> Starlette:
    """An application whose every reply has an id and whose every error has one shape.

    Args:
        server: names the stream of ids, so that two servers of one seed draw different ones.
        quick: endpoints whose `POST` goes the short way, by path; they are among the routes too.
    """
    ends = ends_of_ids(chance.stream(f"api.{server}.requests"))
    return Front(routes, guard=guard or open_guard(), ends=ends, quick=quick or {})


def model_object(model: ServedModel, created: int) -> dict[str, Any]:
    """A model in OpenAI's shape, with vLLM's `max_model_len` and the state it is in."""
    return {
        "id": model.name,
        "object": "model",
        "created": created,
        "owned_by": "netgpt",
        "max_model_len": model.context_tokens,
        "netgpt": {"ready": model.ready, "nodes": list(model.nodes), "parameters": model.parameters, "tokenizer": model.tokenizer},
    }
