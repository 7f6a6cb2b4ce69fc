"""The gateway bench's parts on real sockets: a paced mock, a client that times every piece, and what is made of it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from netgpt.bench import gateway
from netgpt.bench.gateway import Amounts, judge_streams, memory_figures, overhead_figures, stream_figures
from netgpt.bench.gateways import PEERS, mock_upstream, peer_gateway, scenario_text
from netgpt.bench.http_load import LOST, Answer, Target, ask_all, is_whole, stream_tokens
from netgpt.bench.mock_upstream import MODEL
from netgpt.core.errors import MissingExtra, NetgptError
from netgpt.world.pids import pid_of

FEW = Amounts(rounds=2, sequential=10, concurrent=64, streams=20, stream_tokens=3, stream_ramp_s=0.1, memory_requests=10, memory_warm_up=1)


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    with mock_upstream() as url:
        yield url


def ask(target: Target, *requests: bytes, connections: int = 1) -> list[Answer]:
    return asyncio.run(ask_all(target, requests, connections=connections))


def test_the_mock_answers_as_openai_s_api_does(upstream: str) -> None:
    with httpx.Client(base_url=upstream, trust_env=False) as client:
        body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
        reply = client.post("/v1/chat/completions", json=body | {"max_tokens": 3}).json()
        assert reply["choices"][0]["message"]["content"] == "word word word "
        assert reply["usage"] == {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
        streamed = client.post("/v1/chat/completions", json=body | {"stream": True, "stream_options": {"include_usage": True}}).text
        assert streamed.count('"content": "word "') == 8
        assert streamed.endswith("data: [DONE]\n\n")
        assert '"completion_tokens": 8' in streamed
        assert client.get("/v1/models").json()["data"][0]["id"] == MODEL
        assert client.get("/health").status_code == 200
        assert client.get("/nothing").status_code == 404
        assert client.post("/v1/chat/completions", content=b"{}").status_code == 400


def test_a_paced_stream_carries_its_tag_numbers_and_times(upstream: str) -> None:
    target = Target(url=upstream, model=MODEL)
    pace = {"tag": "a", "tokens": 4, "first_s": 0.02, "gap_s": 0.02}
    (answer,) = ask(target, target.request(json.dumps(pace), stream=True))
    tokens = stream_tokens(answer)
    assert tokens is not None
    assert [(token.tag, token.number) for token in tokens] == [("a", number) for number in range(4)]
    assert all(token.arrived_s >= token.sent_s for token in tokens)
    assert tokens[-1].sent_s - tokens[0].sent_s >= 0.055
    assert is_whole(answer)


def test_connections_are_kept_and_every_request_has_its_answer(upstream: str) -> None:
    target = Target(url=upstream, model=MODEL, key="any")
    answers = ask(target, *[target.request("hi", stream=number % 2 == 0) for number in range(50)], connections=8)
    assert [answer.status for answer in answers] == [200] * 50
    assert all(answer.total_s > 0 for answer in answers)


def test_an_answer_that_breaks_off_is_lost_and_the_next_has_a_new_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            half, whole, garbage = (
                b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
                b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                b"no HTTP\r\n\r\n",
            )
            for said in ((half,), (whole, garbage)):  # by connection
                connection, _ = server.accept()
                with connection:
                    for data in said:
                        connection.recv(65536)
                        connection.sendall(data)

        thread = threading.Thread(target=serve)
        thread.start()
        target = Target(url=f"http://127.0.0.1:{server.getsockname()[1]}", model=MODEL)
        answers = ask(target, *[target.request("hi")] * 3)
        thread.join(10)
    assert [answer.status for answer in answers] == [LOST, 200, LOST]


def test_nobody_at_the_address_is_a_lost_answer_and_no_error() -> None:
    target = Target(url="http://127.0.0.1:9", model=MODEL)
    assert ask(target, target.request("hi"))[0].status == LOST


def stream_of(*texts: str, gap_s: float = 0.25, end: bool = True) -> Answer:
    pieces = [
        (10 + place * gap_s, b"data: " + json.dumps({"choices": [{"delta": {"content": text}}]}).encode() + b"\n\n")
        for place, text in enumerate(texts)
    ]
    return Answer(asked_s=0.0, status=200, pieces=[*pieces, (12.0, b"data: [DONE]\n\n")] if end else pieces)


def test_streams_are_judged_by_what_was_sent() -> None:
    good = stream_of("a:0:1000000 ", "a:1:1250000 ", gap_s=0.26)
    figures = judge_streams([good], 2)
    assert figures == {"streams_lost": 0, "streams_garbled": 0, "streams_out_of_order": 0, "jitter_p50_ms": 10.0, "jitter_p99_ms": 10.0}
    cases = {
        "streams_lost": [stream_of("a:0:0 ", end=False), stream_of("a:0:0 "), Answer(asked_s=0.0)],
        "streams_garbled": [stream_of("a:0:0 ", "b:1:0 "), stream_of("a:0:0 ", "a1:0 "), stream_of("a:0:0 ", "a:1:")],
        "streams_out_of_order": [stream_of("a:1:0 ", "a:0:0 ")],
    }
    for name, answers in cases.items():
        for answer in answers:
            found = judge_streams([answer], 2)
            assert [key for key in found if key.startswith("streams") and found[key]] == [name]
    assert judge_streams([good, good], 2)["streams_garbled"] == 1


def test_a_token_cut_into_pieces_arrives_with_its_last(upstream: str) -> None:
    whole = stream_of("a:0:0 ")
    cut = Answer(asked_s=0.0, status=200, pieces=[(1.0, whole.pieces[0][1][:20]), (2.0, whole.pieces[0][1][20:])])
    tokens = stream_tokens(cut)
    assert tokens is not None
    assert [token.arrived_s for token in tokens] == [2.0]


def test_overheads_are_over_direct_and_named_by_gateway(upstream: str) -> None:
    with mock_upstream("--first-ms", "60") as slow:
        targets = {"direct": Target(url=upstream, model=MODEL), "netgpt": Target(url=slow, model=MODEL), "litellm": Target(url=slow, model=MODEL)}
        figures = overhead_figures(targets, FEW)
    for name in ("overhead_p50_ms", "overhead_p50_ms_stream", "overhead_p50_ms_concurrent", "litellm_overhead_p50_ms_stream_concurrent"):
        assert figures[name] > 30, name
        assert figures[f"{name}_min"] <= figures[name] <= figures[f"{name}_max"]
    assert {"overhead_p99_ms", "direct_p99_ms_concurrent", "litellm_times_ours"} <= set(figures)


def test_streams_through_a_gateway_are_counted_and_timed(upstream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway, "GAP_S", 0.05)
    figures = stream_figures({"direct": Target(url=upstream, model=MODEL), "netgpt": Target(url=upstream, model=MODEL)}, FEW)
    assert [figures[name] for name in ("streams", "streams_lost", "streams_garbled", "streams_out_of_order")] == [20, 0, 0, 0]
    assert figures["streams_at_once"] == 20
    assert "added_jitter_p99_ms" in figures


def test_a_gateway_that_refuses_measures_nothing(upstream: str) -> None:
    refusing = Target(url=upstream, model=MODEL)
    with pytest.raises(NetgptError, match="answered 4"):
        gateway._check(refusing, ask(refusing, b"POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"))


@pytest.mark.parametrize("name", PEERS)
def test_an_absent_peer_has_a_reason(name: str, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netgpt.bench.gateways.PEERS_FOLDER", tmp_path / "bin")
    with pytest.raises(MissingExtra) as caught, peer_gateway(name, "http://127.0.0.1:9", tmp_path):
        pass
    assert caught.value.hint == "make peers"


def test_the_network_that_is_measured_asks_the_upstream_from_its_door() -> None:
    text = scenario_text("http://127.0.0.1:7")
    assert 'engine = "openai"' in text
    assert 'upstream = "http://127.0.0.1:7/v1"' in text


def test_memory_and_processor_time_are_those_of_the_processes(upstream: str) -> None:
    me = pid_of(os.getpid())
    assert me is not None
    figures = memory_figures(Target(url=upstream, model=MODEL), {"door": me}, FEW)
    assert figures["rss_growth_mb"] == figures["rss_growth_door_mb"]
    assert figures["cpu_ms_per_request_door"] >= 0
    assert figures["rss_growth_requests"] == FEW.memory_requests
