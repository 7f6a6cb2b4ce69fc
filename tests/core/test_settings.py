"""Settings: where a value comes from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from netgpt.core.errors import UsageError
from netgpt.core.settings import BY_NAME, SETTINGS, default_home, resolve_settings


def test_the_later_layer_wins_and_is_named_as_the_origin() -> None:
    scenario = {"agreement": 0.5, "default_node": "edge1"}
    environment = {"NETGPT_AGREEMENT": "0.6", "NETGPT_PORT": "9000"}
    resolved = resolve_settings(environment=environment, flags={"port": "9100", "engine": None, "scenario": None, "detach": True}, scenario=scenario)
    found = {name: (each.value, each.origin) for name, each in resolved.items()}
    assert found["port"] == (9100, "--port")
    assert found["agreement"] == (0.6, "NETGPT_AGREEMENT")
    assert found["default_node"] == ("edge1", "scenario")
    assert found["engine"] == ("torch", "default")
    assert list(resolved) == [setting.name for setting in SETTINGS]


def test_a_scenario_sets_only_what_is_marked_so() -> None:
    assert resolve_settings(environment={}, flags={}, scenario={"port": 1})["port"].origin == "default"


def test_an_unknown_variable_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(UsageError, match="'NETGPT_PROT'") as caught:
        resolve_settings(environment={"NETGPT_PROT": "1"}, flags={})
    assert "did you mean 'NETGPT_PORT'" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "text"),
    [("port", "http"), ("port", "70000"), ("port", "-1"), ("engine", "vllm"), ("dtype", "int8"), ("timing", ""), ("agreement", "2"), ("home", "")],
)
def test_a_wrong_value_is_refused_with_its_place_and_what_it_may_be(name: str, text: str) -> None:
    variable = BY_NAME[name].variable
    with pytest.raises(UsageError, match=f"{variable} is {text!r}") as caught:
        resolve_settings(environment={variable: text}, flags={})
    assert BY_NAME[name].kind in caught.value.hint
    with pytest.raises(UsageError, match=f"--{name} is"):
        resolve_settings(environment={}, flags={name: text})


def test_the_home_follows_the_platform_and_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert default_home({}) == tmp_path / ".local" / "share" / "netgpt"
    assert default_home({"XDG_DATA_HOME": "/data"}) == Path("/data/netgpt")
    assert default_home({"XDG_DATA_HOME": "relative"}) == default_home({}), "the XDG specification has relative paths ignored"
    assert resolve_settings(environment={}, flags={"home": "here"})["home"].value == tmp_path / "here"


def test_every_default_is_a_value_that_its_setting_takes() -> None:
    for setting in SETTINGS:
        if setting.default is not None:
            assert setting.parse(str(setting.default)) == setting.default
        assert setting.help
        assert setting.variable == "NETGPT_" + setting.name.upper()
