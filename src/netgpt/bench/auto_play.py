"""One cell of the grid of `auto`, played under the virtual clock: the same requests, at the same times, by each way to choose.

Judged is J (`inference.objective`) of what really happened, with the stated quality of who answered; loads are heartbeats old.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netgpt.bench.auto_cells import ENTRY, FIXED, MACHINES, Ask, Cell, asks_of, power_w, scenario_of, told_offers
from netgpt.core.clock import run_virtual
from netgpt.core.errors import UsageError
from netgpt.core.scheduling import TaskGroup
from netgpt.core.storage import SimulatedStorage
from netgpt.inference.objective import LINK_CLASS, OBJECTIVES, cost_s
from netgpt.inference.policy import FAILED
from netgpt.inference.predicting import radio_energy_j
from netgpt.inference.request import ChatRequest, Finish
from netgpt.world.simulated import SimulatedWorld

MEASURES = ("ttft_s", "total_s", "quality", "energy_j", "payload_bytes")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """How one request went."""

    cost_s: float  # J
    node: str
    ttft_s: float
    token_s: float | None
    tokens: int
    payload_bytes: int
    total_s: float
    energy_j: float  # of the device
    quality: float  # of who answered, as stated
    plan: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class CellFigures:
    """One cell: mean J of each way to choose, and how far predictions were off."""

    cell: Cell
    j_s: Mapping[str, float]  # "auto", "device", "edge", "cloud", "random", "clairvoyant", and "policy" where there is one
    means: Mapping[str, Mapping[str, float]]  # of `MEASURES`, by who chose: "auto", the tiers, "policy"
    shares: Mapping[str, float]  # of auto's requests, by node
    ttft_errors: tuple[float, ...]
    token_errors: tuple[float, ...]
    byte_errors: tuple[float, ...]

    @property
    def best_fixed_s(self) -> float:
        return min(self.j_s[tier] for tier in FIXED)

    def regret(self, who: str) -> float:
        return self.j_s[who] / self.best_fixed_s - 1

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> CellFigures:
        """What `dataclasses.asdict` and JSON have made of one."""
        cell = Cell(**{name: _frozen(value) for name, value in row["cell"].items()})
        return cls(cell=cell, **{name: _frozen(value) for name, value in row.items() if name != "cell"})


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


Act = Callable[[SimulatedWorld], None]


def play(
    cell: Cell,
    model: str,
    asks: Sequence[Ask],
    *,
    others: bool = True,
    at: Mapping[float, Act] | None = None,
    last: Act | None = None,
    policy: str = "",
) -> list[Seen]:
    """Let `model` answer the cell's requests under the virtual clock.

    Args:
        at: what happens when, in seconds.
        last: what is done before the world ends.
        policy: who chooses for `auto`; empty: NetGPT.
    """

    async def main() -> list[Seen]:
        scenario = scenario_of(cell, others=others)
        world = SimulatedWorld(scenario, cell.seed, SimulatedStorage(), offers=told_offers(cell), policy=policy)
        await world.start()
        for number, user in enumerate(scenario.users):
            world.background.spawn(world.use(user, f"user.{number}"), name=f"user-{number}")
        seen: list[Seen | None] = [None] * len(asks)

        async def ask(number: int, one: Ask) -> None:
            await world.clock.sleep(max(one.at_s - world.clock.now_s(), 0.0))
            request = ChatRequest(
                request_id=f"chatcmpl-{number:024d}",
                model=model,
                messages=(("user", one.content),),
                max_tokens=one.max_tokens,
                temperature=0.0,
                seed=number,
                service=cell.service,
                qos=LINK_CLASS[cell.service],
            )
            async for answer in world.door(ENTRY).chat(request):
                if isinstance(answer, Finish):
                    seen[number] = _seen(cell, answer)

        async def happen(at_s: float, act: Act) -> None:
            await world.clock.sleep(max(at_s - world.clock.now_s(), 0.0))
            act(world)

        async with TaskGroup() as tasks:
            for at_s, act in (at or {}).items():
                tasks.create_task(happen(at_s, act), name=f"act-{at_s}")
            for number, one in enumerate(asks):
                tasks.create_task(ask(number, one), name=f"ask-{number}")
        if last is not None:
            last(world)
        await world.close()
        return [one for one in seen if one is not None]

    return run_virtual(main())


def _seen(cell: Cell, finish: Finish) -> Seen:
    node = finish.origin[0].node
    tier = node.rstrip("1")
    crossed = sum(sum(count.values()) for peer, count in finish.link_bytes.items() if peer != ENTRY)
    sent = sum(count["sent"] for peer, count in finish.link_bytes.items() if peer != ENTRY)
    working_s = finish.duration_s - finish.queue_s
    energy_j = power_w(tier) * working_s if node == ENTRY else radio_energy_j(finish.duration_s, sent, crossed - sent)
    quality = dict(zip(MACHINES, cell.qualities, strict=True))[tier]
    first_s, total_s = finish.time_to_first_token_s, finish.duration_s
    gaps = finish.completion_tokens - 1
    objective = OBJECTIVES[cell.service]
    return Seen(
        cost_s=cost_s(objective, ttft_s=first_s, total_s=total_s, payload_bytes=crossed, energy_j=energy_j, quality=quality),
        node=node,
        ttft_s=first_s,
        token_s=(total_s - first_s) / gaps if gaps > 0 else None,
        tokens=finish.completion_tokens,
        payload_bytes=crossed,
        total_s=total_s,
        energy_j=energy_j,
        quality=quality,
        plan=finish.plan,
    )


def judge(cell: Cell, requests: int, policy: str = "") -> CellFigures:
    """Play one cell by `auto`, by each tier alone, and by a policy if one is named.

    Raises:
        UsageError: the policy fails; names it.
    """
    asks = asks_of(cell, requests)
    fixed = {tier: play(cell, model, asks, others=tier != "device") for tier, model in FIXED.items()}
    auto = play(cell, "auto", asks)
    chosen = {"policy": play(cell, "auto", asks, policy=policy)} if policy else {}
    if failed := next((one.plan["why"] for seen in chosen.values() for one in seen if FAILED in one.plan["why"]), ""):
        raise UsageError(f"{cell.name}: {failed}", hint="a policy gives a finite number for each option; see docs/policies.md", param="policy")
    whole = all(len(each) == len(asks) for each in (*fixed.values(), auto, *chosen.values()))
    if not whole:
        raise RuntimeError(f"{cell.name}: requests were lost, so that nothing can be compared")
    played = {"auto": auto, **fixed, **chosen}
    j_s = {who: float(np.mean([one.cost_s for one in seen])) for who, seen in played.items()}
    together = list(zip(*fixed.values(), strict=True))
    j_s |= {"random": float(np.mean([j_s[tier] for tier in fixed]))}
    j_s["clairvoyant"] = float(np.mean([min(one.cost_s for one in each) for each in together]))
    shares = {node: sum(one.node == node for one in auto) / len(auto) for node in sorted({one.node for one in auto})}
    ttft, token, payload = zip(*[_errors(one) for one in auto], strict=True)
    return CellFigures(
        cell=cell,
        j_s=j_s,
        means={who: {name: float(np.mean([getattr(one, name) for one in seen])) for name in MEASURES} for who, seen in played.items()},
        shares=shares,
        ttft_errors=tuple(ttft),
        token_errors=tuple(one for one in token if one is not None),
        byte_errors=tuple(one for one in payload if one is not None),
    )


def _errors(seen: Seen) -> tuple[float, float | None, float | None]:
    """How far off, as shares of what happened: first token, time per token, bytes given the answer's length."""
    told = seen.plan["chosen"]
    longer = seen.tokens - told["answer_tokens"]
    payload = told["up_bytes"] + told["down_bytes"] + longer * told["token_bytes"]
    ttft = abs(told["ttft_s"] / seen.ttft_s - 1)
    token = abs(told["token_s"] / seen.token_s - 1) if seen.token_s else None
    return ttft, token, abs(payload / seen.payload_bytes - 1) if seen.payload_bytes else None
