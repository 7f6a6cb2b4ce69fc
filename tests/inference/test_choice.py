import pytest

from netgpt.core.errors import ModelNotFound, NodeUnreachable, NotSupported, PrivacyRefused
from netgpt.inference.choice import able_nodes, serving_nodes
from netgpt.models.grammar import json_grammar
from netgpt.network.member import Member


def member(node: str, tier: str, parameters: int, **more: object) -> Member:
    return Member(
        id=node, tier=tier, engine_address=f"{node}:1", door_url="", parameters=parameters, state=more.pop("state", "ready"), slots=4, **more
    )  # type: ignore[arg-type]


PHONE, OTHER_PHONE = member("device1", "device", 1), member("device2", "device", 1)
EDGE, BUSY_EDGE = member("edge2", "edge", 10), member("edge1", "edge", 10, running=3)
CLOUD = member("cloud1", "cloud", 100)
ALL = [PHONE, OTHER_PHONE, EDGE, BUSY_EDGE, CLOUD]


def ids(model: str, members: list[Member] = ALL, *, entry: Member = PHONE, privacy: str = "cloud-allowed") -> list[str]:
    return [found.id for found in serving_nodes(model, members, entry=entry, privacy=privacy)]


def test_auto_takes_the_largest_model_that_is_up_then_the_next_smaller():
    assert ids("auto") == ["cloud1", "edge2", "edge1", "device1"]
    lost = [*ALL[:-1], member("cloud1", "cloud", 100, state="lost")]
    assert ids("auto", lost) == ["edge2", "edge1", "device1"]


def test_a_tier_is_answered_by_that_tier_alone_the_least_loaded_first():
    assert ids("netgpt-edge") == ["edge2", "edge1"]
    assert ids("netgpt-cloud") == ["cloud1"]


def test_another_users_device_is_never_asked_from_a_device():
    assert ids("netgpt-device") == ["device1"]
    assert ids("netgpt-device", entry=CLOUD) == ["device1", "device2"]


def test_content_stays_within_its_privacy_level():
    assert ids("auto", privacy="device-only") == ["device1"]
    assert ids("auto", privacy="edge-allowed") == ["edge2", "edge1", "device1"]
    assert ids("auto", entry=EDGE, privacy="device-only") == ["edge2"], "the entry node has the content already, no other may"
    with pytest.raises(PrivacyRefused, match="'edge-allowed' forbids"):
        ids("netgpt-cloud", privacy="edge-allowed")


def test_what_cannot_be_answered_says_why():
    with pytest.raises(ModelNotFound, match="no model 'netgpt-cluod'") as caught:
        ids("netgpt-cluod")
    assert "did you mean 'netgpt-cloud'?" in caught.value.hint
    with pytest.raises(NodeUnreachable, match="no node that serves 'netgpt-cloud' is up"):
        ids("netgpt-cloud", [PHONE, EDGE])


def test_a_grammar_is_for_nodes_that_can_follow_one_and_the_order_stays():
    grammar = json_grammar("{}", param="response_format")
    able = [member("cloud1", "cloud", 100, grammar=True), EDGE, member("device1", "device", 1, grammar=True)]
    assert [node.id for node in able_nodes(able, grammar)] == ["cloud1", "device1"]
    assert able_nodes(able, None) == able
    with pytest.raises(NotSupported) as caught:
        able_nodes([EDGE, BUSY_EDGE], grammar)
    assert caught.value.param == "response_format"
