"""Which sessions an engine holds, under which epoch, and what must go when KV runs short.

Bookkeeping only: it counts tokens and knows no model. A session is *claimed* while a call works on it,
with room for all tokens that the call may make; otherwise it is *parked*, and the parked one that was
not used for longest is dropped first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from netgpt.core.errors import SessionNotFound
from netgpt.engine.kv import KvBuffer

REMEMBERED_EPOCHS = 4096  # of sessions that are no longer held


@dataclass(eq=False, slots=True)
class Session:
    """Tokens of one session, and the KV of a prefix of them (all, or all but the newest)."""

    name: str
    kv: KvBuffer
    tokens: list[int] = field(default_factory=list)
    claimed_tokens: int = 0  # room for the call in progress; 0 when parked

    @property
    def counted_tokens(self) -> int:
        return self.claimed_tokens or len(self.tokens)

    def truncate(self, length: int) -> None:
        del self.tokens[length:]
        self.kv.truncate(length)

    def replace_from(self, position: int, ids: Sequence[int]) -> None:
        """Make `ids` the tokens from `position` on; KV of those that are the same stays."""
        pairs = zip(self.tokens[position:], ids, strict=False)
        same = next((n for n, (old, new) in enumerate(pairs) if old != new), min(len(self.tokens) - position, len(ids)))
        self.truncate(position + same)
        self.tokens.extend(ids[same:])


class SessionTable:
    """All sessions of one engine, least recently used first."""

    def __init__(self, capacity_tokens: int) -> None:
        self.capacity_tokens = capacity_tokens
        self._held: OrderedDict[str, Session] = OrderedDict()
        self._epochs: OrderedDict[str, int] = OrderedDict()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._held)

    @property
    def counted_tokens(self) -> int:
        return sum(session.counted_tokens for session in self._held.values())

    @property
    def held_tokens(self) -> int:
        return sum(len(session.tokens) for session in self._held.values())

    def find(self, name: str) -> Session | None:
        return self._held.get(name)

    def enter_epoch(self, name: str, epoch: int) -> None:
        """Note that the session has seen `epoch`.

        Raises:
            SessionNotFound: it has seen a newer one.
        """
        seen = self._epochs.get(name, epoch)
        if epoch < seen:
            raise SessionNotFound(f"session {name!r} is at epoch {seen}, not {epoch}", hint="the attempt is stale: drop it")
        self._epochs[name] = epoch
        self._epochs.move_to_end(name)
        while len(self._epochs) > REMEMBERED_EPOCHS + len(self._held):
            self._epochs.popitem(last=False)

    def check_held(self, name: str, keep: int) -> None:
        """Refuse to continue what is not here.

        Raises:
            SessionNotFound: fewer than `keep` tokens of the session are held.
        """
        session = self._held.get(name)
        held = 0 if session is None else len(session.tokens)
        if keep > held:
            raise SessionNotFound(f"session {name!r} holds {held} tokens here, not {keep}", hint="send all ids with keep=0")

    def make_room(self, name: str, tokens: int) -> bool:
        """Drop parked sessions, oldest first, until session `name` may grow to `tokens`; false if it may not."""
        others = [session for session in self._held.values() if session.name != name]
        if sum(session.claimed_tokens for session in others) + tokens > self.capacity_tokens:
            return False
        excess = sum(session.counted_tokens for session in others) + tokens - self.capacity_tokens
        for session in others:
            if excess <= 0:
                break
            if not session.claimed_tokens:
                excess -= session.counted_tokens
                self.drop(session)
        return True

    def claim(self, session: Session, tokens: int) -> None:
        """Hold `session` for a call that may bring it to `tokens` tokens."""
        session.claimed_tokens = tokens
        self._held[session.name] = session
        self._held.move_to_end(session.name)

    def park(self, session: Session) -> None:
        session.claimed_tokens = 0

    def drop(self, session: Session) -> None:
        """Free the session's KV, unless the name has passed to a newer one."""
        if self._held.get(session.name) is session:
            del self._held[session.name]

    def clear(self) -> None:
        self._held.clear()
