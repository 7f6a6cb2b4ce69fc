"""`auto` in the simulated world: it goes where the request is answered best, follows what changes, and asks nobody without need."""

from dataclasses import replace
from typing import Any

import pytest

from netgpt.bench.auto_cells import cells
from netgpt.bench.auto_play import judge
from netgpt.bench.auto_steps import STEP_SEEDS, STEPS, reaction_s
from netgpt.core.errors import DeadlineExceeded, DeadlineTooShort, NotSupported, PrivacyRefused
from netgpt.inference.request import ChatRequest, Finish
from netgpt.network.scenario import NodeSpec, Scenario
from netgpt.network.scenario_file import load_scenario
from netgpt.telemetry.events import parse_event
from netgpt.world.simulated import EVENTS, SimulatedWorld

from .simulation import in_world

WIRES = replace(load_scenario("wires"), users=(), faults=())


async def ask(world: SimulatedWorld, number: int = 0, **fields: Any) -> Finish:
    values: dict[str, Any] = {"model": "auto", "messages": (("user", "tell me " * 30),), "max_tokens": 24, "temperature": 0.0, **fields}
    async for answer in world.door("device1").chat(ChatRequest(request_id=f"chatcmpl-{number}", **values)):
        if isinstance(answer, Finish):
            return answer
    raise AssertionError("an answer ends with a finish")


def with_link(delay_s: float, rate_bps: float) -> Scenario:
    first = replace(WIRES.links[0], delay_s=delay_s, up_bps=rate_bps, down_bps=rate_bps)
    return replace(changed("device1", quality=0.8), links=(first, *WIRES.links[1:]))


def changed(node: str, **changes: Any) -> Scenario:
    def edited(spec: NodeSpec) -> NodeSpec:
        return replace(spec, **changes) if spec.id == node else spec

    return replace(WIRES, nodes=tuple(map(edited, WIRES.nodes)))


def test_the_cloud_answers_over_a_good_link_and_the_device_over_a_bad_one() -> None:
    async def six(world: SimulatedWorld) -> list[str]:
        return [(await ask(world, number)).origin[0].node for number in range(6)]

    assert in_world(with_link(0.005, 100e6), six) == ["cloud1"] * 6
    assert in_world(with_link(0.4, 100e6), six)[-4:] == ["device1"] * 4


def test_a_reply_says_what_was_predicted_and_the_log_has_it_before_the_end() -> None:
    async def one(world: SimulatedWorld) -> Finish:
        finish = [await ask(world, number) for number in range(3)][-1]
        events = [parse_event(line) for line in world.log._storage.read(EVENTS).splitlines()]
        kinds = [event.kind for event in events if event.data.get("request") == "chatcmpl-0"]
        assert kinds == ["request.planned", "request.finished"]
        return finish

    finish = in_world(WIRES, one)
    chosen = finish.plan["chosen"]
    assert chosen["nodes"] == [finish.origin[0].node]
    assert chosen["ttft_s"] == pytest.approx(finish.time_to_first_token_s, rel=0.1)
    assert chosen["token_s"] == pytest.approx((finish.duration_s - finish.time_to_first_token_s) / (finish.completion_tokens - 1), rel=0.1)
    assert finish.why.startswith("cloud1")


@pytest.mark.parametrize("seed", STEP_SEEDS)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_change_is_answered_within_two_seconds(step: str, seed: int) -> None:
    assert 0 < reaction_s(STEPS[step], seed) < 2.0


def test_a_cell_is_the_same_from_the_same_seed() -> None:
    cell = cells((3,))[4]
    assert judge(cell, 4) == judge(cell, 4)


def test_ways_are_probed_while_there_is_a_choice_and_never_for_what_must_stay() -> None:
    async def probes(world: SimulatedWorld, **fields: Any) -> tuple[int, int]:
        def count() -> int:
            return sum(sent.payloads for (_, direction, method), sent in world.network.carried.items() if (direction, method) == ("up", "stats"))

        await ask(world, **fields)
        await world.clock.sleep(10.0)
        after = count()
        await world.clock.sleep(10.0)
        return after, count()

    busy, later = in_world(WIRES, probes)
    assert 0 < busy == later <= 3 * 2 * 5 / 0.4, "an idle door asks nobody"
    assert in_world(WIRES, lambda world: probes(world, privacy="device-only")) == (0, 0)
    assert in_world(WIRES, lambda world: probes(world, model="netgpt-cloud")) == (0, 0)


def test_limits_that_nobody_keeps_are_refused_with_the_nearest_choice() -> None:
    async def refused(world: SimulatedWorld) -> None:
        with pytest.raises(DeadlineTooShort, match="the least of all") as late:
            await ask(world, deadline_s=0.05)
        assert "raise deadline_s to" in late.value.hint
        with pytest.raises(NotSupported, match="nothing keeps max_energy_j"):
            await ask(world, max_energy_j=1e-6)
        assert (await ask(world, max_cost=1.0)).origin[0].node == "edge1", "cloud1 costs more"
        with pytest.raises(NotSupported, match="device1 costs"):
            await ask(world, max_cost=0.0, privacy="device-only")

    priced = [changed(node, price_prompt=price).nodes[place] for place, (node, price) in enumerate({"cloud1": 1e5, "edge1": 100.0}.items())]
    in_world(replace(WIRES, nodes=(*priced, changed("device1", price_answer=1.0).nodes[2], WIRES.nodes[3])), refused)


def test_a_privacy_level_that_forbids_everybody_names_the_nearest_node_that_could_answer() -> None:
    async def refused(world: SimulatedWorld) -> None:
        membership = world.membership("device1")
        membership.member = replace(membership.member, state="degraded")
        with pytest.raises(PrivacyRefused, match="'edge1'") as forbidden:
            await ask(world, privacy="device-only")
        assert "'edge-allowed'" in forbidden.value.hint

    in_world(WIRES, refused)


def test_a_device_whose_battery_is_at_its_reserve_lets_others_compute() -> None:
    async def once(world: SimulatedWorld) -> str:
        return (await ask(world, service="critical")).origin[0].node

    device = {"quality": 0.99, "battery_j": 50_000.0}
    assert in_world(changed("device1", **device), once) == "device1"
    assert in_world(changed("device1", battery=0.04, **device), once) != "device1"


def test_an_answer_that_is_named_is_held_to_the_limits_too_and_refused_with_the_nearest_choice() -> None:
    async def refused(world: SimulatedWorld) -> None:
        with pytest.raises(DeadlineExceeded, match="node 'cloud1' did not finish its answer in time"):
            await ask(world, model="netgpt-cloud", deadline_s=0.3, max_tokens=4)  # nobody knows the way yet
        for model in ("netgpt-device", "netgpt-edge", "netgpt-cloud") * 3:
            await ask(world, model=model)
        started = sum(sent.payloads for (_, _, method), sent in world.network.carried.items() if method == "generate")
        with pytest.raises(DeadlineTooShort, match="'netgpt-cloud': nothing answers in time: cloud1 would take") as late:
            await ask(world, model="netgpt-cloud", deadline_s=0.3, max_tokens=4)
        assert "ask 'auto': device1 is expected to take" in late.value.hint
        assert "or raise deadline_s to" in late.value.hint
        with pytest.raises(NotSupported, match="nothing keeps max_energy_j: device1 takes") as dear:
            await ask(world, model="netgpt-device", max_energy_j=0.01)
        assert dear.value.param == "max_energy_j"
        with pytest.raises(DeadlineTooShort, match=r"device1 would take .* the least of all"):
            await ask(world, model="route", deadline_s=0.01)
        after = sum(sent.payloads for (_, _, method), sent in world.network.carried.items() if method == "generate")
        assert after == started, "nothing was asked for what could not be kept"
        assert (await ask(world, model="netgpt-cloud", deadline_s=30.0)).origin[0].node == "cloud1"

    in_world(with_link(0.4, 100e6), refused)


def test_energy_is_weighed_at_devices_doors_alone() -> None:
    async def weights(world: SimulatedWorld) -> list[float]:
        return [world.door(node).weights("interactive").energy_s_per_j for node in ("device1", "edge1", "cloud1")]

    at_device, at_edge, at_cloud = in_world(WIRES, weights)
    assert at_device > at_edge == at_cloud == 0


def test_a_node_that_had_short_prompts_of_others_is_not_taken_for_slow() -> None:
    async def predicted(world: SimulatedWorld) -> float:
        for number in range(4):
            await ask(world, number, messages=(("user", "hi"),), privacy="edge-allowed", model="netgpt-edge")
        await ask(world, 9)
        await world.clock.sleep(0.3)  # the second phone hears how busy the edge is
        request = ChatRequest(request_id="plan", model="auto", messages=(("user", "hi"),), max_tokens=8)
        async for _ in world.door("device2").chat(request):
            pass
        await world.clock.sleep(0.3)
        plan = world.door("device2").plan(request)
        edge = next(one.prediction for one in plan.ranked if str(one.prediction.candidate) == "edge1")
        assert edge.sources["time"] == "told", "it has not answered here yet"
        return edge.ttft_s

    assert in_world(WIRES, predicted) < 0.12
