"""llama.cpp's server as an upstream, with our weights: it must say what our own engine says, and be found to do what it can."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from netgpt.core.clock import WallClock
from netgpt.core.compute import ThreadCompute
from netgpt.engine.openai_engine import OpenAIEngine
from netgpt.engine.openai_request import Upstream
from netgpt.engine.torch_engine import TorchEngine
from netgpt.models.generation import Generate, Text, Tokens, Turn
from netgpt.models.hf_tokenizer import load_tokenizer
from netgpt.node.recode import generate_text

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "weights" / "netgpt-device"
PEERS = ROOT / ".venv-peers"
QUESTIONS = ("What is the packet delay budget of 5QI 1?", "Which resource type has 5QI 5?", "5QI 9 的分组时延预算是多少？")

pytestmark = [
    pytest.mark.skipif(not list(PEERS.glob("lib/*/site-packages/xllamacpp")), reason="llama.cpp's server is not there: make peers"),
    pytest.mark.skipif(not (WEIGHTS / "config.json").exists(), reason="the checkout has no weights"),
]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("llama")
    command = [PEERS / "bin" / "python", Path(__file__).parent / "llama_server.py", WEIGHTS, folder / "model.gguf"]
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=clean, text=True) as process,
    ):
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url, (folder / "log").read_text()
        yield url
        process.kill()  # it has no way of its own to stop that does not wait for its connections


def asking(question: str, answer: bytes = b"") -> Generate:
    text = Text(messages=(Turn(role="user", content=question),), answer=answer, logprobs=True)
    return Generate(session="s", ids=(), max_tokens=24, text=text, top_logprobs=2)


async def heard(replies: AsyncIterator[Tokens]) -> tuple[bytes, list[float], str]:
    """The answer, the log-probability of each token that shows, and why it ended."""
    data, logprobs, finish = b"", [], ""
    async for tokens in replies:
        data += tokens.data
        logprobs += [value for value, token in zip(tokens.logprobs, tokens.tokens, strict=True) if token]
        finish = tokens.finish or finish
    return data, logprobs, finish


def on_both(url: str, question: str, answer: bytes = b"") -> list[tuple[bytes, list[float], str]]:
    """What llama.cpp and our own engine say to the same request."""

    async def main() -> list[tuple[bytes, list[float], str]]:
        compute = ThreadCompute()
        theirs = OpenAIEngine(Upstream(url=url, model=WEIGHTS.name), WallClock(), tier="device")
        ours = TorchEngine.from_folder(WEIGHTS, dtype="float32", compute=compute, clock=WallClock(), slots=1, threads=1)
        request = asking(question, answer)
        assert request.text is not None
        try:
            await theirs.look()
            async with (
                aclosing(theirs.generate(request)) as one,
                aclosing(generate_text(ours, load_tokenizer(WEIGHTS), request, request.text)) as two,
            ):
                return [await heard(one), await heard(two)]
        finally:
            await theirs.close()
            await ours.close()
            compute.close()

    return asyncio.run(main())


def test_what_llama_cpp_can_do_is_found_out(url: str) -> None:
    async def main() -> None:
        engine = OpenAIEngine(Upstream(url=url, model=WEIGHTS.name), WallClock(), tier="device")
        await engine.look()
        able = engine.capabilities
        assert (able.logprobs, able.top_logprobs, able.continues, able.usage, able.prompt_ids) == (True, 20, True, True, True)
        assert (engine.card.context_tokens, engine.card.parameters) == (2048, 188_592)
        await engine.close()

    asyncio.run(main())


@pytest.mark.parametrize("question", QUESTIONS)
def test_llama_cpp_says_with_our_weights_what_our_engine_says(url: str, question: str) -> None:
    theirs, ours = on_both(url, question)
    assert theirs[0] == ours[0] != b""
    assert theirs[1] == pytest.approx(ours[1], abs=1e-4)
    assert theirs[2] == ours[2] == "stop"


@pytest.mark.parametrize("begun", [1, 3])
def test_llama_cpp_goes_on_from_words_as_our_engine_does(url: str, begun: int) -> None:
    (whole, _, _), _ = on_both(url, QUESTIONS[0])
    theirs, ours = on_both(url, QUESTIONS[0], whole[:begun])
    assert theirs[0] == ours[0] == whole[begun:]
