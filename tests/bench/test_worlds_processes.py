"""What processes take: from durations that are known, and from processes that run. No test here tells time by the wall."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest

from netgpt.bench.worlds_processes import (
    CALLS_A_BEAT,
    FIRST_SEED,
    LATENESS_WEIGHT,
    PROBES,
    TEXT,
    Equation,
    Observed,
    Probe,
    asks,
    beat_equations,
    cpu_by_role,
    fit,
    probe_equations,
    spec_of,
)
from netgpt.bench.worlds_runs import emulated, emulated_network, simulated
from netgpt.controller.pace import BEAT_INTERVAL_S
from netgpt.network.scenario import ProcessesSpec, Scenario
from netgpt.network.scenario_file import parse_scenario
from netgpt.world.runstate import CONTROLLER, DOOR, ENGINE, SHAPER, RunState

TRUTH = ProcessesSpec(request_s=0.0021, call_s=0.0009, reply_s=0.0006, kilobyte_s=0.0004, shaper_s=0.0005)
DOOR_S = 0.003  # of its processor, a request


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return replace(parse_scenario(TEXT, where="processes.toml"), users=(), faults=())


@pytest.fixture(scope="module")
def network() -> Iterator[RunState]:
    with emulated_network(TEXT) as state:
        yield state


def observed(scenario: Scenario, probe: Probe) -> Observed:
    """The probe as it is seen where processes take what `TRUTH` says."""
    asked = asks(probe, 6)
    runs = [simulated(one, probe.model, asked) for one in (scenario, replace(scenario, processes=TRUTH))]
    told, real = ([run[ask.seed] for ask in asked] for run in runs)
    replies = sum(seen.tokens for seen in real)
    kilobytes = sum(sum(count.values()) for seen in real for count in seen.payload.values()) / 1000
    end_s = len(asked) * TRUTH.call_s + replies * TRUTH.reply_s + kilobytes * TRUTH.kilobyte_s
    pieces = (probe.links + 1) * (2 * len(asked) + replies) if probe.links else 0
    cpu_s = {ENGINE: end_s, DOOR: end_s + len(asked) * DOOR_S, SHAPER: pieces * TRUTH.shaper_s, CONTROLLER: 0.0}
    return Observed(probe=probe, told=told, real=real, cpu_s=cpu_s)


def test_what_processes_take_is_found_again_from_a_network_whose_processes_take_it(scenario: Scenario):
    beat_s = 2 * CALLS_A_BEAT * 3 / BEAT_INTERVAL_S * (TRUTH.call_s + TRUTH.reply_s)
    beats = beat_equations({DOOR: beat_s / 2, ENGINE: beat_s / 4, CONTROLLER: beat_s / 4, SHAPER: 0.0}, nodes=3)
    found = fit([*beats, *probe_equations([observed(scenario, probe) for probe in PROBES])])
    spec = spec_of(found, cores=2)
    for name in ("request_s", "call_s", "reply_s", "kilobyte_s", "shaper_s"):
        assert getattr(spec, name) == pytest.approx(getattr(TRUTH, name), rel=0.03), name
    assert found["door"] == pytest.approx(DOOR_S, rel=0.05)
    assert spec.cores == 2


def test_first_tokens_weigh_more_than_processor_time_and_what_was_not_seen_tells_nothing():
    late, spent = Equation({"call": 2.0}, 0.010, LATENESS_WEIGHT), Equation({"call": 1.0}, 0.010)
    assert fit([late, spent])["call"] == pytest.approx(0.005, rel=0.01)
    assert fit([late, Equation({"reply": 1.0}, -0.001)]) == pytest.approx(
        {"request": 0, "call": 0.005, "reply": 0, "kilobyte": 0, "shaper": 0, "door": 0}
    )


def test_first_tokens_that_wait_longer_than_processors_work_are_the_requests_and_the_shapers(scenario: Scenario):
    """A processor that sleeps takes its time to wake; the table must give the lateness all the same."""
    late = [observed(scenario, probe) for probe in PROBES]
    late = [replace(each, real=[replace(seen, first_s=seen.first_s + 0.004 + 0.002 * each.probe.links) for seen in each.real]) for each in late]
    spec = spec_of(fit(list(probe_equations(late))), cores=0)
    for each in late:
        again = simulated(replace(scenario, processes=spec), each.probe.model, asks(each.probe, 6))
        left = replace(each, told=[again[ask.seed] for ask in asks(each.probe, 6)])
        assert abs(left.late_s()) < 0.0005, each.probe.name


def test_probes_ask_what_nobody_else_does_one_after_the_other():
    for probe in PROBES:
        asked = asks(probe, probe.count)
        assert asked == asks(probe, probe.count)
        assert min(ask.seed for ask in asked) >= FIRST_SEED
        gaps = [b.at_s - a.at_s for a, b in pairwise(asked)]
        assert min(gaps) >= 0.8 * probe.gap_s
        assert max(gaps) > 1.05 * min(gaps)


@pytest.mark.parametrize("probe", [probe for probe in PROBES if probe.links], ids=lambda probe: probe.name)
def test_real_processes_send_the_payload_bytes_that_the_simulation_tells_and_use_processor_time(scenario: Scenario, network: RunState, probe: Probe):
    """Also where results come late: that a machine does not keep up must not change a byte."""
    asked = asks(probe, 4)
    before_s = cpu_by_role(network)
    told, real = simulated(scenario, probe.model, asked), emulated(network, probe.model, asked)
    assert sorted(real) == [ask.seed for ask in asked]
    assert {seed: seen.payload for seed, seen in real.items()} == {seed: seen.payload for seed, seen in told.items()}
    used_s = {role: used - before_s[role] for role, used in cpu_by_role(network).items()}
    assert all(0 < used < 60 for used in used_s.values()), used_s
