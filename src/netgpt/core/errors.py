"""Every error a user can meet: its code, HTTP status, exit number, and the next step.

A message names the thing, shows its value, and `hint` says what to do next. The table of all
errors is `ERRORS`; `docs/reference/errors.md` is generated from it.
"""

from __future__ import annotations

from typing import ClassVar

MOST_TOLD_CHARS = 600  # of a message over HTTP: what it quotes may be as long as a body
_TOLD_END_CHARS = 200


class NetgptError(Exception):
    """Root of all errors that NetGPT raises on purpose.

    Args:
        message: what happened; names the thing and shows its value.
        hint: the next step for the person who reads it.
        param: the request parameter or setting at fault, if there is one.
    """

    code: ClassVar[str] = "internal_error"
    type: ClassVar[str] = "server_error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "", param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.param = param

    def body(self, request_id: str) -> dict[str, object]:
        """The error in OpenAI's shape, with `request_id` and `hint` beside it. Of a message that quotes something endless the middle is left out."""
        message = self.message
        if len(message) > MOST_TOLD_CHARS:
            message = f"{message[: MOST_TOLD_CHARS - _TOLD_END_CHARS]} ... {message[-_TOLD_END_CHARS:]}"
        return {
            "error": {"message": message, "type": self.type, "param": self.param, "code": self.code},
            "request_id": request_id,
            "hint": self.hint,
        }


class UsageError(NetgptError):
    """A command line, setting or argument that cannot be understood."""

    code, type, status, exit_code = "usage", "invalid_request_error", 400, 2


class InvalidRequest(NetgptError):
    """A request whose body or parameters are wrong."""

    code, type, status, exit_code = "invalid_request", "invalid_request_error", 400, 2


class ContextLengthExceeded(InvalidRequest):
    """A prompt (plus the tokens asked for) that does not fit the model's context."""

    code = "context_length_exceeded"


class AuthenticationFailed(NetgptError):
    """A join token, credential or certificate that is missing, wrong, expired or already used."""

    code, type, status, exit_code = "authentication_failed", "authentication_error", 401, 3


class KeyRefused(AuthenticationFailed):
    """An API key that is missing, unknown, expired or revoked."""

    code = "invalid_api_key"


class ScopeMissing(AuthenticationFailed):
    """A valid API key whose scopes do not cover the route."""

    code, status = "insufficient_scope", 403


class OriginRefused(NetgptError):
    """A request that a foreign web page may have sent: its Host or Origin is not one of this server's names."""

    code, type, status, exit_code = "origin_refused", "invalid_request_error", 403, 3


class CertificateRevoked(AuthenticationFailed):
    """A certificate that the network's operator has revoked: its node is no member any more."""

    code = "certificate_revoked"


class PrivacyRefused(NetgptError):
    """Content that may not leave its privacy level."""

    code, type, status, exit_code = "privacy_refused", "invalid_request_error", 403, 4


class ModelNotFound(NetgptError):
    """A model name that no node of this network serves and no folder holds."""

    code, type, status, exit_code = "model_not_found", "not_found_error", 404, 5


class SessionNotFound(NetgptError):
    """An engine was asked to continue a session whose KV it no longer holds: send all ids again."""

    code, type, status, exit_code = "session_not_found", "not_found_error", 404, 1


class NotSupported(NetgptError):
    """A capability that this engine or model states not to have."""

    code, type, status, exit_code = "not_supported", "invalid_request_error", 400, 1


class Overloaded(NetgptError):
    """A bounded queue is full; retry after `retry_after_s`."""

    code, type, status, exit_code = "overloaded", "rate_limit_error", 503, 6

    def __init__(self, message: str, *, hint: str = "", param: str | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message, hint=hint, param=param)
        self.retry_after_s = retry_after_s


class RateLimited(Overloaded):
    """One API key asks too often, too much at once, or has too many requests in the queue."""

    code, status = "rate_limit_exceeded", 429


class NodeUnreachable(NetgptError):
    """A node that does not answer: crashed, partitioned, or not yet up."""

    code, type, status, exit_code = "node_unreachable", "server_error", 503, 7


class DeadlineExceeded(NetgptError):
    """Work that did not finish by its deadline."""

    code, type, status, exit_code = "deadline_exceeded", "server_error", 504, 8


class DeadlineTooShort(DeadlineExceeded):
    """A deadline that nothing is expected to keep: refused before anything ran."""

    code, type, status = "deadline_too_short", "invalid_request_error", 400


class ScenarioInvalid(NetgptError):
    """A scenario file with an unknown key, an unknown node, or a value out of range."""

    code, type, status, exit_code = "scenario_invalid", "invalid_request_error", 400, 9


class ModelInvalid(NetgptError):
    """A model folder that is corrupt, truncated, pickled, or does not match its config."""

    code, type, status, exit_code = "model_invalid", "server_error", 500, 10


class PortInUse(NetgptError):
    """A port that another process holds."""

    code, type, status, exit_code = "port_in_use", "server_error", 500, 11


class AlreadyRunning(NetgptError):
    """A network already runs from this home."""

    code, type, status, exit_code = "already_running", "server_error", 409, 12


class NotRunning(NetgptError):
    """No network runs from this home."""

    code, type, status, exit_code = "not_running", "server_error", 409, 13


class StorageFailed(NetgptError):
    """A file that could not be written or read back: full disk, torn write, no permission."""

    code, type, status, exit_code = "storage_failed", "server_error", 500, 14


class MissingExtra(NetgptError):
    """A feature whose optional dependency is not installed."""

    code, type, status, exit_code = "missing_extra", "server_error", 500, 15


class BenchInvalid(NetgptError):
    """A measurement that says nothing: the machine was too slow for what it was to stand for, or stored figures are stale."""

    code, type, status, exit_code = "bench_invalid", "server_error", 500, 16


ERRORS: tuple[type[NetgptError], ...] = (
    NetgptError, UsageError, InvalidRequest, ContextLengthExceeded, AuthenticationFailed, CertificateRevoked, KeyRefused, ScopeMissing,
    OriginRefused, PrivacyRefused, ModelNotFound, SessionNotFound, NotSupported, Overloaded, RateLimited, NodeUnreachable, DeadlineExceeded,
    DeadlineTooShort, ScenarioInvalid, ModelInvalid, PortInUse, AlreadyRunning, NotRunning, StorageFailed, MissingExtra, BenchInvalid,
)  # fmt: skip

BY_CODE: dict[str, type[NetgptError]] = {error.code: error for error in ERRORS}
