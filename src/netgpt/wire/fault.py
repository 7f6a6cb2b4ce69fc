"""Errors on the wire: a `NetgptError` leaves one process and is raised in another as the same class.

An exception that is not a `NetgptError` is a bug at the serving node. It crosses by its class name
alone, since its text may quote content, and content stays where it is.
"""

from __future__ import annotations

import logging
import traceback

from netgpt.core.errors import BY_CODE, NetgptError, Overloaded
from netgpt.wire.codec import decode, encode
from netgpt.wire.messages import Fault

_MAX_MESSAGE_CHARS = 1000  # HTTP/2 header blocks are small
_MAX_HINT_CHARS = 500

_log = logging.getLogger(__name__)


def encode_error(error: Exception) -> bytes:
    """The `Fault` payload that stands for `error`."""
    known = error if isinstance(error, NetgptError) else NetgptError(f"{type(error).__name__} at the serving node", hint="read that node's log")
    fault = Fault(
        code=known.code,
        message=known.message[:_MAX_MESSAGE_CHARS],
        hint=known.hint[:_MAX_HINT_CHARS],
        param=known.param or "",
        retry_after_s=known.retry_after_s if isinstance(known, Overloaded) else 0.0,
    )
    return encode(fault)


def log_bug(method: str, error: Exception) -> None:
    """Log where a handler broke, if `error` is a bug; not what it said, which may quote content."""
    if not isinstance(error, NetgptError):
        where = "".join(traceback.format_tb(error.__traceback__))
        _log.error("%s while serving %s\n%s", type(error).__name__, method, where)


def decode_error(payload: bytes) -> NetgptError:
    """The error that `payload` stands for; one of a code unknown here comes out as the root class."""
    fault = decode(Fault, payload)
    kind = BY_CODE.get(fault.code, NetgptError)
    param = fault.param or None
    if issubclass(kind, Overloaded):
        return kind(fault.message, hint=fault.hint, param=param, retry_after_s=fault.retry_after_s)
    return kind(fault.message, hint=fault.hint, param=param)
