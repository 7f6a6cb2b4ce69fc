import pytest

from netgpt.core.errors import ModelNotFound, NodeUnreachable, NotSupported, PrivacyRefused
from netgpt.inference.choice import able_nodes, check_one_tokenizer, serving_nodes
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
    with pytest.raises(PrivacyRefused, match="'edge-allowed' forbids") as forbidden:
        ids("netgpt-cloud", privacy="edge-allowed")
    assert forbidden.value.hint == "ask 'netgpt-edge' or 'auto', or raise the privacy level to 'cloud-allowed'"
    with pytest.raises(PrivacyRefused) as forbidden:
        ids("netgpt-edge", privacy="device-only")
    assert forbidden.value.hint == "ask 'netgpt-device' or 'auto', or raise the privacy level to 'edge-allowed'"


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


def test_token_ids_of_a_client_mean_one_tokenizer():
    one, same, other = (member(f"cloud{n}", "cloud", 10, tokenizer=tokenizer) for n, tokenizer in enumerate("aab", start=1))
    check_one_tokenizer([one, same], model="auto", param="logit_bias")
    with pytest.raises(NotSupported, match="'auto' is served with several: 'cloud1', 'cloud3'") as caught:
        check_one_tokenizer([one, other], model="auto", param="logit_bias")
    assert caught.value.param == "logit_bias"
    assert "tier" in caught.value.hint


def test_penalties_are_asked_of_nodes_whose_release_knows_them():
    old, new = member("cloud1", "cloud", 100, protocol_version=1), member("edge1", "edge", 10, protocol_version=2)
    unable = member("cloud2", "cloud", 100, protocol_version=2, lacks=("presence_penalty", "frequency_penalty", "logit_bias"))
    found = serving_nodes("auto", [old, unable, new], entry=new, privacy="cloud-allowed", needs=("logit_bias",))
    assert [node.id for node in found] == ["edge1"]
    with pytest.raises(NotSupported, match="gives frequency_penalty: 'cloud1', 'cloud2' cannot") as caught:
        serving_nodes("netgpt-cloud", [old, unable, new], entry=new, privacy="cloud-allowed", needs=("logprobs", "frequency_penalty"))
    assert caught.value.param == "frequency_penalty"
