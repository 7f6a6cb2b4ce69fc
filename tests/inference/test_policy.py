"""Policies of other packages: found by name, asked with what a door knows, and never the reason why a request has no answer."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from netgpt.cli.main import main
from netgpt.core.errors import UsageError
from netgpt.inference.planner import Planner
from netgpt.inference.policy import FAILED, GROUP, NamedPolicy, Situation, policy_named, policy_or_none
from netgpt.inference.request import ChatRequest
from netgpt.network.member import Member
from netgpt.network.offer import Offer, Pace

EXAMPLE = Path(__file__).parents[2] / "examples" / "policies"
REQUEST = ChatRequest(request_id="chatcmpl-1", model="auto", messages=(("user", "hello " * 20),), max_tokens=20)
OFFER = Offer(pace=Pace(layers_s=0.0002, head_s=0.001, read_s=0.02), power_w=5.0)
NODES = [
    Member(id=f"{tier}1", tier=tier, engine_address="-", door_url="-", slots=4, context_tokens=2048, state="ready", offer=OFFER, parameters=size)
    for tier, size in (("device", 1), ("edge", 10), ("cloud", 100))
]


class Smallest:
    """Asks whoever costs least."""

    seen: list[Situation]

    def __init__(self) -> None:
        self.seen = []

    def weigh(self, situation: Situation) -> Sequence[float]:
        self.seen.append(situation)
        return [-option.cost for option in situation.options]


class Broken:
    def weigh(self, situation: Situation) -> Sequence[float]:
        raise ZeroDivisionError("by nothing")


class Short:
    def weigh(self, situation: Situation) -> Sequence[float]:
        return [1.0]


class Blank:
    def weigh(self, situation: Situation) -> Sequence[float]:
        return [float("nan")] * len(situation.options)


def chosen(policy: NamedPolicy | None) -> tuple[str, str]:
    decision = Planner("device1", policy=policy).plan(REQUEST, NODES, {}, 0.0, deadline_s=60)
    return decision.chosen.prediction.candidate.nodes[0], decision.why


def test_a_policy_chooses_from_what_the_door_knows_and_the_reason_names_it() -> None:
    policy = Smallest()
    node, why = chosen(NamedPolicy("smallest", policy))
    assert node == "device1" != chosen(None)[0]
    assert "device1 is policy 'smallest''s choice" in why
    [situation] = policy.seen
    assert situation.messages == REQUEST.messages
    assert (situation.answered, situation.confidence) == ("", {})
    assert {option.nodes: option.cost for option in situation.options} == {("device1",): 0.01, ("edge1",): 0.1, ("cloud1",): 1.0}
    assert all(0 < option.ttft_s <= option.total_s and 0 < option.quality < 1 for option in situation.options)


@pytest.mark.parametrize(("policy", "says"), [(Broken(), "ZeroDivisionError: by nothing"), (Short(), "for 3 options"), (Blank(), "nan")])
def test_where_a_policy_fails_netgpt_chooses_and_says_so(policy: Smallest, says: str) -> None:
    node, why = chosen(NamedPolicy("mine", policy))
    assert node == chosen(None)[0]
    assert "policy 'mine'" in why
    assert says in why
    assert FAILED in why


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nobody", "unknown policy 'nobody'"),
        ("no_such_module:Policy", "'no_such_module:Policy' cannot be loaded"),
        ("json:nothing", "'json:nothing' cannot be loaded"),
        ("json:dumps", "is no policy"),
    ],
)
def test_a_policy_that_is_not_there_is_refused_by_name_and_a_door_goes_on_without_it(
    name: str, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="policy") as refused:
        policy_named(name)
    assert says in refused.value.message
    assert refused.value.hint
    assert main(["simulate", "--policy", name, "--duration", "1s", "--output", str(tmp_path)]) == 2
    assert says in capsys.readouterr().err
    node, why = chosen(policy_or_none(name))
    assert node == chosen(None)[0]
    assert FAILED in why
    assert policy_or_none("") is None


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The example as pip would leave it: its module on the path, its entry points in metadata made from its own pyproject.toml."""
    table = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    [(name, target)] = table["entry-points"][GROUP].items()
    info = tmp_path / "netgpt_patient-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {table['name']}\nVersion: {table['version']}\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{name} = {target}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(EXAMPLE))
    return name


def test_the_example_is_found_by_its_entry_point_and_decides(installed: str) -> None:
    node, why = chosen(policy_named(installed))
    assert node in {member.id for member in NODES}
    assert "policy 'patient'" in why
    assert FAILED not in why
    with pytest.raises(UsageError) as refused:
        policy_named("patent")
    assert "did you mean 'patient'" in refused.value.hint
