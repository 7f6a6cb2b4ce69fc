"""`netgpt bench` finds its suites and refuses others."""

from __future__ import annotations

import importlib

import pytest

from netgpt.cli.bench import SUITES
from netgpt.cli.main import main


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_is_a_module_that_runs(suite: str) -> None:
    assert callable(importlib.import_module(SUITES[suite][0]).run)


def test_an_unknown_suite_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "engines"]) == 2
    assert "engine" in capsys.readouterr().err
