"""Requests of one phone under the virtual clock, answered by the shipped models themselves at the pace of declared machines.

Nothing is looked up: engines decode with their weights, doors run their strategies on what comes, cell and links carry every message, and the
declared machines say when a token may leave. So accuracy, times and energy of a request are of one and the same run.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from netgpt.bench.matrix_data import site_named, told_of, with_data
from netgpt.core.chance import SeededChance
from netgpt.core.clock import Clock, run_virtual
from netgpt.core.compute import VirtualCompute
from netgpt.core.storage import SimulatedStorage
from netgpt.core.transport import Call, Connection, Payload
from netgpt.corpus.families import BY_NAME
from netgpt.corpus.task import Task
from netgpt.engine.contract import Engine
from netgpt.engine.decode import FusedDecoder
from netgpt.engine.timed import TimedEngine
from netgpt.engine.torch_engine import TorchEngine
from netgpt.inference.request import ChatRequest, Finish
from netgpt.learn.evaluate import REPLY_TOKENS
from netgpt.models.card import ModelCard
from netgpt.models.checkpoint import load_model
from netgpt.models.store import find_model, read_card, search_path
from netgpt.models.tokenizer import BpeTokenizer
from netgpt.network.profile import find_profile
from netgpt.network.scenario import Scenario
from netgpt.network.scenario_file import parse_scenario
from netgpt.world.config import EngineConfig
from netgpt.world.declared import declared_machine
from netgpt.world.simulated import SimulatedWorld
from netgpt.world.spent import radio_joules

PHONE, SITE, REGISTER = "phone", "edge", "edge:register"
PROFILE = {"device": ("phone", 1e9, 4), "edge": ("edge-server", 8e9, 32), "cloud": ("cloud-server", 70e9, 64)}  # machine, parameters, slots
QUIET_S = 4.0  # before the first request: what the radio spends on being a member
PAUSE_S, TAIL_S = 0.5, 0.3  # mean of the pauses between requests; after an answer until the radio sleeps again, which is the answer's too
CALL_S = 5.0

# One cell as `vehicles` has it, at rest; DRX with the values of `network.access.Drx`. Behind it the cloud is as far as a distant server of the
# speed tests is beyond a near one: medians of 58 and 16 ms, low-band 5G (SIGCOMM21-5G/artifact).
_NETWORK = """
name = "matrix"
default_node = "phone"
[[cell]]
id = "cell"
at = "edge"
bandwidth = "100MHz"
numerology = "30kHz"
tdd = "DDDSU"
background_up = "30%"
background_down = "30%"
drx_cycle = "160ms"
drx_on = "10ms"
drx_inactivity = "100ms"
[[attach]]
node = "phone"
cell = "cell"
efficiency_up = 1.6
efficiency_down = 3.3
[[link]]
between = ["edge", "cloud"]
up = "1Gbps"
down = "1Gbps"
delay = "21ms"
"""
_NODE = '[[node]]\nid = "{id}"\ntier = "{tier}"\nmodel = "netgpt-{tier}"\nprofile = "{machine}"\nparameters = {parameters}\nslots = {slots}\n'


@dataclass(frozen=True, kw_only=True)
class Way:
    """One cell of the matrix."""

    inference: str  # "device" or "cloud"
    compute: bool = False  # whether the network computes for it,
    data: bool = False  # and tells what it knows

    @property
    def help(self) -> str:
        return {(False, False): "none", (True, False): "compute", (False, True): "data", (True, True): "both"}[self.compute, self.data]

    @property
    def name(self) -> str:
        return f"{self.inference}_{self.help}"

    @property
    def at_site(self) -> str:
        """Whose model and machine stand at the cell's site."""
        return "cloud" if self.inference == "cloud" and self.compute else "edge"

    @property
    def model(self) -> str:
        """What the phone asks its door for."""
        if self.inference == "device":
            return "cascade" if self.compute else "netgpt-device"
        return "netgpt-edge" if self.compute else "netgpt-cloud"  # by tier: at the site stands the cloud's model then


WAYS = tuple(
    Way(inference=where, compute=compute, data=data)
    for where in ("device", "cloud")
    for compute, data in ((False, False), (True, False), (False, True), (True, True))
)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """How one request went."""

    task: str
    right: bool
    first_s: float  # from the question to the first token at the phone
    total_s: float
    energy_j: float  # of the phone: its neural processor's and its radio's, beyond what they spend without the request
    node: str  # that made the last token


def network_of(way: Way) -> Scenario:
    """The phone, its cell's site and a cloud."""
    models = {PHONE: "device", SITE: way.at_site, "cloud": "cloud"}
    tiers = {PHONE: "device", SITE: "edge", "cloud": "cloud"}
    parts = []
    for node, model in models.items():
        machine, parameters, slots = PROFILE[model]
        parts.append(_NODE.format(id=node, tier=tiers[node], machine=machine, parameters=parameters, slots=slots))
    head, cell = _NETWORK.split("[[cell]]", 1)
    return parse_scenario("".join((head, *parts, "[[cell]]", cell)), where="matrix.toml")


def play(way: Way, tasks: Sequence[Task], seed: int) -> list[Seen]:
    """The phone asks the tasks one after the other. A pure function of its arguments and of the installed models.

    Raises:
        ModelNotFound: a tier's model is not installed.
    """
    return run_virtual(_asked(way, tasks, seed))


async def _asked(way: Way, tasks: Sequence[Task], seed: int) -> list[Seen]:
    made: dict[str, TimedEngine] = {}

    def make(config: EngineConfig, clock: Clock) -> Engine:
        tier = way.at_site if config.node == SITE else config.tier
        made[config.node] = timed_engine(tier, config, clock)
        return made[config.node]

    world = SimulatedWorld(network_of(way), seed, SimulatedStorage(), make=make, tokenizer=shipped_tokenizer())
    await world.start()
    await world.network.transport(SITE).listen(REGISTER, _register)
    phone = _Phone(world, way, made[PHONE])
    pauses = SeededChance(seed).stream(f"matrix.pauses {way.name}")
    await phone.rest(QUIET_S)
    seen: list[Seen] = []
    for task in tasks:
        await world.clock.sleep(float(pauses.exponential(PAUSE_S)))
        seen.append(await phone.ask(task))
    await world.close()
    return seen


async def _register(call: Call) -> AsyncGenerator[Payload, None]:
    """The network's register of sites, at the cell's site: what is to be known of a site, by its name."""
    name, _, column = call.payload.decode().partition(" ")
    yield told_of(name, column).encode()


class _Phone:
    """Who asks, and what it spends."""

    def __init__(self, world: SimulatedWorld, way: Way, processor: TimedEngine) -> None:
        self._world = world
        self._way = way
        self._processor = processor
        profile = find_profile(PROFILE["device"][0])
        self._computing_w = profile.busy_w - profile.idle_w
        self._register: Connection = world.network.transport(PHONE).connect(REGISTER)
        self._idle_w = 0.0

    def _spent_j(self) -> float:
        assert self._world.radio is not None
        return radio_joules(self._world.radio, self._world.clock.now_s(), PHONE) + self._computing_w * self._processor.busy_s()

    async def rest(self, duration_s: float) -> None:
        """Learn what it spends while nobody asks."""
        await self._world.clock.sleep(duration_s)  # joining is over
        before_j = self._spent_j()
        await self._world.clock.sleep(duration_s)
        self._idle_w = (self._spent_j() - before_j) / duration_s

    async def ask(self, task: Task) -> Seen:
        clock = self._world.clock
        began_s, before_j = clock.now_s(), self._spent_j()
        messages = await self._prompt(task)
        known_s = clock.now_s() - began_s
        finish, text = await self._answer(task, messages)
        await clock.sleep(TAIL_S)
        return Seen(
            task=task.id,
            right=BY_NAME[task.family].accepts(task, text),
            first_s=known_s + finish.time_to_first_token_s,
            total_s=known_s + finish.duration_s,
            energy_j=self._spent_j() - before_j - self._idle_w * (clock.now_s() - began_s),
            node=finish.origin[-1].node if finish.origin else "",
        )

    async def _prompt(self, task: Task) -> tuple[tuple[str, str], ...]:
        """The task's conversation, with what the register says of the site that it names."""
        asked = site_named(task) if self._way.data else None
        if asked is None:
            return task.messages
        async for payload in self._register.call("recall", f"{asked.site} {asked.column}".encode(), deadline_s=CALL_S):
            return with_data(task, payload.decode())
        return task.messages

    async def _answer(self, task: Task, messages: tuple[tuple[str, str], ...]) -> tuple[Finish, str]:
        request = ChatRequest(
            request_id=f"chatcmpl-{task.id}", model=self._way.model, messages=messages, max_tokens=REPLY_TOKENS, temperature=0.0, seed=0
        )
        text: list[str] = []
        async for answer in self._world.door(PHONE).chat(request):
            if isinstance(answer, Finish):
                return answer, "".join(text)
            text.append(answer.text)
        raise RuntimeError(f"the answer to {task.id} has no end")


class _EachStep:
    """A clock by which every decoding step takes longer than a burst: each token is told by itself, as by a machine that takes its time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._read = 0

    def now_s(self) -> float:
        self._read += 1
        return float(self._read)

    def date_s(self) -> float:
        return self._clock.date_s()

    async def sleep(self, duration_s: float) -> None:
        await self._clock.sleep(duration_s)


def timed_engine(tier: str, config: EngineConfig, clock: Clock) -> TimedEngine:
    """The shipped model of a tier, at the pace of the machine that the node is declared to be."""
    decoder, card = _weights(tier)
    machine = declared_machine(config)
    assert machine is not None
    return TimedEngine(TorchEngine(decoder, card, compute=VirtualCompute(clock), clock=_EachStep(clock), slots=config.slots), machine, clock)


@cache
def _weights(tier: str) -> tuple[FusedDecoder, ModelCard]:
    torch.set_num_threads(1)  # so small models are no faster with more
    folder = find_model(f"netgpt-{tier}", search_path(None))
    return FusedDecoder(load_model(folder, "float32")), read_card(folder)


@cache
def shipped_tokenizer() -> BpeTokenizer:
    """All shipped models have the same."""
    return BpeTokenizer.load(find_model("netgpt-device", search_path(None)))


def column_of(seen: Sequence[Seen], name: str) -> np.ndarray:
    """One measure of all requests: shape (N,)."""
    return np.array([float(getattr(one, name)) for one in seen])
