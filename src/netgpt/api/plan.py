"""`POST /api/v1/plan`: what `auto` would choose for a chat completion, and every candidate, before anything runs.

Where a tier's model is named, its nodes are the candidates; where a strategy is, what it may come to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from starlette.types import Receive, Scope, Send

from netgpt.api.auth import KEY_ID
from netgpt.api.chat import CHAT
from netgpt.api.connection import read_json
from netgpt.api.reply import REQUEST_ID, json_response
from netgpt.inference.objective import Objective
from netgpt.inference.planning import Decision
from netgpt.inference.request import ChatRequest
from netgpt.inference.showing import row, told


class PlanDoor(Protocol):
    """What the route needs of `inference.door.Door`."""

    def plan(self, request: ChatRequest) -> Decision: ...

    def weights(self, service: str) -> Objective: ...


@dataclass(frozen=True, kw_only=True)
class PlanEndpoint:
    """The ASGI application behind the route."""

    door: PlanDoor

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        (request,) = CHAT.parse(await read_json(scope, receive), scope[REQUEST_ID], scope[KEY_ID]).requests  # the form of a reply is checked too
        await json_response(plan_object(request, self.door.plan(request), self.door.weights(request.service)))(scope, receive, send)


def plan_object(request: ChatRequest, decision: Decision, objective: Objective) -> dict[str, Any]:
    """The decision, all candidates, best first, and by which weights."""
    weights = {
        "rest": objective.rest,
        "energy_s_per_j": objective.energy_s_per_j,
        "bytes_s_per_mb": objective.bytes_s_per_mb,
        "wrong_s": objective.wrong_s,
    }
    return {**told(decision, request.service), "candidates": [row(one) for one in decision.ranked], "weights": weights}
