"""`netgpt ask`, `chat` and `models` as a user runs them, against a door on a real socket."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netgpt.api.app import create_door_app
from netgpt.api.server import serve_http
from netgpt.cli.door_client import printable
from netgpt.cli.main import main
from netgpt.core.chance import SeededChance
from netgpt.core.errors import ModelNotFound, NodeUnreachable, NotRunning, UsageError
from netgpt.inference.request import Answer, ChatRequest, Delta, Finish, ServedModel, Span
from netgpt.telemetry.metrics import Metrics


class EchoDoor:
    """Says back the last message in capitals, and how many messages it saw. `lost` breaks off midway."""

    def __init__(self) -> None:
        self.seen: list[ChatRequest] = []

    def models(self) -> list[ServedModel]:
        return [ServedModel(name=name, ready=True, nodes=("device1",), context_tokens=2048, parameters=7) for name in ("netgpt-device", "auto")]

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Answer, None]:
        self.seen.append(request)
        if request.model not in ("netgpt-device", "auto"):
            raise ModelNotFound(f"no model {request.model!r}", hint="did you mean 'auto'?", param="model")
        yield Delta(text=request.messages[-1][1].upper(), origin="device1")
        if "lost" in request.messages[-1][1]:
            raise NodeUnreachable("device1 is gone", hint="see netgpt ps")
        yield Delta(text=f" ({len(request.messages)})", origin="device1")
        span = Span(node="device1", tokens=4)
        yield Finish(
            reason="stop", prompt_tokens=3, completion_tokens=4, cached_tokens=0, strategy="direct", why="it is up", origin=(span,), switches=(),
            link_bytes={"device1": {"sent": 1000, "received": 24}}, time_to_first_token_s=0.02, duration_s=0.04,
        )  # fmt: skip


@contextmanager
def served(door: EchoDoor) -> Iterator[str]:
    """The door's URL; its server runs in a thread, as a command blocks this one."""
    started, ports = threading.Event(), []

    def ready(port: int) -> None:
        ports.append(port)
        started.set()

    app = create_door_app(door, node_id="device1", metrics=Metrics(), ready=lambda: True, chance=SeededChance(1))
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    serving = serve_http(app, host="127.0.0.1", port=0, ready=ready, stop=stop)
    thread = threading.Thread(target=loop.run_until_complete, args=(serving,))
    thread.start()
    try:
        assert started.wait(10)
        yield f"http://127.0.0.1:{ports[0]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


@pytest.fixture(scope="module")
def door() -> Iterator[tuple[EchoDoor, str]]:
    echo = EchoDoor()
    with served(echo) as url:
        yield echo, url


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NETGPT_HOME", str(tmp_path))
    return tmp_path


def test_the_answer_alone_is_on_stdout(door: tuple[EchoDoor, str], capsys: pytest.CaptureFixture[str]) -> None:
    echo, url = door
    for form in ("--stream", "--no-stream"):
        assert main(["ask", "hi", "--url", url, form, "--system", "Be brief.", "--max-tokens", "9", "--seed", "4"]) == 0
        assert capsys.readouterr() == ("HI (2)\n", "")
        request = echo.seen[-1]
        assert request.messages == (("system", "Be brief."), ("user", "hi"))
        assert (request.model, request.temperature, request.max_tokens, request.seed) == ("auto", 0, 9, 4)


def test_json_is_the_doors_whole_reply(door: tuple[EchoDoor, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "hi", "--url", door[1] + "/v1", "--json"]) == 0
    reply = json.loads(capsys.readouterr().out)
    assert reply["choices"][0]["message"]["content"] == "HI (1)"
    assert reply["netgpt"]["entry"] == "device1"


@pytest.mark.parametrize("arguments", [["-"], []])
def test_a_question_may_be_piped_in(
    arguments: list[str], door: tuple[EchoDoor, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("two\nlines\n"))
    assert main(["ask", *arguments, "--url", door[1]]) == 0
    assert capsys.readouterr().out == "TWO\nLINES (1)\n"


def test_a_terminal_gets_one_line_about_the_answer(
    door: tuple[EchoDoor, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert main(["ask", "hi", "--url", door[1]]) == 0
    assert capsys.readouterr().err == "direct: it is up | device1 4 tokens | first token 20 ms | 100 tokens/s | 1.0 KiB to engines\n"


def test_errors_keep_their_words_and_exit_status(
    door: tuple[EchoDoor, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["ask", "hi", "--url", door[1], "--model", "gpt"]) == ModelNotFound.exit_code
    assert capsys.readouterr() == ("", "error: no model 'gpt'\nnext: did you mean 'auto'?\n")
    assert main(["ask", "lost", "--url", door[1]]) == NodeUnreachable.exit_code
    assert capsys.readouterr() == ("LOST\n", "error: device1 is gone\nnext: see netgpt ps\n")
    assert main(["ask", "hi", "--url", "http://127.0.0.1:9"]) == NodeUnreachable.exit_code
    assert main(["ask", "hi", "--url", "127.0.0.1:9"]) == UsageError.exit_code
    assert main(["ask", "hi"]) == NotRunning.exit_code
    assert "netgpt up" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO("  \n"))
    assert main(["ask", "--url", door[1]]) == UsageError.exit_code


def test_a_conversation_remembers_its_turns_and_takes_commands(
    door: tuple[EchoDoor, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    echo, url = door
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\n/model netgpt-device\ntwo\n/stats\n/model\n/help\n/quit\nnever\n"))
    assert main(["chat", "--url", url]) == 0
    out, err = capsys.readouterr()
    assert out == "ONE (1)\nTWO (3)\n"
    assert echo.seen[-1].messages == (("user", "one"), ("assistant", "ONE (1)"), ("user", "two"))
    assert echo.seen[-1].model == "netgpt-device"
    assert "direct: it is up" in err
    assert "netgpt-device\nauto" in err
    assert "/quit" in err


@pytest.mark.parametrize(("line", "status"), [("/nod", UsageError), ("/node", UsageError), ("/model x", UsageError), ("/node edge1", NotRunning)])
def test_a_piped_conversation_ends_at_the_first_error(
    line: str, status: type[UsageError], door: tuple[EchoDoor, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{line}\nhello\n"))
    assert main(["chat", "--url", door[1]]) == status.exit_code
    assert capsys.readouterr().out == ""


class Terminal(io.StringIO):
    """Standard input that is a terminal; `interrupt` in a line is Ctrl-C."""

    def isatty(self) -> bool:
        return True

    def readline(self, *_: object) -> str:
        line = super().readline()
        if line.startswith("interrupt"):
            raise KeyboardInterrupt
        return line


def test_at_a_terminal_an_error_does_not_end_the_conversation_but_ctrl_c_does(
    door: tuple[EchoDoor, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("lost\nhi\ninterrupt\nnever\n"))
    assert main(["chat", "--url", door[1]]) == 0
    out, err = capsys.readouterr()
    assert out.replace("> ", "") == "LOST\nHI (1)\n"  # the failed turn is not remembered
    assert "error: device1 is gone\nnext: see netgpt ps\n" in err


def test_models_are_the_networks_or_else_the_machines(
    door: tuple[EchoDoor, str], home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netgpt.models.store.search_path", lambda *_: [home / "models"])
    assert main(["models"]) == 0
    assert "netgpt models fetch" in capsys.readouterr().err
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    monkeypatch.setattr("netgpt.world.runstate.door_url", lambda *_: door[1])
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0] == {
        "name": "netgpt-device",
        "ready": True,
        "nodes": ["device1"],
        "parameters": 7,
        "context_tokens": 2048,
    }
    assert main(["models"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["netgpt-device", "yes", "device1", "7", "2048"]


def test_an_answer_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x9b\x7f\r\n\tü") == "a[2Jb\n\tü"


def test_an_empty_question_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", " "]) == 2
    assert capsys.readouterr().err.splitlines()[0] == "error: the question is empty"
