"""One answer of an OpenAI-compatible server, as chunks; and what its refusals mean. Shared by the engine and `netgpt record`.

Whatever a server does wrong comes out as a `NetgptError` that names the server and quotes it in a bounded
line without the key. Who is asked again, and when, is the caller's matter.
"""

from __future__ import annotations

from netgpt.core.errors import (
    AuthenticationFailed,
    ContextLengthExceeded,
    InvalidRequest,
    ModelNotFound,
    NetgptError,
    NodeUnreachable,
    Overloaded,
)
from netgpt.engine.openai_http import HttpClient, Response
from netgpt.engine.openai_stream import DONE, BadChunk, Chunk, ChunkReader, ErrorSaid, EventLines, bounded, said

BUSY = (429, 503)
MAX_ERROR_BYTES = 64 * 1024
MAX_JSON_BYTES = 4 << 20
MAX_RETRY_AFTER_S = 3600.0


class OpenAIServer:
    """A server at a base URL, asked with one key."""

    def __init__(self, url: str, *, key: str, connect_s: float) -> None:
        """Raises UsageError if `url` is no base URL or `key` cannot stand in a header."""
        self._key = key
        if key and not (key.isascii() and key.isprintable() and " " not in key):
            raise AuthenticationFailed("the upstream's key has characters that no header can hold", hint="set the variable to the key alone")
        self.http = HttpClient(url, headers={"authorization": f"Bearer {key}"} if key else {}, connect_s=connect_s)
        self.url = self.http.url

    async def close(self) -> None:
        await self.http.close()

    def answer(self, body: bytes) -> StreamedAnswer:
        """The answer to a streaming request, which is sent when its first chunks are asked for."""
        return StreamedAnswer(self, body)

    async def check(self, response: Response) -> None:
        """Raise what a status other than 200 means."""
        if response.status != 200:
            content = await response.read(MAX_ERROR_BYTES)
            message = f"{self.url} answers {response.status}: {self.shown(said(content))}"
            raise refusal(response.status, message, retry_after_s=retry_after_s(response.headers.get("retry-after", "")))

    async def ask(self, method: str, path: str, body: bytes = b"", *, root: bool = False) -> bytes:
        """The whole body of an answer that is not streamed. Raises what `StreamedAnswer.chunks` raises."""
        response = await self.http.ask(method, path, body, root=root)
        try:
            await self.check(response)
            content = await response.read(MAX_JSON_BYTES + 1)
            if len(content) > MAX_JSON_BYTES:
                raise NodeUnreachable(f"{self.url} answers with more than {MAX_JSON_BYTES} bytes", hint=_HINT_API)
            return content
        finally:
            response.close()

    def shown(self, text: str) -> str:
        """A server may quote the key that it was given."""
        return text.replace(self._key, "***") if self._key else text


class StreamedAnswer:
    """One streamed answer of a server, chunk by chunk. Whoever asks for it closes it."""

    def __init__(self, server: OpenAIServer, body: bytes) -> None:
        self._server = server
        self._body = body
        self._response: Response | None = None
        self._lines, self._reader = EventLines(), ChunkReader()
        self._failure: NetgptError | None = None  # to be raised after the chunks before it

    async def chunks(self) -> list[Chunk]:
        """The chunks that come together next; none after the answer's end mark or the body's end.

        Raises:
            NodeUnreachable: the server is not there, broke off, or sends what is no answer.
            Overloaded, AuthenticationFailed, ModelNotFound, InvalidRequest: it refuses; see `refusal`.
        """
        response = self._response or await self._open()
        while not response.has_said_all and self._failure is None and (data := await response.part()):
            if chunks := self._read(data, response):
                return chunks
        if self._failure is not None:
            raise self._failure
        return []

    @property
    def has_said_all(self) -> bool:
        """Whether the answer's end mark has come."""
        return self._response is not None and self._response.has_said_all

    def close(self) -> None:
        """Leave; a server that has not said all learns it at once."""
        if self._response is not None:
            self._response.close()

    async def _open(self) -> Response:
        server = self._server
        response = self._response = await server.http.ask("POST", "/chat/completions", self._body)
        await server.check(response)
        kind = response.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):
            shown = server.shown(bounded(await response.read(MAX_ERROR_BYTES)))
            raise NodeUnreachable(f"{server.url} does not stream: it answers {bounded(kind.encode())!r}: {shown}", hint=_HINT_API)
        return response

    def _read(self, data: bytes, response: Response) -> list[Chunk]:
        """The chunks that `data` completes, up to the answer's end mark or what is wrong after them."""
        chunks: list[Chunk] = []
        try:
            events = self._lines.feed(data)
            if len(events) == 1 and events[0] != DONE:  # nearly always
                return [self._reader.read(events[0])]
            said_all = DONE in events
            for chunk in self._reader.read_all(events[: events.index(DONE)] if said_all else events):
                chunks.append(chunk)  # noqa: PERF402 - those before a bad one are told
            response.has_said_all = said_all
        except BadChunk as error:
            self._failure = NodeUnreachable(f"{self._server.url} sends {self._server.shown(str(error))}", hint=_HINT_API)
        except ErrorSaid as error:
            self._failure = NodeUnreachable(f"{self._server.url} failed within an answer: {self._server.shown(str(error))}", hint=_HINT_LOG)
        return chunks


_HINT_API = "give the base URL of an OpenAI-compatible API, which ends in /v1"
_HINT_LOG = "see that server's log"


def refusal(status: int, message: str, *, retry_after_s: float = 0.0) -> NetgptError:
    """What a status other than 200 means."""
    if status in BUSY:
        return Overloaded(message, hint="ask later, or another node", retry_after_s=retry_after_s or 1.0)
    if status in (401, 403):
        return AuthenticationFailed(message, hint="name the variable that holds the upstream's key")
    if status == 404:
        return ModelNotFound(message, hint="give the base URL that ends in /v1, and a model that it lists")
    if status in (400, 413, 422):
        if "context" in message.lower():
            return ContextLengthExceeded(message, hint="shorten the messages, or lower max_tokens", param="messages")
        return InvalidRequest(message, hint="change the request as the upstream says")
    return NodeUnreachable(message, hint=_HINT_LOG if status >= 500 else _HINT_API)


def retry_after_s(header: str) -> float:
    """The seconds that a Retry-After header gives; 0 where it gives a date or nothing."""
    try:
        seconds = float(header)
    except ValueError:
        return 0.0
    return min(seconds, MAX_RETRY_AFTER_S) if seconds > 0 else 0.0
