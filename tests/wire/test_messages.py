"""Protocol versions, and the errors that cross the wire."""

from __future__ import annotations

import pytest

from netgpt.core.errors import ERRORS, NetgptError, NotSupported, Overloaded
from netgpt.models.generation import Generate, Penalties
from netgpt.wire.codec import encode
from netgpt.wire.fault import decode_error, encode_error
from netgpt.wire.messages import PROTOCOL_VERSION, Certify, Fault, Stats, agreed_version, check_understood, least_version


@pytest.mark.parametrize(("theirs", "ours", "agreed"), [(1, 1, 1), (2, 1, 1), (1, 2, 1), (7, 7, 7)])
def test_neighbouring_versions_agree_on_the_lower(theirs: int, ours: int, agreed: int) -> None:
    assert agreed_version(theirs, ours=ours) == agreed


@pytest.mark.parametrize(("theirs", "ours", "older"), [(1, 3, "the other node"), (4, 2, "this node"), (0, 1, "the other node")])
def test_versions_further_apart_are_refused_and_the_older_side_is_named(theirs: int, ours: int, older: str) -> None:
    with pytest.raises(NotSupported) as caught:
        agreed_version(theirs, ours=ours)
    assert older in caught.value.hint


def test_this_release_and_the_one_before_understand_each_other() -> None:
    assert agreed_version(PROTOCOL_VERSION - 1) == PROTOCOL_VERSION - 1


def test_a_call_needs_the_version_that_brought_it_and_a_field_only_where_it_is_used() -> None:
    fields_since = {Generate: {"hold": 2}}
    plain, held = Generate(session="s", ids=(1,), max_tokens=1), Generate(session="s", ids=(1,), max_tokens=1, hold=True)
    assert least_version("generate", plain, fields_since=fields_since) == 1
    assert least_version("generate", held, fields_since=fields_since) == 2
    assert least_version("certify", Certify(request=b"")) == 2


def test_an_older_node_is_not_sent_what_it_would_misunderstand() -> None:
    check_understood("stats", Stats(), 1, node="edge1")
    steered = Generate(session="s", ids=(1,), max_tokens=1, penalties=Penalties(presence=1.0))
    check_understood("generate", steered, 2, node="edge1")
    with pytest.raises(NotSupported, match="this 'generate' needs 2"):
        check_understood("generate", steered, 1, node="edge1")
    check_understood("certify", Certify(request=b""), 2, node="edge1")
    with pytest.raises(NotSupported, match="'edge1' speaks protocol version 1") as caught:
        check_understood("certify", Certify(request=b""), 1, node="edge1")
    assert "upgrade" in caught.value.hint


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_an_error_comes_out_as_it_went_in(kind: type[NetgptError]) -> None:
    crossed = decode_error(encode_error(kind("what happened: ä", hint="do this", param="model")))
    assert (type(crossed), crossed.message, crossed.hint, crossed.param) == (kind, "what happened: ä", "do this", "model")


def test_when_to_retry_crosses_too() -> None:
    crossed = decode_error(encode_error(Overloaded("full", retry_after_s=2.5)))
    assert isinstance(crossed, Overloaded)
    assert crossed.retry_after_s == 2.5


def test_a_bug_crosses_by_name_and_without_its_text() -> None:
    crossed = decode_error(encode_error(KeyError("the prompt")))
    assert "KeyError" in crossed.message
    assert "the prompt" not in crossed.message + crossed.hint


def test_an_error_of_a_newer_version_keeps_its_text() -> None:
    crossed = decode_error(encode(Fault(code="of_tomorrow", message="new", hint="step")))
    assert (type(crossed), crossed.message, crossed.hint) == (NetgptError, "new", "step")


def test_a_long_error_is_cut_to_fit_a_header_block() -> None:
    assert len(encode_error(NetgptError("ä" * 100_000, hint="ö" * 100_000))) < 8192
