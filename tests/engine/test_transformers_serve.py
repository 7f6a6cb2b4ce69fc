"""`transformers serve` as an upstream: another maker's server, with our weights, in a process of its own. It gives plain text."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing
from importlib.util import find_spec
from pathlib import Path

import pytest

from netgpt.core.clock import WallClock
from netgpt.core.errors import NetgptError, NotSupported
from netgpt.engine.openai_engine import OpenAIEngine
from netgpt.engine.openai_request import Upstream
from netgpt.models.generation import Generate, Text, Turn
from netgpt.world.ports import free_ports

WEIGHTS = Path(__file__).parents[2] / "weights" / "netgpt-device"
MISSING = [name for name in ("transformers", "fastapi", "accelerate") if find_spec(name) is None]
START_S = 280.0

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"transformers serve needs {', '.join(MISSING)}: make test installs them"),
    pytest.mark.skipif(not (WEIGHTS / "config.json").exists(), reason="the checkout has no weights"),
    pytest.mark.timeout(600),
]


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    [port] = free_ports(1)
    (tmp_path / "hub").mkdir()  # it lists what the hub's cache holds, and fails without one
    command = [Path(sys.executable).parent / "transformers", "serve", str(WEIGHTS), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=offline, stdout=log, stderr=log)
        try:
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()
            process.wait()


async def until_there(engine: OpenAIEngine, clock: WallClock) -> None:
    deadline_s = clock.now_s() + START_S
    while True:
        await engine.look()
        try:
            engine.load()
        except NetgptError:
            assert clock.now_s() < deadline_s, "transformers serve did not start"
            await clock.sleep(0.5)
        else:
            return


def test_another_makers_server_answers_as_text_and_its_lack_of_logprobs_is_found_out(url: str) -> None:
    async def main() -> None:
        clock = WallClock()
        engine = OpenAIEngine(Upstream(url=url, model=str(WEIGHTS)), clock, tier="edge")
        await until_there(engine, clock)
        assert not engine.capabilities.logprobs
        assert engine.capabilities.usage
        text = Text(messages=(Turn(role="user", content="Which delay budget does 5QI 1 have?"),))
        request = Generate(session="s", ids=(), max_tokens=16, text=text)
        async with aclosing(engine.generate(request)) as replies:
            heard = [tokens async for tokens in replies]
        assert b"".join(tokens.data for tokens in heard).strip()
        assert heard[-1].finish in ("stop", "length")
        assert 1 <= sum(tokens.made for tokens in heard) <= 16
        assert heard[-1].prompt_tokens > 5
        with pytest.raises(NotSupported, match="no logprobs"):
            await anext(engine.generate(Generate(session="s", ids=(), max_tokens=4, text=Text(messages=text.messages, logprobs=True))))
        await engine.close()

    asyncio.run(main())
