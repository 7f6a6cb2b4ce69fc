"""A door's HTTP surface: OpenAI's routes, health and metrics.

Everything that a client may send is checked here or in `ChatRequest`; what is asked of whom is the
door's matter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from netgpt.api.chat import ChatDoor, ChatEndpoint
from netgpt.api.reply import CHAT_PATH, EXCEPTION_HANDLERS, RequestIds, json_response
from netgpt.core.chance import Chance
from netgpt.core.clock import Clock, WallClock
from netgpt.core.errors import ModelNotFound, NodeUnreachable
from netgpt.core.spelling import did_you_mean
from netgpt.inference.request import ServedModel
from netgpt.telemetry.metrics import CONTENT_TYPE, Metrics


def create_door_app(
    door: ChatDoor, *, node_id: str, metrics: Metrics, ready: Callable[[], bool], chance: Chance, clock: Clock | None = None
) -> Starlette:
    """The ASGI application of one node's door.

    Args:
        ready: whether some model can answer now.
        chance: request ids are drawn from its stream of this node.
        clock: dates replies; the wall clock if it is left out.
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

    return assemble(
        [
            Route(CHAT_PATH, ChatEndpoint(door, node_id=node_id, clock=clock), methods=["POST"]),
            Route("/v1/models", list_models),
            Route("/v1/models/{name}", one_model),
            Route("/health", is_alive),
            Route("/ready", is_ready),
            Route("/metrics", read_metrics),
        ],
        chance=chance,
        server=node_id,
    )


def assemble(routes: list[Route], *, chance: Chance, server: str) -> Starlette:
    """An application whose every reply has an id and whose every error has one shape.

    Args:
        server: names the stream of ids, so that two servers of one seed draw different ones.
    """
    stream = chance.stream(f"api.{server}.requests")
    app = Starlette(routes=routes, middleware=[Middleware(RequestIds, stream=stream)], exception_handlers=dict(EXCEPTION_HANDLERS))
    app.router.redirect_slashes = False  # a redirect would be built from the client's own Host header
    return app


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
