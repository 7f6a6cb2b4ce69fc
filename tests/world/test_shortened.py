"""A shortened prompt in a network of real processes: read by the device's engine, asked of the cloud's, and nowhere else."""

from __future__ import annotations

from ..conftest import RunningNetwork  # noqa: TID252 - the network that all share
from .test_content_stays import ask, files_with

NOTES = "\n".join(f"Note {number}: the unit {number} was looked at and found well." for number in range(30))
QUESTION = f"Read this.\n{NOTES}\nWhat of unit 7?"


def test_the_cloud_gets_what_is_left_and_the_reply_says_what_went(network: RunningNetwork) -> None:
    whole = ask(network, "netgpt-cloud", QUESTION)
    short = ask(network, "netgpt-cloud", QUESTION, compress=True)
    assert "compress" not in whole["netgpt"]
    told = short["netgpt"]["compress"]
    assert (told["fidelity"], told["by"], told["rate"]) == ("compressed", "self-information", 0.5)
    assert told["prompt_tokens"] == whole["usage"]["prompt_tokens"]
    assert told["prompt_tokens"] - told["left_out_tokens"] == short["usage"]["prompt_tokens"]
    assert 0.5 * told["prompt_tokens"] <= short["usage"]["prompt_tokens"] < 0.7 * told["prompt_tokens"]
    sent = {name: reply["netgpt"]["link_bytes"]["cloud1"]["sent"] for name, reply in (("whole", whole), ("short", short))}
    assert sent["short"] < 0.8 * sent["whole"]
    assert set(short["netgpt"]["link_bytes"]) == {"device1", "cloud1"}


def test_what_may_not_leave_the_device_is_shortened_on_it(network: RunningNetwork) -> None:
    canary = "xyzzyshortplugh"
    reply = ask(network, "auto", f"{canary}.\n{QUESTION}", compress="always", privacy="device-only")
    assert reply["netgpt"]["compress"]["fidelity"] == "compressed"
    assert reply["netgpt"]["plan"]["chosen"]["fidelity"] == "compressed"
    assert set(reply["netgpt"]["link_bytes"]) == {"device1"}
    assert files_with(network, canary.encode()) == []


def test_a_plan_shows_both_and_an_unknown_wish_names_the_nearest(network: RunningNetwork) -> None:
    plan = network.run("netgpt", "plan", QUESTION, "--compress", "auto")
    assert plan.returncode == 0, plan.stderr
    assert "PROMPT" in plan.stdout
    assert "VARIANT" in plan.stdout
    assert "compressed," in plan.stdout
    assert "whole," in plan.stdout
    wrong = network.run("netgpt", "plan", QUESTION, "--compress", "allways")
    assert wrong.returncode == 2
    assert "always" in wrong.stderr
