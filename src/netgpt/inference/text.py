"""Bytes of tokens to text that may be shown: whole characters only, and never past a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

_Decoder = codecs.getincrementaldecoder("utf-8")


class TextAssembler:
    """Turns a stream of token bytes into text, holding back what is not certain yet.

    Held back: the bytes of an unfinished UTF-8 character, and a tail that may be the beginning of a
    stop string. Invalid bytes become U+FFFD.
    """

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._decoder: codecs.IncrementalDecoder | None = None  # once there was something else than whole characters
        self._stop = tuple(stop)
        self._tail = ""
        self.stopped = False

    def feed(self, data: bytes) -> str:
        """Text that has become certain with `data`. After a stop string it is always empty."""
        return self._release(self._decoded(data), final=False)

    def finish(self) -> str:
        """What was held back, now that nothing follows."""
        return self._release(self._decoder.decode(b"", final=True) if self._decoder else "", final=True)

    def _decoded(self, data: bytes) -> str:
        if self._decoder is None:
            try:
                return data.decode()
            except UnicodeDecodeError:
                self._decoder = _Decoder(errors="replace")
        return self._decoder.decode(data)

    def _release(self, text: str, *, final: bool) -> str:
        if not self._stop:
            return text
        if self.stopped:
            return ""
        self._tail += text
        cuts = [position for stop in self._stop if (position := self._tail.find(stop)) >= 0]
        if cuts:
            self.stopped = True
            shown, self._tail = self._tail[: min(cuts)], ""
            return shown
        held = 0 if final else max((overlap(self._tail, stop) for stop in self._stop), default=0)
        shown, self._tail = self._tail[: len(self._tail) - held], self._tail[len(self._tail) - held :]
        return shown


def overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a proper beginning of `stop`."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
