"""Join tokens and credentials."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgpt.core.errors import AuthenticationFailed, UsageError
from netgpt.wire.identity import JoinAuthority

SECRET = b"0123456789abcdef"


class Date:
    """A date that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_token_lets_its_node_in_once() -> None:
    authority = JoinAuthority(SECRET, Date())
    token = authority.issue("edge1", ttl_s=60)
    assert token.startswith("ngt1.")
    admission = authority.redeem(token, used=set())
    assert (admission.node, admission.expires_s) == ("edge1", 1060.0)
    with pytest.raises(AuthenticationFailed, match="already used"):
        authority.redeem(token, used={admission.token_id})


def test_tokens_differ() -> None:
    authority = JoinAuthority(SECRET, Date())
    assert authority.issue("edge1", ttl_s=60) != authority.issue("edge1", ttl_s=60)


def test_a_token_expires() -> None:
    date = Date()
    authority = JoinAuthority(SECRET, date)
    token = authority.issue("edge1", ttl_s=60)
    date.now_s += 60
    with pytest.raises(AuthenticationFailed, match="expired") as caught:
        authority.redeem(token, used=set())
    assert caught.value.hint


@given(node=st.text(max_size=20))
def test_a_credential_names_its_node(node: str) -> None:
    authority = JoinAuthority(SECRET, Date())
    credential = authority.credential(node)
    assert credential.isascii()  # it travels in a header
    assert authority.check(credential) == node


@pytest.mark.parametrize("text", ["", "ngt1", "ngt1..", "ngc1.%%.%%", "ngt1.e30.e30", "ngc1.\udc80.é", "."])
def test_what_we_did_not_make_is_refused_with_a_next_step(text: str) -> None:
    authority = JoinAuthority(SECRET, Date())
    for refuse in (lambda: authority.check(text), lambda: authority.redeem(text, used=set())):
        with pytest.raises(AuthenticationFailed) as caught:
            refuse()
        assert caught.value.hint


@given(position=st.integers(min_value=0), letter=st.characters())
def test_one_changed_letter_is_refused(position: int, letter: str) -> None:
    authority = JoinAuthority(SECRET, Date())
    credential = authority.credential("edge1")
    at = position % len(credential)
    changed = credential[:at] + letter + credential[at + 1 :]
    if changed != credential:
        with pytest.raises(AuthenticationFailed):
            authority.check(changed)


def test_tokens_and_credentials_of_one_network_are_nothing_in_another_nor_for_each_other() -> None:
    ours, theirs = JoinAuthority(SECRET, Date()), JoinAuthority(SECRET[::-1], Date())
    for wrong in (theirs.credential("edge1"), ours.issue("edge1", ttl_s=60), ours.credential("edge1").replace("ngc1", "ngt1")):
        with pytest.raises(AuthenticationFailed):
            ours.check(wrong)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(UsageError):
        JoinAuthority(b"short", Date())
