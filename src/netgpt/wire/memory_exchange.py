"""One call between two simulated nodes: what each end knows, and what is under way between them.

Nothing here knows links by name, or who else is calling.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from netgpt.core.errors import DeadlineExceeded, NetgptError, NodeUnreachable
from netgpt.wire.fault import decode_error, encode_error
from netgpt.wire.memory_carrier import Carrier, Stream
from netgpt.wire.memory_processes import Processes
from netgpt.wire.method_flow import flow_of

WINDOW = 64  # replies that may wait unread at the caller; then the serving side waits


class Exchange:
    """A call from its first byte until both ends have let go of it; `settled` is then called."""

    def __init__(
        self,
        method: str,
        qos: str,
        *,
        caller: str,
        address: str,
        target: str,
        carrier: Carrier,
        processes: Processes | None,
        detection_s: float,
        settled: Callable[[Exchange], None],
    ) -> None:
        """Args:
        qos: the class of the user for whom it is.
        caller, target: the nodes at its ends.
        processes: those at its ends take time; None: no time.
        detection_s: from the loss of something on its way to its notice at both ends.
        """
        self.method = method
        self.caller = caller
        self.address = address
        self.target = target
        self.lost = False  # something on its way is gone: nothing crosses any more
        self._carrier = carrier
        self._processes = processes
        self._detection_s = detection_s
        self._settled = settled
        self._out = Stream(method, flow_of(method, "request", qos), caller, target, self.break_off)
        self._back = Stream(method, flow_of(method, "reply", qos), target, caller, self.break_off)
        self._inbox: asyncio.Queue[bytes | NetgptError | None] = asyncio.Queue()  # None: the last reply was read
        self._window = asyncio.Semaphore(WINDOW)
        self._task: asyncio.Task[None] | None = None  # serves it
        self._caller_done = False
        self._server_done = False

    # ---- the calling side

    def request(self, payload: bytes, arrive: Callable[[], None]) -> None:
        self._send(self._out, payload, arrive)

    async def next_reply(self, deadline_at_s: float, deadline_s: float) -> bytes | None:
        """The next reply, or None after the last. `deadline_at_s` is a time of the running loop."""
        try:
            async with asyncio.timeout_at(deadline_at_s):
                item = await self._inbox.get()
        except TimeoutError:
            what = f"{self.method!r} at {self.address} took longer than {deadline_s:.3g} s"
            raise DeadlineExceeded(what, hint="allow more time, or see the load: netgpt ps") from None
        self._window.release()
        if isinstance(item, NetgptError):
            raise item
        return item

    def fail(self, error: NetgptError) -> None:
        """Let the caller have `error` in place of the replies that it has not yet got."""
        self._inbox.put_nowait(error)

    def hang_up(self) -> None:
        """The caller reads no more. The serving side learns it when the news has crossed."""
        self._caller_done = True
        if not self._server_done:
            self._send(self._out, None, self.stop)
        self._settle()

    # ---- the serving side

    def serve(self, task: asyncio.Task[None]) -> None:
        """`task` answers; the exchange may cancel it."""
        self._task = task
        task.add_done_callback(lambda _: self._finish())

    async def reply(self, payload: bytes) -> None:
        """Send one reply, once the caller has room for it."""
        await self._window.acquire()
        self._send(self._back, payload, lambda: self._inbox.put_nowait(payload))

    def end(self, error: Exception | None) -> None:
        """No reply follows. An error crosses as it would on a real wire."""
        item = None if error is None else decode_error(encode_error(error))
        self._send(self._back, None, lambda: self._inbox.put_nowait(item))
        if self._task is None:
            self._finish()

    def stop(self) -> None:
        """Cancel the work, if there is any left."""
        if self._task is not None:
            self._task.cancel()

    # ---- both

    def break_off(self, after_s: float | None = None) -> None:
        """Something on the way is gone. Both ends notice it later, in the detection time if nothing else is said."""
        if not self.lost:
            self.lost = True
            self._out.is_open = self._back.is_open = False
            asyncio.get_running_loop().call_later(self._detection_s if after_s is None else after_s, self._notice)

    def _notice(self) -> None:
        self.fail(NodeUnreachable(f"{self.address} does not answer", hint="see which nodes run: netgpt ps"))
        self.stop()
        if self._task is None:
            self._finish()

    def _send(self, stream: Stream, payload: bytes | None, arrive: Callable[[], None]) -> None:
        if not stream.is_open:
            return
        if self._processes is None:
            self._carrier.send(stream, payload, arrive)
            return
        processes = self._processes
        if stream is self._out:
            sends, takes = (
                (process, processes.call_s(self.method, payload, caller=process == self.caller)) for process in (self.caller, self.address)
            )
        else:
            sends, takes = ((process, processes.reply_s(payload)) for process in (self.address, self.caller))
        processes.do(*sends, lambda: self._carrier.send(stream, payload, lambda: processes.do(*takes, lambda: self._take(stream, arrive))))

    def _take(self, stream: Stream, arrive: Callable[[], None]) -> None:
        if stream.is_open:  # and was not broken off meanwhile
            arrive()

    def _finish(self) -> None:
        self._server_done = True
        self._settle()

    def _settle(self) -> None:
        if self._caller_done and self._server_done:
            self._settled(self)
