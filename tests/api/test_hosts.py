"""Which addresses are this machine's own, which need a key, and which pages may ask."""

import pytest

from netgpt.api.hosts import HostRule, check_bind, is_loopback, reached_at, split_names
from netgpt.core.errors import OriginRefused, UsageError

OWN = ["127.0.0.1", "127.8.9.1", "localhost", "LOCALHOST", "localhost.", "a.localhost", "::1", "[::1]"]
FOREIGN = ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org", "127.0.0.1.example.org", "", "127.1", "2130706433"]


def test_loopback_is_known_by_address_and_by_one_name() -> None:
    assert [host for host in OWN if not is_loopback(host)] == []
    assert [host for host in FOREIGN if is_loopback(host)] == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "gateway"])
def test_serving_other_machines_without_a_key_is_refused_with_the_next_step(host: str) -> None:
    with pytest.raises(UsageError, match=host) as caught:
        check_bind(host, has_key=False)
    assert "netgpt keys create" in caught.value.hint
    check_bind(host, has_key=True)
    check_bind("127.0.0.1", has_key=False)


def test_a_server_is_reached_from_its_own_machine_wherever_it_listens() -> None:
    assert [reached_at(host) for host in ("0.0.0.0", "::", "::1", "10.0.0.1", "localhost")] == [
        "127.0.0.1",
        "[::1]",
        "[::1]",
        "10.0.0.1",
        "localhost",
    ]


@pytest.mark.parametrize("host", [b"127.0.0.1:8080", b"localhost", b"LocalHost:1", b"[::1]:8080", b"gw.example.org:80"])
def test_a_server_on_loopback_answers_to_its_own_names(host: bytes) -> None:
    HostRule("127.0.0.1", split_names(" gw.example.org, other ")).check([host], [])


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [b""],
        [b"evil.example"],
        [b"127.0.0.1", b"evil.example"],
        [b"localhost:80:80"],
        [b"\xff\xfe"],
        [b"[::1"],
        [b"evil.example:8080"],
        [b"x" * 10_000],
    ],
)
def test_another_host_is_refused_as_it_may_be_a_name_that_was_bent_to_loopback(hosts: list[bytes]) -> None:
    with pytest.raises(OriginRefused) as caught:
        HostRule("127.0.0.1").check(hosts, [])
    assert len(caught.value.message) < 500


def test_beyond_loopback_any_host_will_do_as_keys_are_required() -> None:
    HostRule("0.0.0.0").check([b"anything.example"], [])


@pytest.mark.parametrize("origin", [b"http://localhost:3000", b"http://127.0.0.1:8080", b"https://gw.example.org", b"http://[::1]:5"])
def test_pages_of_this_machine_and_of_allowed_names_may_ask(origin: bytes) -> None:
    HostRule("127.0.0.1", split_names("gw.example.org")).check([b"localhost"], [origin])


@pytest.mark.parametrize("bind", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize(
    "origin",
    [b"https://evil.example", b"null", b"", b"file://", b"http://localhost.evil.example", b"http://", b"\xff", b"http://user@localhost:80@evil"],
)
def test_foreign_pages_may_not(bind: str, origin: bytes) -> None:
    with pytest.raises(OriginRefused):
        HostRule(bind).check([b"localhost:8080"], [origin])


def test_a_page_of_the_server_itself_may_ask_wherever_it_is() -> None:
    HostRule("0.0.0.0").check([b"door.example:8080"], [b"http://door.example:8080"])
