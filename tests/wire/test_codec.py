"""Every message kind against netgpt.proto: same fields, exact round trips, refused garbage."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from importlib import resources
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from google.protobuf import descriptor_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from netgpt.core.errors import InvalidRequest
from netgpt.models.card import ModelCard
from netgpt.models.generation import (
    Capabilities,
    Embed,
    Embedding,
    Generate,
    Held,
    Load,
    Penalties,
    Prefill,
    Recall,
    Recalled,
    Remember,
    Remembered,
    Rollback,
    Sampling,
    Score,
    Scores,
    Text,
    Timings,
    Tokens,
    TopLogprobs,
    Turn,
    Verdict,
    Verify,
)
from netgpt.models.grammar import Form, Grammar
from netgpt.network.member import Changes, Member, Snapshot
from netgpt.network.offer import Offer, Pace, Variant
from netgpt.wire import schema
from netgpt.wire.codec import decode, encode
from netgpt.wire.messages import CALLS, Beat, Certified, Certify, Empty, Fault, Heartbeat, Hello, Join, Joined, Leave, Stats, Welcome

KINDS: tuple[type, ...] = (
    Sampling, Penalties, Turn, Text, Form, Grammar, Generate, TopLogprobs, Timings, Tokens, Verify, Verdict, Prefill, Held, Rollback,
    Embed, Embedding, Score, Scores, Recall, Recalled, Remember, Remembered, Capabilities, Load,
    ModelCard, Pace, Variant, Offer, Member, Snapshot, Changes,
    Hello, Welcome, Join, Joined, Certify, Certified, Heartbeat, Beat, Leave, Empty, Stats, Fault,
)  # fmt: skip

SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "TYPE_STRING": st.text(max_size=8),
    "TYPE_BYTES": st.binary(max_size=8),
    "TYPE_BOOL": st.booleans(),
    "TYPE_UINT32": st.integers(0, 2**32 - 1),
    "TYPE_UINT64": st.integers(0, 2**64 - 1),
    "TYPE_FLOAT": st.floats(width=32, allow_nan=False),
    "TYPE_DOUBLE": st.floats(allow_nan=False),
}


def values(kind: type) -> st.SearchStrategy[Any]:
    """Any message of `kind`, drawn from its annotations and its wire types."""
    hints = get_type_hints(kind)
    return st.builds(kind, **{field.name: _field_values(hints[field.name], _wire_type(kind, field.name)) for field in fields(kind)})


def _field_values(hint: Any, wire_type: str) -> st.SearchStrategy[Any]:
    if get_origin(hint) is Literal:
        return st.sampled_from(get_args(hint))
    if get_origin(hint) is tuple:
        return st.lists(_field_values(get_args(hint)[0], wire_type), max_size=4).map(tuple)
    if NoneType in get_args(hint):
        return st.none() | _field_values(get_args(hint)[0], wire_type)
    return values(hint) if is_dataclass(hint) else SCALARS[wire_type]  # type: ignore[arg-type]


def _wire_type(kind: type, name: str) -> str:
    file = descriptor_pb2.FileDescriptorProto()
    schema.FILE.CopyToProto(file)
    message = next(message for message in file.message_type if message.name == kind.__name__)
    return descriptor_pb2.FieldDescriptorProto.Type.Name(next(field for field in message.field if field.name == name).type)


quick = settings(max_examples=15, deadline=None)  # for each of two dozen kinds, on machines of any speed
any_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def test_the_list_of_kinds_is_the_list_of_messages() -> None:
    assert {kind.__name__ for kind in KINDS} == set(schema.FILE.message_types_by_name)
    assert {kind for call in CALLS.values() for kind in (call.request, call.reply)} <= set(KINDS)


def test_the_shipped_descriptor_is_compiled_from_the_shipped_proto(tmp_path: Any) -> None:
    protoc = pytest.importorskip("grpc_tools.protoc")
    folder = resources.files("netgpt.wire")
    made = tmp_path / "made.binpb"
    assert protoc.main(["protoc", f"-I{folder}", f"--descriptor_set_out={made}", "netgpt.proto"]) == 0
    shipped = descriptor_pb2.FileDescriptorSet.FromString((folder / "netgpt.binpb").read_bytes())
    assert descriptor_pb2.FileDescriptorSet.FromString(made.read_bytes()) == shipped


def test_the_service_of_the_proto_is_the_table_of_calls() -> None:
    methods = schema.FILE.services_by_name["Node"].methods
    assert {m.name: (m.input_type.name, m.output_type.name, m.server_streaming) for m in methods} == {
        name: (call.request.__name__, call.reply.__name__, call.streams) for name, call in CALLS.items()
    }


@any_kind
def test_a_dataclass_and_its_message_have_the_same_fields(kind: type) -> None:
    assert [field.name for field in fields(kind)] == [field.name for field in schema.FILE.message_types_by_name[kind.__name__].fields]


@any_kind
def test_a_default_is_zero_or_its_field_knows_whether_it_was_sent(kind: type) -> None:
    proto = schema.message_class(kind.__name__)()
    for field in fields(kind):
        descriptor = proto.DESCRIPTOR.fields_by_name[field.name]
        if field.default is not MISSING and not descriptor.has_presence:
            assert field.default in (0, 0.0, "", b"", False, ()), field.name


@any_kind
@quick
@given(data=st.data())
def test_what_was_sent_comes_back(kind: type, data: st.DataObject) -> None:
    message = data.draw(values(kind))
    payload = encode(message)
    assert decode(kind, payload) == message
    assert encode(decode(kind, payload)) == payload


@any_kind
@quick
@given(payload=st.binary(max_size=64))
def test_any_bytes_are_a_message_or_an_invalid_request(kind: type, payload: bytes) -> None:
    with suppress(InvalidRequest):
        assert isinstance(decode(kind, payload), kind)


@pytest.mark.parametrize(("kind", "payload"), [(Tokens, b"\x1a\xff"), (Held, b"\x0a\x01\xff"), (Welcome, b""), (Member, b"")])
def test_truncated_text_garbage_and_missing_parts_are_refused(kind: type, payload: bytes) -> None:
    with pytest.raises(InvalidRequest, match=kind.__name__) as caught:
        decode(kind, payload)
    assert caught.value.hint


@pytest.mark.parametrize(
    "message",
    [Rollback(session="s", length=-1), Verdict(accepted=1, next_id=2**32), Leave(node="\udc80"), Prefill(session="s", ids=("a",))],  # type: ignore[arg-type]
)
def test_what_the_wire_cannot_carry_is_refused_when_it_is_sent(message: Any) -> None:
    with pytest.raises(InvalidRequest, match=type(message).__name__):
        encode(message)


def test_fields_of_a_newer_version_are_ignored() -> None:
    newer = encode(Leave(node="edge1")) + b"\xfa\x3f\x03new"  # field 1023, a string
    assert decode(Leave, newer) == Leave(node="edge1")


def test_fields_that_an_older_version_does_not_send_take_their_defaults() -> None:
    assert decode(Generate, encode(Prefill(session="s", ids=(1, 2)))) == Generate(session="s", ids=(1, 2), max_tokens=0)
    assert decode(Sampling, b"").top_p == 1.0


def test_ids_are_packed_and_defaults_cost_nothing() -> None:
    assert len(encode(Prefill(session="", ids=tuple(range(100))))) == 102  # tag, length, one byte an id
    assert encode(Sampling()) == b""


def test_log_probabilities_cross_as_binary32() -> None:
    (logprob,) = decode(Tokens, encode(Tokens(position=0, ids=(1,), logprobs=(-0.1,)))).logprobs
    assert logprob != -0.1
    assert math.isclose(logprob, -0.1, rel_tol=2**-24)


def test_a_time_of_zero_weighs_as_much_as_any_other() -> None:
    assert len(encode(Timings())) == len(encode(Timings(queue_s=0.1, prefill_s=0.2, decode_s=0.3, overruns=1)))
    assert decode(Timings, encode(Timings())) == decode(Timings, b"") == Timings()
