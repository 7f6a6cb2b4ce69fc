"""Equal requests that may be answered alike are answered once: who comes later follows the first one, and depends on nobody.

Which requests are equal is `caching.flight_of`'s decision. A follower whose leader fails asks for itself, and goes on
behind what its reader has been told already.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace

from netgpt.core.clock import Clock
from netgpt.core.errors import NetgptError
from netgpt.inference.caching import flight_of
from netgpt.inference.flights import Flights
from netgpt.inference.request import MIN_DEADLINE_S, Answer, CacheUse, CacheWish, ChatRequest, Delta, Finish
from netgpt.inference.visit import Visit, Visits
from netgpt.telemetry.metrics import Metrics


class Merging:
    """Answers requests that have a `CacheWish`, together where they are equal."""

    def __init__(
        self, *, answer: Callable[[ChatRequest, CacheWish], AsyncGenerator[Answer, None]], clock: Clock, visits: Visits, metrics: Metrics
    ) -> None:
        """Args:
        answer: answers one of them.
        """
        self._answer = answer
        self._clock = clock
        self._visits = visits
        self._metrics = metrics
        self._flights = Flights()

    def chat(self, request: ChatRequest, wish: CacheWish) -> AsyncGenerator[Answer, None]:
        """As `Door.chat`."""
        flight = flight_of(request, wish)
        if flight is None:
            return self._answer(request, wish)
        return self._merged(flight, request, wish)

    async def close(self) -> None:
        """End what is in flight."""
        await self._flights.close()

    async def _merged(self, flight: bytes, request: ChatRequest, wish: CacheWish, *, again: bool = True) -> AsyncGenerator[Answer, None]:
        """The answer of whoever asked the same first. If that fails, this request asks once for itself, and goes on behind what it has told."""
        leads, arrival_s = flight not in self._flights, self._clock.now_s()
        told, first_s, failure = "", None, None
        answers = self._flights.join(flight, lambda: self._answer(request, wish))
        if leads:
            async with aclosing(answers):
                async for answer in answers:
                    yield answer
            return
        with Visit(self._visits, request, arrival_s) as visit:
            try:
                async with aclosing(answers):
                    async for answer in answers:
                        now_s = self._clock.now_s() - arrival_s
                        first_s = now_s if first_s is None else first_s
                        if isinstance(answer, Finish):
                            self._metrics.cache_requests.labels("merged").inc()
                            answer = _merged_finish(answer, first_s, now_s)
                            visit.answered(request, answer)
                        else:
                            told += answer.text
                        yield answer
            except NetgptError as error:
                if not again:
                    raise
                failure = error
                visit.hand_on()
        if failure is not None:
            async with aclosing(self._merged(flight, self._later(request, arrival_s), wish, again=False)) as answers:
                async for answer in _behind(told, answers, failure):
                    yield answer

    def _later(self, request: ChatRequest, arrival_s: float) -> ChatRequest:
        """The request with the time that it has left."""
        if request.deadline_s is None:
            return request
        return replace(request, deadline_s=max(request.deadline_s - (self._clock.now_s() - arrival_s), MIN_DEADLINE_S))


def _merged_finish(finish: Finish, first_s: float, duration_s: float) -> Finish:
    """How a request sees the end of an answer that another one had begun: by its own clock, and at no cost of links."""
    return replace(
        finish,
        why=f"the same request was being answered already: {finish.why}",
        link_bytes={},
        plan={},
        queue_s=0.0,
        time_to_first_token_s=first_s,
        duration_s=duration_s,
        cache=CacheUse(result="merged", why="it followed the same request in flight", node=finish.cache.node if finish.cache else ""),
    )


async def _behind(told: str, answers: AsyncGenerator[Answer, None], failure: NetgptError) -> AsyncGenerator[Answer, None]:
    """An answer without the text that its reader has been told already.

    Raises:
        NetgptError: `failure`, if the answer begins otherwise.
    """
    async for answer in answers:
        if isinstance(answer, Delta) and told:
            size = min(len(told), len(answer.text))
            if told[:size] != answer.text[:size]:
                raise failure
            told = told[size:]
            if size == len(answer.text):
                continue
            yield answer._replace(text=answer.text[size:])
        else:
            yield answer
