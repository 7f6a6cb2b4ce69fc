"""API keys: what is stored, who is found, and when a server notices a change."""

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netgpt.api.key_file import CHECK_INTERVAL_S, KEYS, LOCAL_ID, KeyFile, KeyStore, local_key
from netgpt.api.keys import SCOPES, KeyRing, KeyWishes, make_key, read_ring, write_ring
from netgpt.core.errors import StorageFailed, UsageError
from netgpt.core.storage import DiskStorage, SimulatedStorage

ENTROPY = bytes(range(40))


class HandClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at_s = 100.0

    def now_s(self) -> float:
        return self.at_s

    def date_s(self) -> float:
        return 1e9 + self.at_s

    async def sleep(self, duration_s: float) -> None:
        raise AssertionError("nobody waits here")


def make(name: str = "", *, entropy: bytes = ENTROPY, **wishes: object) -> tuple[str, KeyRing]:
    secret, key = make_key(KeyWishes(name=name, **wishes), entropy=entropy, taken=(), now_s=5.0)  # type: ignore[arg-type]
    return secret, KeyRing([key])


def test_a_key_has_256_random_bits_and_only_its_digest_is_stored() -> None:
    secret, ring = make("laptop")
    assert secret.startswith("ngpt_")
    assert len(secret) == len("ngpt_") + 43, "32 bytes in base64url"
    stored = write_ring(ring)
    assert secret.encode() not in stored
    assert secret[5:-4].encode() not in stored
    assert ring.keys[0].last4 == secret[-4:]
    found = ring.find(secret.encode())
    assert found is not None
    assert found.name == "laptop"
    assert "digest" not in found.shown(9.0)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200))
def test_what_is_no_key_finds_nothing(secret: bytes) -> None:
    _, ring = make()
    assert ring.find(secret) is None
    assert ring.find(b"ngpt_" + secret) is None


@settings(deadline=None, max_examples=50)
@given(
    st.text(st.characters(codec="utf-8", categories=["L", "N", "P"]), max_size=64),
    st.lists(st.sampled_from(SCOPES), min_size=1, max_size=3),
    st.one_of(st.none(), st.integers(1, 10**6)),
    st.one_of(st.none(), st.floats(1, 1e9)),
)
def test_a_ring_is_read_as_it_was_written(name: str, scopes: list[str], rate: int | None, lifetime_s: float | None) -> None:
    _, ring = make(name, scopes=tuple(scopes), rate_per_minute=rate, lifetime_s=lifetime_s)
    assert read_ring(write_ring(ring)).keys == ring.keys


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b'{"v": 2, "keys": []}', b'{"v": 1, "keys": [{}]}', b'{"v": 1, "keys": [7]}', b"\xff", b"[" * 100_000]
)
def test_a_file_that_is_not_ours_is_refused(content: bytes) -> None:
    with pytest.raises(StorageFailed):
        read_ring(content)


def test_a_key_ends_when_it_expires_or_is_revoked() -> None:
    _, ring = make(lifetime_s=10.0)
    key = ring.keys[0]
    assert [key.state(now_s) for now_s in (5.0, 14.9, 15.0)] == ["valid", "valid", "expired"]
    revoked = ring.revoke(key.id, 7.0)
    assert revoked.keys[0].state(8.0) == "revoked"
    assert revoked.revoke(key.id, 9.0).keys == revoked.keys, "it stays revoked since then"
    assert not revoked.any_valid(8.0)
    with pytest.raises(UsageError, match="no key 'key_0'"):
        ring.revoke("key_0", 7.0)


@pytest.mark.parametrize(
    "wishes", [{"scopes": ()}, {"scopes": ("root",)}, {"rate_per_minute": 0}, {"concurrency": -1}, {"lifetime_s": 0.0}, {"name": "a\nb"}]
)
def test_a_key_that_cannot_be_is_refused(wishes: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        KeyWishes(**wishes)  # type: ignore[arg-type]


def test_ids_differ_even_if_chance_repeats() -> None:
    first = make_key(KeyWishes(), entropy=ENTROPY, taken=(), now_s=0.0)[1].id
    assert make_key(KeyWishes(), entropy=ENTROPY, taken=[first], now_s=0.0)[1].id != first


def test_several_keys_are_valid_at_once_so_that_one_can_take_anothers_place(tmp_path: Path) -> None:
    store = KeyStore(tmp_path, HandClock())
    secrets = [store.create(KeyWishes())[0] for _ in range(3)]
    ring = store.ring()
    assert all(ring.find(secret.encode()) for secret in secrets)
    assert len({key.id for key in ring.keys}) == 3


def test_the_file_is_its_owners_alone_and_holds_no_key(tmp_path: Path) -> None:
    store = KeyStore(tmp_path, HandClock())
    secret, _ = store.create(KeyWishes(name="a"))
    store.renew_local()
    assert {path.stat().st_mode & 0o077 for path in [tmp_path / "secrets", *(tmp_path / "secrets").iterdir()]} == {0}
    assert secret not in (tmp_path / "secrets" / KEYS).read_text()
    assert json.loads((tmp_path / "secrets" / KEYS).read_text())["keys"][0]["name"] == "a"


def test_two_commands_at_once_lose_no_key(tmp_path: Path) -> None:
    store = KeyStore(tmp_path, HandClock())
    threads = [threading.Thread(target=store.create, args=(KeyWishes(),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.ring().keys) == 8


def test_a_server_notices_a_new_and_a_revoked_key_within_a_second(tmp_path: Path) -> None:
    clock = HandClock()
    store, file = KeyStore(tmp_path, clock), KeyFile(DiskStorage(tmp_path / "secrets"), clock)
    assert file.made().keys == ()
    secret, key = store.create(KeyWishes())
    clock.at_s += CHECK_INTERVAL_S
    assert file.ring().find(secret.encode()) == key
    store.revoke(key.id)
    clock.at_s += CHECK_INTERVAL_S - 0.001
    assert file.ring().find(secret.encode()) == key, "not looked at again yet"
    clock.at_s += 0.001
    found = file.ring().find(secret.encode())
    assert found is not None
    assert found.state(clock.date_s()) == "revoked"


def test_an_unchanged_file_is_not_parsed_again() -> None:
    clock, storage = HandClock(), SimulatedStorage()
    storage.replace(KEYS, write_ring(make()[1]))
    file = KeyFile(storage, clock)
    ring = file.ring()
    clock.at_s += 10
    assert file.ring() is ring


def test_a_file_that_breaks_lets_nobody_in() -> None:
    clock, storage = HandClock(), SimulatedStorage()
    secret, ring = make()
    storage.replace(KEYS, write_ring(ring))
    file = KeyFile(storage, clock)
    assert file.ring().find(secret.encode())
    storage.replace(KEYS, b"{")
    clock.at_s += CHECK_INTERVAL_S
    for _ in range(2):
        with pytest.raises(StorageFailed):
            file.ring()
    storage.replace(KEYS, write_ring(ring))
    assert file.ring().find(secret.encode()), "and is well as soon as the file is"


def test_the_homes_own_key_is_renewed_and_is_no_key_that_somebody_made(tmp_path: Path) -> None:
    clock = HandClock()
    store, file = KeyStore(tmp_path, clock), KeyFile(DiskStorage(tmp_path / "secrets"), clock)
    assert local_key(tmp_path) == ""
    store.renew_local()
    first = local_key(tmp_path)
    assert file.made().keys == ()
    own = file.ring().find(first.encode())
    assert own is not None
    assert (own.id, own.allows("use")) == (LOCAL_ID, True)
    store.renew_local()
    clock.at_s += CHECK_INTERVAL_S
    assert file.ring().find(first.encode()) is None
    assert file.ring().find(local_key(tmp_path).encode())
