"""Which kind of traffic a message is."""

from __future__ import annotations

import pytest

from netgpt.network.flow import FLOWS, flow_named, flows_with
from netgpt.network.scenario import QOS_CLASSES
from netgpt.wire.method_flow import FLOWS_OF, FLOWS_OF_CLASS, flow_of
from netgpt.wire.schema import FILE


def test_every_method_of_the_protocol_has_its_flows() -> None:
    methods = {method.name for method in FILE.services_by_name["Node"].methods}
    assert methods == FLOWS_OF.keys()
    named = {flow for both in FLOWS_OF.values() for flow in both} | {flow for flows in FLOWS_OF_CLASS.values() for flow in flows.values()}
    assert named <= FLOWS.keys()
    assert FLOWS_OF_CLASS.keys() <= {*QOS_CLASSES}


@pytest.mark.parametrize(
    ("method", "way", "qos", "flow"),
    [
        ("generate", "request", "standard", "prompt"),
        ("generate", "reply", "standard", "token"),
        ("generate", "reply", "interactive", "interactive-token"),
        ("generate", "request", "background", "background"),
        ("verify", "request", "interactive", "draft"),
        ("verify", "reply", "background", "background"),
        ("heartbeat", "request", "background", "heartbeat"),
        ("new-fangled", "request", "interactive", "background"),
    ],
)
def test_a_flow_depends_on_method_way_and_class(method: str, way: str, qos: str, flow: str) -> None:
    assert flow_of(method, "reply" if way == "reply" else "request", qos) == flow


def test_what_an_interactive_user_says_goes_before_others_and_after_rounds() -> None:
    for flow in ("token", "prompt"):
        levels = [flow_named(name).priority for name in ("draft", f"interactive-{flow}", flow, "background")]
        assert levels == sorted(set(levels))


def test_an_interactive_user_stays_ahead_where_a_cell_gives_a_kind_another_5qi() -> None:
    changed = flows_with({"token": 82})
    assert changed["token"].priority == flow_named("verdict").priority
    assert changed["interactive-token"].priority == changed["token"].priority - 1
    assert flows_with({"token": 82, "interactive-token": 80})["interactive-token"].five_qi == 80
