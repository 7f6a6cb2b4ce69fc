"""Events of an upstream's stream: what is read the short way must be what a parser reads."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgpt.engine.openai_stream import BadChunk, Chunk, ChunkReader, read_chunk


def event(content: object, **fields: object) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": None}
    return json.dumps({"id": "chatcmpl-1", "choices": [choice], **fields}, ensure_ascii=bool(fields.get("ascii"))).encode()


def read_all(events: list[bytes], read: Any) -> list[Any]:
    """What each event says, or that it is none."""
    told: list[Any] = []
    for data in events:
        try:
            told.append(read(data))
        except BadChunk as error:
            told.append(str(error))
    return told


WORDS = st.one_of(st.text(max_size=12), st.sampled_from(["a", "content", "chatcmpl-1", "index", '"', "\\", "\\u0061", "\n", "网络 ", "", "é"]))


@given(st.lists(st.tuples(WORDS, st.sampled_from([{}, {"ascii": 1}, {"created": 2}, {"usage": None}, {"a": "a"}])), max_size=12))
def test_a_reader_that_learns_reads_what_a_parser_reads(said: list[tuple[str, dict[str, Any]]]) -> None:
    events = [event(words, **fields) for words, fields in said]
    assert read_all(events, ChunkReader().read) == read_all(events, read_chunk)


@given(st.binary(max_size=40), st.integers(0, 120), st.integers(0, 120))
def test_a_stranger_who_breaks_an_event_anywhere_gains_nothing(junk: bytes, start: int, end: int) -> None:
    good = event("a word ")
    events = [good, good[:start] + junk + good[end:], good[:start] + good[end:], event("another")]
    assert read_all(events, ChunkReader().read) == read_all(events, read_chunk)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b'{"x":"a","choices":[{"delta":{"content":"\\u0061"}}]}', b'{"x":"b","choices":[{"delta":{"content":"\\u0061"}}]}'),
        (b'{"choices":[{"delta":{"content":"a","content":"\\u0061"}}]}', b'{"choices":[{"delta":{"content":"b","content":"\\u0061"}}]}'),
        (b'{"choices":[{"delta":{"content":"a"}}]}', b'{"choices":[{"delta":{"content":"}}]}'),
        (b'{"choices":[{"delta":{"content":"a"}}]}', b'{"choices":[{"delta":{"content":"\xff"}}]}'),
        (b'{"choices":[{"delta":{"content":"a"}}]}', b'{"choices":[{"delta":{"content":"b\x01"}}]}'),
        (b'{"choices":[{"delta":{"content":"a"}}]}', b'{"choices":[{"delta":{"content":"b","role":"c"}}]}'),
        (b'{"id":"1","choices":[{"delta":{"content":":"}}]}', b'{"id":"1","choices":[{"delta":{"content":","}}]}'),
        (b'{"id":"1","model":"m","choices":[{"delta":{"content":","}}]}', b'{"id":"1","model":"m","choices":[{"delta":{"content":":"}}]}'),
    ],
)
def test_what_only_looks_like_a_known_event_is_parsed(first: bytes, then: bytes) -> None:
    assert read_all([first, then], ChunkReader().read) == read_all([first, then], read_chunk)


def test_known_events_are_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = ChunkReader()
    assert reader.read(event("one ")) == Chunk("one ")

    def parse(data: bytes) -> Chunk:
        raise AssertionError(data)

    monkeypatch.setattr("netgpt.engine.openai_stream.read_chunk", parse)
    assert [reader.read(event(words)).text for words in ("two ", "网络", "")] == ["two ", "网络", ""]


def test_a_server_whose_events_never_repeat_is_not_learnt_from_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, parsed = ChunkReader(), []

    def parse(data: bytes) -> Chunk:
        parsed.append(data)
        return read_chunk(data)

    monkeypatch.setattr("netgpt.engine.openai_stream.read_chunk", parse)
    assert [reader.read(event("x ", created=number)).text for number in range(100)] == ["x "] * 100
    assert len(parsed) < 110


@given(st.lists(st.tuples(WORDS, st.sampled_from([{}, {}, {}, {"ascii": 1}, {"created": 2}])), max_size=30))
def test_events_that_come_together_say_what_they_say_alone(said: list[tuple[str, dict[str, Any]]]) -> None:
    events = [event(words, **fields) for words, fields in said]
    alone, together = read_all(events, read_chunk), list(ChunkReader().read_all(events))
    assert "".join(chunk.text for chunk in together) == "".join(chunk.text for chunk in alone)
    assert sum(chunk.pieces for chunk in together if chunk.text) == sum(bool(chunk.text) for chunk in alone)


def test_a_bad_event_among_known_ones_is_told_after_those_before_it() -> None:
    told = ChunkReader().read_all([event("one "), event("two "), event("three "), event("four ")[:-1], event("five ")])
    assert "".join(next(told).text for _ in range(3)) == "one two three "
    with pytest.raises(BadChunk):
        next(told)


@given(st.binary(max_size=12), st.integers(0, 90), st.integers(0, 90), st.integers(0, 4))
def test_a_broken_event_among_others_gains_nothing(junk: bytes, start: int, end: int, place: int) -> None:
    events = [event(f"word{number}") for number in range(4)]
    events.insert(place, (events[0][:start] + junk + events[0][end:]).replace(b"\n", b""))

    def read(told: Any) -> tuple[str, str]:
        text = ""
        try:
            for chunk in told:
                text += chunk.text
        except BadChunk as error:
            return text, str(error)
        return text, ""

    assert read(ChunkReader().read_all(events)) == read(map(read_chunk, events))


def test_an_event_in_two_lines_is_two_bad_events() -> None:
    first, broken = event("one"), event("two four")
    begin, _, end = broken.partition(b" ")
    with pytest.raises(BadChunk):
        list(ChunkReader().read_all([first, first, begin + b"two", b"four" + end, first]))
