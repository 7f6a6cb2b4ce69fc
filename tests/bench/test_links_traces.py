"""A shaped link serves what its trace says, in both modes."""

from __future__ import annotations

from pathlib import Path

import pytest

from netgpt.bench import links_traces
from netgpt.bench.links_shaper import modes_permitted
from netgpt.cli.main import main
from netgpt.core.errors import UsageError


def test_what_a_trace_serves_is_what_its_opportunities_allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at_ms = [ms for ms in range(1, 1001) for _ in range(1 + ms % 3) if not 300 <= ms < 450]  # some 20 Mbit/s, and an outage each second
    (tmp_path / "bursts.up").write_text("".join(f"{ms}\n" for ms in at_ms))
    monkeypatch.setattr(links_traces, "GENERATED", ())
    monkeypatch.setattr(links_traces, "QUICK_S", 2.0)
    told: list[str] = []
    figures = links_traces.figures(quick=True, folder=tmp_path, tell=told.append)

    assert len(told) == len(modes_permitted())
    for mode in modes_permitted():
        name = f"shaper_{mode}_bursts.up"
        assert figures[f"{name}_served_share"] == pytest.approx(1, abs=0.05), "two seconds, on a machine that does other things too"
        assert 0 < figures[f"{name}_goodput_mbps"] < 25


def test_a_folder_without_traces_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="no Mahimahi traces"):
        links_traces.traces_of(tmp_path)
    assert main(["bench", "engine", "--traces", str(tmp_path)]) == 2
    assert "takes no traces" in capsys.readouterr().err
