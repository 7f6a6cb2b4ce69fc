"""`netgpt keys` as a user runs it, and what the other commands do with keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from netgpt.api.key_file import KeyStore, local_key
from netgpt.cli.door_client import find_key
from netgpt.cli.main import main
from netgpt.core.clock import WallClock
from netgpt.core.errors import UsageError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NETGPT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_new_key_is_alone_on_stdout_and_never_shown_again(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "--name", "laptop", "--scope", "use", "--scope", "view", "--rate-per-minute", "60", "--expires", "30d"]) == 0
    said = capsys.readouterr()
    secret = said.out.strip()
    assert secret.startswith("ngpt_")
    assert len(said.out.splitlines()) == 1
    assert "shown this once" in said.err
    assert "answer nobody without a key" in said.err
    assert main(["keys", "list", "--json"]) == 0
    shown = capsys.readouterr().out
    [row] = json.loads(shown)
    assert (row["name"], row["scopes"], row["rate_per_minute"], row["concurrency"], row["state"]) == ("laptop", ["use", "view"], 60, None, "valid")
    assert row["expires_s"] - row["created_s"] == pytest.approx(30 * 86400)
    assert row["last4"] == secret[-4:]
    assert main(["keys", "list"]) == 0
    table = capsys.readouterr().out
    assert row["id"] in table
    assert secret not in shown + table
    assert "digest" not in shown


def test_json_holds_the_key_and_what_it_may(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "create", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["key"].startswith("ngpt_")
    assert made["scopes"] == ["use"]


def test_a_key_is_revoked_by_its_id(capsys: pytest.CaptureFixture[str]) -> None:
    main(["keys", "create"])
    capsys.readouterr()
    main(["keys", "list", "--json"])
    [row] = json.loads(capsys.readouterr().out)
    assert main(["keys", "revoke", row["id"]]) == 0
    capsys.readouterr()
    main(["keys", "list", "--json"])
    assert json.loads(capsys.readouterr().out)[0]["state"] == "revoked"
    assert main(["keys", "revoke", "key_00000000"]) == UsageError.exit_code
    assert f"known: {row['id']}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["keys", "revoke"], "which key"),
        (["keys", "list", "--name", "x"], "takes no 'name'"),
        (["keys", "create", "key_1"], "takes no 'id'"),
        (["keys", "create", "--expires", "soon"], "30d"),
        (["keys", "create", "--rate-per-minute", "0"], "rate_per_minute is 0"),
        (["keys", "create", "--scope", "root"], "root"),
    ],
)
def test_what_cannot_be_is_refused_with_the_next_step(arguments: list[str], words: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == UsageError.exit_code
    assert words in capsys.readouterr().err
    assert not home.exists()


def test_an_empty_list_says_what_that_means(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "list"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "netgpt keys create" in said.err


def test_a_command_shows_the_homes_own_key_to_its_own_network_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_key(home, url=None) == ""
    KeyStore(home, WallClock()).renew_local()
    assert find_key(home, url=None) == local_key(home) != ""
    assert find_key(home, url="http://elsewhere:8080") == ""
    monkeypatch.setenv("NETGPT_API_KEY", "ngpt_given")
    assert find_key(home, url="http://elsewhere:8080") == find_key(home, url=None) == "ngpt_given"


def test_a_key_in_the_environment_is_not_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("NETGPT_API_KEY", "ngpt_canary")
    assert main(["config", "show", "--json"]) == 0
    assert {row["name"]: row["value"] for row in json.loads(capsys.readouterr().out)}["api_key"] == "(set)"
    monkeypatch.setenv("NETGPT_API_KEY", "ngpt_canarÿ")
    assert main(["config", "show"]) == UsageError.exit_code
    assert "canar" not in capsys.readouterr().err


def test_up_serves_other_machines_only_with_a_key(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["up", "--host", "0.0.0.0", "--engine", "hash", "--port", "0"]) == UsageError.exit_code
    said = capsys.readouterr().err
    assert "'0.0.0.0' is reachable from other machines" in said
    assert "next: make a key first: netgpt keys create" in said
    assert not (home / "run").exists()
