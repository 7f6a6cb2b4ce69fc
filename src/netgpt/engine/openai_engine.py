"""The engine contract over an OpenAI-compatible upstream: any server, in the process that asks.

It takes a session as text, because a stranger's tokenizer is its own affair, and counts tokens as the upstream
does. It finds out what the upstream can do when it appears, and anew each time it comes back. Before the first
token a failed attempt is made again, after a pause; later a failure is a lost node's. An upstream can neither
verify drafts nor hold KV: nothing in its API offers that.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import AsyncGenerator

from netgpt.core.clock import Clock
from netgpt.core.errors import AuthenticationFailed, ModelNotFound, NetgptError, NodeUnreachable, NotSupported, Overloaded
from netgpt.core.scheduling import TaskOwner
from netgpt.engine.openai_answer import OpenAIServer
from netgpt.engine.openai_probe import listed_names, probe
from netgpt.engine.openai_request import Probed, Upstream, generate_body, split_text
from netgpt.engine.openai_talk import Talk
from netgpt.engine.threads import Slots, check_no_grammar
from netgpt.engine.workload import Workload
from netgpt.models.card import ModelCard
from netgpt.models.generation import Capabilities, Embed, Embedding, Generate, Held, Load, Prefill, Rollback, Score, Scores, Tokens, Verdict, Verify

CHECK_S = 5.0  # between two looks at an upstream that nobody asks
FIRST_RETRY_S, LONGEST_RETRY_S = 0.25, 2.0  # a longer Retry-After leaves the request to the next node
FIRST_PROBE_S, LONGEST_PROBE_S = 0.5, 10.0  # between two looks at one that is down
PROBE_S = 120.0  # for all questions of one probe
UNKNOWN_CONTEXT_TOKENS = 4096

_log = logging.getLogger(__name__)


class OpenAIEngine:
    """Asks one upstream.

    Args:
        key: sent as a bearer token; shown nowhere.
        parameters, context_tokens: as declared; 0: as the upstream says.
        slots: requests that it gets at once; others wait.
    """

    def __init__(
        self,
        upstream: Upstream,
        clock: Clock,
        *,
        key: str = "",
        tier: str,
        parameters: int = 0,
        context_tokens: int = 0,
        slots: int = 16,
        queue: int = 256,
    ) -> None:
        self._upstream = upstream
        self._clock = clock
        self._server = OpenAIServer(upstream.url, key=key, connect_s=upstream.connect_s)
        self._tier, self._parameters, self._context_tokens = tier, parameters, context_tokens
        self._slots = Slots(upstream.model or upstream.url, slots, queue)
        self._workload = Workload(slots, clock, serial=False)  # what prompts wait for there, nobody tells
        self._probed: Probed | None = None
        self._down: NetgptError | None = NodeUnreachable(f"{self._server.url} has not been asked yet", hint="wait a second")
        self._doubted = False
        self._news = asyncio.Event()  # look now
        self._looked = asyncio.Event()
        self._tasks = TaskOwner()

    def start(self) -> None:
        """Look after the upstream from now on, until `close`."""
        self._tasks.spawn(self._watch(), name=f"upstream {self._server.url}")

    # ---- what it is

    @property
    def card(self) -> ModelCard:
        """Raises NodeUnreachable while the upstream has not said what it is."""
        probed = self._known()
        return ModelCard(
            id=probed.model,
            tier=self._tier,
            parameters=self._parameters or probed.parameters,
            layers=0,
            bytes=0,
            context_tokens=self._context_tokens or probed.context_tokens or UNKNOWN_CONTEXT_TOKENS,
            vocabulary=0,
            # Nobody else's: two upstreams never continue each other's sessions from ids.
            tokenizer=hashlib.sha256(f"{self._server.url} {probed.model}".encode()).hexdigest(),
            licence="see the model's source",
            level="L0",
            description="a model behind an OpenAI-compatible API",
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._known().capabilities()

    def _known(self) -> Probed:
        if self._down is not None:
            raise type(self._down)(self._down.message, hint=self._down.hint)  # a new one: the traceback of one raised often would grow
        assert self._probed is not None
        return self._probed

    def load(self) -> Load:
        """Raises what is wrong with the upstream, if it cannot be asked now."""
        self._known()
        return Load(
            running=self._slots.running,
            waiting=self._slots.waiting,
            slots=self._slots.count,
            free_s=self._workload.free_s(),
            step_s=self._workload.step_s,
        )

    # ---- whether it is there

    async def look(self) -> None:
        """Find out whether the upstream is there and, when it may be another than before, what it can do."""
        try:
            if not await self._is_the_same():
                self._doubted = False
                async with asyncio.timeout(PROBE_S):
                    self._probed = await probe(self._server, self._upstream.model)
        except Overloaded as busy:  # it is there
            self._turn(busy if self._probed is None else self._down)
        except NetgptError as error:
            self._turn(_as_lost(error))
        except TimeoutError:
            self._turn(NodeUnreachable(f"{self._server.url} is silent", hint="see that server's log"))
        else:
            self._turn(None)
        self._looked.set()

    def _turn(self, down: NetgptError | None) -> None:
        if down is not None and (self._down is None or not self._looked.is_set()):
            _log.warning("the upstream cannot be asked: %s", down.message)
        elif down is None and self._down is not None:
            _log.info("the upstream at %s answers: %s", self._server.url, self._probed)
        self._down = down

    async def first_look(self, *, within_s: float) -> None:
        """Wait until it is known whether the upstream is there, but no longer than that."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._looked.wait()

    async def _is_the_same(self) -> bool:
        if self._probed is None or self._down is not None or self._doubted:
            return False
        async with asyncio.timeout(self._upstream.first_token_s):
            names = await listed_names(self._server)
        return (self._probed.model in (names or ())) == self._probed.listed

    async def _watch(self) -> None:
        pause_s = FIRST_PROBE_S
        while True:
            self._news.clear()
            await self.look()
            if self._down is None:
                pause_s = FIRST_PROBE_S
                await self._clock.sleep(FIRST_PROBE_S)  # at the most one look in that time, however many answers fail
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_S):
                        await self._news.wait()
            else:
                await self._clock.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PROBE_S)

    def _doubt(self, refused: NetgptError | None = None) -> None:
        """An answer failed: look whether the upstream is there, and still what it was. One that refuses us is down."""
        self._down = self._down or refused
        self._doubted = True
        self._news.set()

    # ---- what it does

    async def generate(self, request: Generate) -> AsyncGenerator[Tokens, None]:
        probed = self._known()
        answer, tail = self._check(request, probed)
        arrival_s = self._clock.now_s()
        with self._workload.enter(1, request.max_tokens) as job:
            async with self._slots:
                job.start()
                body = generate_body(probed, request, answer)
                queue_s = self._clock.now_s() - arrival_s
                for attempt in range(self._upstream.retries + 1):
                    talk = Talk(self._upstream, self._server, self._clock, request, body, queue_s=queue_s, tail=tail)
                    try:
                        with talk:
                            while (tokens := await talk.next()) is not None:
                                job.add(tokens.made, ends=tokens.finish == "stop")
                                yield tokens
                        return
                    except (NodeUnreachable, Overloaded) as error:
                        pause_s = _pause_s(error, attempt)
                        if talk.began or attempt == self._upstream.retries or pause_s is None:
                            if isinstance(error, NodeUnreachable):
                                self._doubt()
                            raise
                        await self._clock.sleep(pause_s)
                    except (AuthenticationFailed, ModelNotFound) as error:
                        lost = _as_lost(error)
                        self._doubt(lost)
                        raise lost from None

    def _check(self, request: Generate, probed: Probed) -> tuple[str, bytes]:
        """The answer so far, as text and the bytes of an unfinished character; raises NotSupported."""
        if request.text is None:
            raise NotSupported(f"{probed.model!r} at {self._server.url} takes text, not token ids", hint="send the session as text")
        if request.grammar is not None:
            check_no_grammar(self.card, request)
        if request.text.logprobs and probed.top_logprobs is None:
            raise NotSupported(
                f"{probed.model!r} at {self._server.url} gives no logprobs", hint="ask another model, or leave them out", param="logprobs"
            )
        if request.text.logprobs and request.top_logprobs > (probed.top_logprobs or 0):
            most = f"{probed.model!r} at {self._server.url} gives {probed.top_logprobs} top_logprobs at most"
            raise NotSupported(most, hint="ask for fewer", param="top_logprobs")
        answer, tail = split_text(request.text.answer)
        if answer and request.penalties is not None and (request.penalties.presence or request.penalties.frequency):
            what = f"{probed.model!r} at {self._server.url} does not count the tokens of an answer that has begun for penalties"
            raise NotSupported(what, hint="leave presence_penalty and frequency_penalty out", param="presence_penalty")
        if answer and not probed.continuation:
            what = f"{probed.model!r} at {self._server.url} cannot go on from an answer that has begun"
            raise NotSupported(what, hint="let it answer from the start, or serve it with a server that continues a last message, vLLM for example")
        return answer, tail

    async def prefill(self, request: Prefill) -> Held:
        raise self._cannot("hold a session's KV")

    async def verify(self, request: Verify) -> Verdict:
        raise self._cannot("verify drafts: its tokenizer and its draws are its own")

    def _cannot(self, what: str) -> NotSupported:
        return NotSupported(f"the upstream at {self._server.url} cannot {what}", hint="use a node with engine torch for that")

    async def embed(self, request: Embed) -> Embedding:
        raise self._cannot("make embeddings from token ids")

    async def score(self, request: Score) -> Scores:
        raise self._cannot("read a prompt for this node alone: it would leave it")

    async def rollback(self, request: Rollback) -> Held:
        return Held(session=request.session, tokens=0)

    async def close(self) -> None:
        await self._tasks.close()
        await self._server.close()


def _as_lost(error: NetgptError) -> NetgptError:
    """An upstream that refuses this node's key or model is the operator's matter; to users the node is lost."""
    if isinstance(error, NodeUnreachable | Overloaded):
        return error
    return NodeUnreachable(error.message, hint=error.hint)


def _pause_s(error: NetgptError, attempt: int) -> float | None:
    """How long to wait before the next attempt; None if the upstream wants to be left alone for longer than that is worth."""
    own_s = min(FIRST_RETRY_S * 2**attempt, LONGEST_RETRY_S)
    if isinstance(error, Overloaded):
        return max(error.retry_after_s, own_s) if error.retry_after_s <= LONGEST_RETRY_S else None
    return own_s
