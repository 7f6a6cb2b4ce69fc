"""Answers that an edge node keeps for doors: bounded, in memory alone, found by digest or by meaning.

Serves `recall` and `remember` (`node.service.Keeper`). It knows neither keys nor users: a scope is a name that nobody can guess, and
nothing of one scope is found in another. A question is looked up by its digest; then, if the door permits and the node's model makes
vectors, by the cosine of its vector with those of the same group, and what is alike must pass the gate (`inference.caching`).
What leaves the cache is gone: nothing is written to disk, logged or counted by content.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netgpt.core.clock import Clock
from netgpt.core.errors import NetgptError
from netgpt.core.transport import Peer
from netgpt.engine.contract import Engine
from netgpt.inference.caching import LONGEST_LIFE_S, MOST_ANSWER_CHARS, SHARED, THRESHOLD, gate
from netgpt.inference.meaning import MOST_CHARS, Meaning, read_meaning
from netgpt.models.generation import Embed, Recall, Recalled, Remember, Remembered
from netgpt.models.tokenizer import Tokenizer

BYTES_PER_ENTRY = 16_384  # allowed on average: `entries` bound the memory too
OVERHEAD_BYTES = 1_024  # of an entry without its texts and its vector
MOST_EMBEDDING = 4  # vectors that are made at once: they have no place in a door's queue, and must not hold up those who have one
MOST_ASKED = 256  # questions without an answer that are kept in mind

Vector = NDArray[np.float32]
Embedder = Callable[[str], Awaitable[Vector | None]]  # the vector of a text, of length 1; None: not now
Key = tuple[str, bytes]  # scope and digest


@dataclass(kw_only=True, eq=False)
class _Question:
    """What was asked."""

    group: Key  # scope, and digest of all but the question
    text: str  # empty: it is found by its digest alone
    meaning: Meaning | None
    vector: Vector | None = None


@dataclass(kw_only=True, eq=False)
class _Entry:
    """A question and its answer."""

    question: _Question
    answer: Remember
    born_s: float
    dies_s: float

    @property
    def size_bytes(self) -> int:
        vector = 0 if self.question.vector is None else self.question.vector.nbytes
        return OVERHEAD_BYTES + vector + len(self.question.text.encode()) * 4 + len(self.answer.text.encode())  # the meaning repeats the words


class _Group:
    """The kept questions of one group: by meaning, and as rows of one matrix, so that all are compared at once."""

    def __init__(self, dimensions: int) -> None:
        self.keys: list[Key] = []
        self.by_meaning: dict[tuple[object, ...], Key] = {}
        self._rows_ND: NDArray[np.float32] = np.zeros((4, dimensions), dtype=np.float32)
        self._place: dict[Key, int] = {}

    def add(self, key: Key, vector_D: Vector, meaning: tuple[object, ...]) -> None:
        if len(self.keys) == len(self._rows_ND):
            self._rows_ND = np.concatenate([self._rows_ND, np.zeros_like(self._rows_ND)])
        self._rows_ND[len(self.keys)] = vector_D
        self._place[key] = len(self.keys)
        self.keys.append(key)
        self.by_meaning[meaning] = key

    def remove(self, key: Key, meaning: tuple[object, ...]) -> None:
        """The last row takes the place."""
        place, last = self._place.pop(key), self.keys.pop()
        if last != key:
            self.keys[place] = last
            self._place[last] = place
            self._rows_ND[place] = self._rows_ND[len(self.keys)]
        if self.by_meaning.get(meaning) == key:
            del self.by_meaning[meaning]

    def cosine(self, key: Key, vector_D: Vector) -> float:
        return min(float(self._rows_ND[self._place[key]] @ vector_D), 1.0)

    def likest(self, vector_D: Vector) -> tuple[Key, float]:
        cosine_N = self._rows_ND[: len(self.keys)] @ vector_D
        place = int(np.argmax(cosine_N))
        return self.keys[place], float(cosine_N[place])


class AnswerCache:
    """The kept answers of one node."""

    def __init__(self, clock: Clock, *, entries: int, embed: Embedder | None = None, threshold: float = THRESHOLD) -> None:
        """Args:
        entries: the most answers that are kept; the least recently used goes first. They may take `BYTES_PER_ENTRY` each on average.
        embed: None: questions are found by their digest alone.
        threshold: cosine from which two questions are compared.
        """
        self._clock = clock
        self._most = entries
        self._most_bytes = entries * BYTES_PER_ENTRY
        self._embed = embed
        self._threshold = threshold
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._groups: dict[Key, _Group] = {}  # by scope and digest of all but the question
        self._asked: OrderedDict[Key, _Question] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    async def recall(self, asked: Recall) -> Recalled:
        """The kept answer to what is asked, if there is one that is young enough."""
        key = (asked.scope, asked.exact)
        found = self._entries.get(key)
        if found is not None and self._is_fresh(found, asked.max_age_s):
            return self._given(key, found, match="exact")
        question = self._question(asked)
        if question.meaning is None or asked.max_age_s <= 0:
            self._keep_in_mind(key, question)
            return Recalled()
        if question.group in self._groups:  # else the vector can wait until there is an answer
            question.vector = await self._vector(question.text)
        self._keep_in_mind(key, question)
        return self._by_meaning(question, asked.max_age_s)

    async def remember(self, answer: Remember, by: Peer | None) -> Remembered:
        """Keep an answer to what was asked lately; a device may not tell others what is true."""
        key = (answer.scope, answer.exact)
        question = self._asked.pop(key, None)
        from_device = by is not None and by.tier == "device"
        if question is None or (answer.scope == SHARED and from_device) or len(answer.text) > MOST_ANSWER_CHARS or answer.life_s <= 0:
            return Remembered(kept=False)
        if question.meaning is not None and question.vector is None:
            question.vector = await self._vector(question.text)
        now_s = self._clock.now_s()
        self._forget(key)
        entry = _Entry(question=question, answer=answer, born_s=now_s, dies_s=now_s + min(answer.life_s, LONGEST_LIFE_S))
        self._entries[key] = entry
        self.bytes += entry.size_bytes
        if question.vector is not None and question.meaning is not None:
            self._groups.setdefault(question.group, _Group(len(question.vector))).add(key, question.vector, question.meaning.key)
        self._make_room()
        return Remembered(kept=key in self._entries)

    def _question(self, asked: Recall) -> _Question:
        text = asked.question if self._embed is not None and len(asked.question) <= MOST_CHARS else ""
        return _Question(group=(asked.scope, asked.group), text=text, meaning=read_meaning(text) if text else None)

    def _keep_in_mind(self, key: Key, question: _Question) -> None:
        self._asked[key] = question
        self._asked.move_to_end(key)
        while len(self._asked) > min(MOST_ASKED, self._most):
            self._asked.popitem(last=False)

    async def _vector(self, text: str) -> Vector | None:
        return None if self._embed is None else await self._embed(text)

    def _is_fresh(self, entry: _Entry, max_age_s: float) -> bool:
        now_s = self._clock.now_s()
        return now_s < entry.dies_s and now_s - entry.born_s <= max_age_s and max_age_s > 0

    def _by_meaning(self, question: _Question, max_age_s: float) -> Recalled:
        """The answer to a question that means the same and whose vector is near; else in what the nearest one differs.

        Of all that is near, only what passes the gate can be given, and what passes is equal in its words: so it is found by them. On our own
        models' vectors a question is nearer to its reverse than to its paraphrase, so that the nearest few need not hold the right one.
        """
        group = self._groups.get(question.group)
        if group is None or question.vector is None or question.meaning is None:
            return Recalled()
        key = group.by_meaning.get(question.meaning.key)
        if key is not None and self._is_fresh(self._entries[key], max_age_s) and (cosine := group.cosine(key, question.vector)) >= self._threshold:
            return self._given(key, self._entries[key], match="semantic", similarity=cosine)
        nearest, cosine = group.likest(question.vector)
        meaning = self._entries[nearest].question.meaning
        return Recalled(gate=gate(question.meaning, meaning) if meaning is not None and cosine >= self._threshold else "")

    def _given(self, key: Key, entry: _Entry, *, match: str, similarity: float = 0.0) -> Recalled:
        self._entries.move_to_end(key)
        return Recalled(
            found=True,
            match=match,
            text=entry.answer.text,
            reason=entry.answer.reason,
            completion_tokens=entry.answer.completion_tokens,
            made_by=entry.answer.made_by,
            age_s=self._clock.now_s() - entry.born_s,
            similarity=similarity,
        )

    def _make_room(self) -> None:
        now_s = self._clock.now_s()
        while self._entries and (
            len(self._entries) > self._most or self.bytes > self._most_bytes or next(iter(self._entries.values())).dies_s <= now_s
        ):
            self._forget(next(iter(self._entries)))

    def _forget(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self.bytes -= entry.size_bytes
        question = entry.question
        if question.vector is not None and question.meaning is not None:
            group = self._groups[question.group]
            group.remove(key, question.meaning.key)
            if not group.keys:
                del self._groups[question.group]


def engine_embedder(engine: Engine, tokenizer: Tokenizer | None) -> Embedder | None:
    """Vectors by a node's own model; None if it makes none."""
    if tokenizer is None or not engine.capabilities.embed:
        return None
    calls = at_work = 0

    async def embed(text: str) -> Vector | None:
        nonlocal calls, at_work
        if at_work == MOST_EMBEDDING:
            return None
        calls += 1
        at_work += 1
        try:
            made = await engine.embed(Embed(session=f"cache-{calls}", ids=tuple(tokenizer.encode(text))))
        except NetgptError:  # too busy, or too long: the question is found by its digest alone
            return None
        finally:
            at_work -= 1
        return np.asarray(made.values, dtype=np.float32)

    return embed
