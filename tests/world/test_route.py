"""`route` in the simulated world: doors, links and engines as they are, models without weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from netgpt.core.errors import NotSupported
from netgpt.engine.hash_engine import embed_tokens
from netgpt.inference.calibration import fit_router
from netgpt.inference.calibration_file import HOME_FILE, write_calibrations
from netgpt.inference.confidence import Calibrations
from netgpt.inference.request import ChatRequest, Finish
from netgpt.inference.surface import surface_of
from netgpt.inference.words import Words, words_of
from netgpt.models.tokenizer import ByteTokenizer, render_chat
from netgpt.network.scenario_file import load_scenario
from netgpt.world.simulated import SimulatedWorld

from .simulation import in_world

CAMPUS = replace(load_scenario("campus"), users=(), faults=())
EASY, HARD = "echo the word", "prove the theorem"


async def ask(world: SimulatedWorld, text: str, door: str = "device1", **fields: str) -> Finish:
    request = ChatRequest(request_id=f"r-{text}", model="route", messages=(("user", text),), max_tokens=12, temperature=0.0, **fields)  # type: ignore[arg-type]
    async for answer in world.door(door).chat(request):
        if isinstance(answer, Finish):
            return answer
    raise AssertionError("an answer ends with a finish")


def fitted_home(home: Path) -> str:
    """A home whose router knows that the device without weights is right about `EASY` prompts alone, the cloud about all."""
    tokenizer = ByteTokenizer()
    rows: list[tuple[float, ...]] = []
    for i in range(400):
        messages = (("user", f"{EASY if i % 2 else HARD} {8800 + i}"),)
        ids = render_chat(tokenizer, messages)
        rows.append(
            (
                *surface_of(messages),
                *Words().features([words_of(messages)])[0],
                *embed_tokens("hash-device", ids),
                *embed_tokens("hash-device", ids[-1:]),
            )
        )
    features_NF = np.array(rows)
    easy = np.arange(400) % 2 == 1
    router = fit_router(features_NF, {"hash-device": easy, "hash-edge": np.zeros(400, dtype=np.bool_), "hash-cloud": easy | ~easy}, price=0.5)
    write_calibrations(Calibrations(price=0.5, models={}, routers={"hash-device": router}), home / HOME_FILE)
    return str(home)


def test_the_device_keeps_what_it_is_expected_to_know_and_sends_the_rest_up(tmp_path: Path) -> None:
    async def both(world: SimulatedWorld) -> list[Finish]:
        return [await ask(world, f"{text} 9000") for text in (EASY, HARD)]

    easy, hard = in_world(CAMPUS, both, fitted_home(tmp_path))
    assert [span.node for span in easy.origin] == ["device1"]
    assert set(easy.link_bytes) == {"device1"}, "an easy prompt leaves its device in no form"
    assert [span.node for span in hard.origin] == ["cloud1"]
    assert hard.strategy == "route"


def test_content_that_may_not_leave_its_device_is_answered_there_whatever_is_expected(tmp_path: Path) -> None:
    finish = in_world(CAMPUS, lambda world: ask(world, f"{HARD} 9000", privacy="device-only"), fitted_home(tmp_path))
    assert set(finish.link_bytes) == {"device1"}


@pytest.mark.parametrize("door", ["device1", "edge1"])
def test_a_network_without_a_router_for_its_models_refuses_and_says_what_to_do(door: str) -> None:
    with pytest.raises(NotSupported, match="no router for hash-") as refused:
        in_world(CAMPUS, lambda world: ask(world, EASY, door))
    assert "netgpt calibrate" in refused.value.hint
