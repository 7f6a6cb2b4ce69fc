"""By which names a server may be called, and from which it may listen. Pure.

Keys do not protect a door that has none: a web page that its user opens can post to 127.0.0.1, and a page that lets its own
name point there (DNS rebinding) can even read the answer. Both betray themselves, the first by its Origin, the second by
its Host. No cross-origin header is ever sent, so that no page of another origin reads a reply.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

from netgpt.core.errors import OriginRefused, UsageError

_HINT = "call the server by a loopback name, or allow the name where it is started: NETGPT_ALLOWED_HOSTS"
_MAX_SHOWN_CHARS = 100


@lru_cache(maxsize=64)  # every request's Host is judged
def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own. A name is, only if it is `localhost` by RFC 6761."""
    name = host.removeprefix("[").removesuffix("]").lower().removesuffix(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def check_bind(host: str, *, has_key: bool, param: str = "host") -> None:
    """Refuse to serve other machines without a key.

    Raises:
        UsageError: `host` is not loopback and no valid key exists.
    """
    if not has_key and not is_loopback(host):
        raise UsageError(
            f"{host!r} is reachable from other machines, and no valid API key protects it",
            hint="make a key first: netgpt keys create; or stay on this machine: 127.0.0.1",
            param=param,
        )


def reached_at(host: str) -> str:
    """The host of a URL under which this machine reaches what listens at `host`."""
    if host in ("0.0.0.0", ""):
        return "127.0.0.1"
    if host == "::":
        return "[::1]"
    return f"[{host}]" if ":" in host else host


def split_names(text: str) -> frozenset[str]:
    """The names in a list separated by commas, as a URL would have them."""
    return frozenset(name.strip().lower() for name in text.split(",") if name.strip())


class HostRule:
    """Which Host and Origin a server accepts.

    At a loopback address the Host must be a loopback name or an allowed one. Elsewhere keys are required, and no page
    can add one to a request of another origin; there any Host will do. An Origin must be a loopback name, an allowed
    name, or the Host itself.
    """

    def __init__(self, bind: str, allowed: frozenset[str] = frozenset()) -> None:
        self._any_host = not is_loopback(bind)
        self._allowed = allowed
        self._good: bytes | None = None  # the Host that was last found good: nearly all have the same

    def check(self, hosts: list[bytes], origins: list[bytes]) -> None:
        """Judge all Host and Origin headers of a request.

        Raises:
            OriginRefused: a name that is not ours, none, or several.
        """
        if not origins and len(hosts) == 1 and hosts[0] == self._good:
            return
        host = hosts[0].decode("latin-1").lower() if len(hosts) == 1 else ""
        if not self._any_host and not self._is_ours(_name(host)):
            raise OriginRefused(f"the request is for the host {host[:_MAX_SHOWN_CHARS]!r}, which is none of this server's names", hint=_HINT)
        self._good = hosts[0] if len(hosts) == 1 else None
        for origin in origins:
            text = origin.decode("latin-1").lower()
            scheme, _, authority = text.partition("://")
            if scheme not in ("http", "https") or not (authority == host or self._is_ours(_name(authority))):
                raise OriginRefused(f"the request comes from a page of {text[:_MAX_SHOWN_CHARS]!r}", hint=_HINT)

    def _is_ours(self, name: str) -> bool:
        return bool(name) and (name in self._allowed or is_loopback(name))


def _name(authority: str) -> str:
    """`name` of `name:port`; empty if it is not one. An IPv6 address keeps its brackets, lest it be torn at its colons."""
    if authority.startswith("["):
        address, bracket, port = authority.partition("]")
        name = address + bracket if bracket else ""
        port = port.removeprefix(":")
    else:
        name, _, port = authority.partition(":")
    return name if port == "" or (port.isascii() and port.isdigit()) else ""
