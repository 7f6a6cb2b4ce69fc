"""OpenAI's streamed answers: bytes to events, events to what they say. Pure.

Everything here comes from a stranger: each value's type is checked, each length bounded, and what does not
fit is a `BadChunk` that says in a few words what came.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

MAX_LINE_BYTES = 1 << 20
SHOWN_CHARS = 300
DONE = b"[DONE]"
_NOTHING: Mapping[str, Any] = {}
_PLAIN = frozenset({"content", "role"})
_ESCAPED = re.compile(rb'["\\\x00-\x09\x0b-\x1f]').search  # what cannot stand for itself in a JSON string; no event has a line's end
_DATA = re.compile(rb"^data:[ \t]*([^\r\n]*)", re.MULTILINE).findall
_MOST_LESSONS = 4
END_TOKEN = re.compile(rb"<\|[^<>|]*\|>|</?s>|<(end|start)_of_turn>|<eos>|")  # ends a turn and is no text


class BadChunk(Exception):
    """What came is no part of an answer; the text says what it is."""


class ErrorSaid(Exception):
    """The server tells of an error within its answer; the text is its own, bounded."""


class Scored(NamedTuple):
    """One token with its log-probability and the likeliest at its place."""

    token: bytes
    logprob: float
    top: tuple[tuple[bytes, float], ...] = ()


class Chunk(NamedTuple):
    """What one event of an answer says, or several that say nothing but text."""

    text: str = ""
    pieces: int = 1  # events that its text came in
    finish: str = ""
    scored: tuple[Scored, ...] | None = None  # None: it says nothing of log-probabilities
    thinks: bool = False  # text that is not part of the answer
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int = 0


class EventLines:
    """Splits a body into the data of its events. Holds one unfinished line at most."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the events that `data` completes.

        Raises:
            BadChunk: a line does not end.
        """
        lines, _, self._rest = (self._rest + data).rpartition(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            raise BadChunk(f"a line of more than {MAX_LINE_BYTES} bytes")
        return _DATA(lines)


class ChunkReader:
    """Reads the events of one answer, most of which differ in their words alone: these are not parsed again and again.

    What stands before and after the words is learnt from an event that was parsed. Another event with the same around words
    without quote, backslash and control character is then the same JSON with another string. That the learnt place is
    that of the words is found out by putting others there.
    """

    def __init__(self) -> None:
        self._before = self._after = b""
        self._least = MAX_LINE_BYTES + 1  # bytes of a known event; nothing is known yet
        self._lessons = 0  # since one was of use

    def read_all(self, events: Sequence[bytes]) -> Iterator[Chunk]:
        """What some events' data says; those that differ in their words alone are one chunk. Raises what `read_chunk` raises."""
        begin = 0
        if not self._before and events:
            begin = 1
            yield self.read(events[0])
        if self._before and len(events) > begin + 1:
            run, count = self._run(events[begin:])
            if run is not None:
                yield run
            begin += count
        for data in events[begin:]:
            yield self.read(data)

    def _run(self, events: Sequence[bytes]) -> tuple[Chunk | None, int]:
        """The known events with which some begin, as one chunk, and how many they are; none where one of them has to be parsed."""
        *words, last = b"\n".join(events).split(self._after + b"\n" + self._before)
        last, known, rest = last.partition(self._after)
        if not (words and known and words[0].startswith(self._before) and rest[:1] in b"\n"):
            return None, 0
        words[0] = words[0][len(self._before) :]
        words.append(last)
        together = b"\n".join(words)
        try:
            if _ESCAPED(together) or together.count(b"\n") >= len(words):
                return None, 0
            return Chunk(together.decode().replace("\n", ""), len(words) - words.count(b"")), len(words)
        except UnicodeDecodeError:
            return None, 0

    def _is_known(self, data: bytes) -> bool:
        """Whether an event is one that was learnt, but for its words."""
        return len(data) >= self._least and data.startswith(self._before) and data.endswith(self._after)

    def read(self, data: bytes) -> Chunk:
        """What an event's data says. Raises what `read_chunk` raises."""
        words = self._words(data) if self._is_known(data) else None
        if words is not None:
            self._lessons = 0
            return Chunk(words)
        chunk = read_chunk(data)
        if chunk.text and self._lessons < _MOST_LESSONS:
            self._learn(data, chunk)
        return chunk

    def _words(self, data: bytes) -> str | None:
        words = data[len(self._before) : -len(self._after)]
        try:
            return None if _ESCAPED(words) else words.decode()
        except UnicodeDecodeError:
            return None

    def _learn(self, data: bytes, chunk: Chunk) -> None:
        words = chunk.text.encode("utf-8", "replace")
        before, quoted, after = data.partition(b'"%s"' % words)
        if not quoted or _ESCAPED(words) or chunk != Chunk(chunk.text):
            return
        self._lessons += 1
        try:
            others = read_chunk(b'%s"%s."%s' % (before, words, after))
        except (BadChunk, ErrorSaid):  # the place was another one: `":"` stands after every name
            return
        if others == Chunk(chunk.text + "."):
            self._before, self._after = before + b'"', b'"' + after
            self._least = len(self._before) + len(self._after)


def read_chunk(data: bytes) -> Chunk:
    """What an event's data says.

    Raises:
        BadChunk: no JSON, or a value of the wrong type.
        ErrorSaid: an error in place of a chunk.
    """
    try:
        value = _read_json(data)
    except (ValueError, RecursionError):
        raise BadChunk(f"no JSON: {bounded(data)!r}") from None
    if not isinstance(value, dict):
        raise BadChunk(f"JSON that is no object: {bounded(data)!r}")
    if value.get("error") or value.get("object") == "error":
        raise ErrorSaid(said(data))
    words = _plain_text(value)
    return _careful_chunk(value) if words is None else Chunk(words)


def _read_json(data: bytes) -> object:
    """What orjson refuses, `json` may know to read: half of a surrogate pair, where a server cuts a character in two."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data.decode())


def _plain_text(value: Mapping[str, Any]) -> str | None:
    """The text of a chunk that says nothing else, as nearly all do; None of any other."""
    try:
        (choice,) = value["choices"]
        delta = choice["delta"]
        words = delta["content"]
        if choice.get("finish_reason") is not None or choice.get("logprobs") is not None or not delta.keys() <= _PLAIN:
            return None
    except (LookupError, TypeError, ValueError, AttributeError):
        return None
    return words if type(words) is str and value.get("usage") is None else None


def _careful_chunk(value: Mapping[str, Any]) -> Chunk:
    choices = _checked(value, "choices", list) or ()
    if len(choices) > 1:
        raise BadChunk(f"{len(choices)} choices where one was asked for")
    choice = choices[0] if choices else _NOTHING
    if not isinstance(choice, dict) and choices:
        raise BadChunk("a choice that is no object")
    delta = _checked(choice, "delta", dict) or _NOTHING
    usage = _checked(value, "usage", dict) or _NOTHING
    return Chunk(
        text=_checked(delta, "content", str) or "",
        finish=_checked(choice, "finish_reason", str) or "",
        scored=None if choice.get("logprobs") is None else _scores(choice),
        thinks=bool(delta.get("reasoning_content") or delta.get("reasoning")),
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        cached_tokens=_count(_checked(usage, "prompt_tokens_details", dict) or _NOTHING, "cached_tokens") or 0,
    )


def _scores(choice: Mapping[str, Any]) -> tuple[Scored, ...] | None:
    entries = _checked(_checked(choice, "logprobs", dict), "content", list)
    return None if entries is None else tuple(map(_scored, entries))


def _checked(value: Mapping[str, Any], key: str, kind: type) -> Any:
    found = value.get(key)
    if found is not None and not isinstance(found, kind):
        raise BadChunk(f"{key!r} of type {type(found).__name__}")
    return found


def _count(usage: Mapping[str, Any], key: str) -> int | None:
    found = usage.get(key)
    if found is None:
        return None
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 1 << 40:
        raise BadChunk(f"{key!r} that is no count")
    return found


def _scored(entry: Any) -> Scored:
    token, logprob = _pair(entry)
    top = _checked(entry, "top_logprobs", list) or []
    return Scored(token=token, logprob=logprob, top=tuple(map(_pair, top)))


def _pair(entry: Any) -> tuple[bytes, float]:
    if not isinstance(entry, dict):
        raise BadChunk("a log-probability entry that is no object")
    logprob, data = entry.get("logprob"), entry.get("bytes")
    if not isinstance(logprob, int | float) or not math.isfinite(logprob):
        raise BadChunk("a log-probability that is no number")
    if data is None:
        return (_checked(entry, "token", str) or "").encode("utf-8", "replace"), float(logprob)
    if not isinstance(data, list) or not all(isinstance(byte, int) and 0 <= byte < 256 for byte in data):
        raise BadChunk("a token whose bytes are none")
    return bytes(data), float(logprob)


def spoken(chunk: Chunk) -> Sequence[Scored]:
    """The chunk's tokens, without one that ends a turn and is no text."""
    scored = chunk.scored or ()
    if b"".join(one.token for one in scored).decode("utf-8", "replace") == chunk.text:
        return scored
    return [one for one in scored if not END_TOKEN.fullmatch(one.token)]


def said(content: bytes) -> str:
    """What an error's body says, in one short line."""
    try:
        value = json.loads(content)
        told = value["error"] if isinstance(value, dict) and "error" in value else value
        text = told["message"] if isinstance(told, dict) and "message" in told else told
        return bounded(str(text).encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return bounded(content)


def bounded(content: bytes) -> str:
    """A stranger's words as one printable line, cut."""
    text = content[: 16 * SHOWN_CHARS].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in " ".join(text.split()))[:SHOWN_CHARS]
