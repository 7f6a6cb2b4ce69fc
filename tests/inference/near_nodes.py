"""Nodes of which only the wire is missing: a call goes to the service in the same process."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from netgpt.core.errors import NodeUnreachable
from netgpt.core.transport import Call
from netgpt.inference.door import Door
from netgpt.inference.request import ChatRequest, Delta, Finish
from netgpt.node.service import EngineService


@dataclass
class Connection:
    """To a handler in the same process; `breaks_after` replies it is gone. It counts the calls of each method."""

    service: EngineService
    breaks_after: int | None = None
    calls: list[str] = field(default_factory=list)
    near: bool = False

    async def call(self, method: str, payload: bytes, *, deadline_s: float, qos: str = "standard") -> AsyncGenerator[bytes, None]:
        self.calls.append(method)
        async with aclosing(self.service.handle(Call(method=method, payload=payload))) as replies:
            count = 0
            async for reply in replies:
                if count == self.breaks_after:
                    raise NodeUnreachable("gone", hint="-")
                count += 1
                yield reply

    async def close(self) -> None: ...


async def ask(door: Door, request: ChatRequest) -> tuple[str, Finish, list[Delta]]:
    """The text of an answer, its end, and what came one after the other."""
    answers = [answer async for answer in door.chat(request)]
    deltas = [answer for answer in answers if isinstance(answer, Delta)]
    assert isinstance(answers[-1], Finish)
    return "".join(delta.text for delta in deltas), answers[-1], deltas
