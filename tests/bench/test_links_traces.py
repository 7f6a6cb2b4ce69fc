"""A shaped link serves what its trace says, in both modes."""

from __future__ import annotations

from pathlib import Path

import pytest

from netgpt.bench import links_traces
from netgpt.bench.links_shaper import modes_permitted
from netgpt.bench.links_traces import Watched
from netgpt.cli.main import main
from netgpt.core.errors import UsageError
from netgpt.network.service import Cursor, Opportunities, RateSteps


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
        if mode == "packet":
            assert 0.5 < figures[f"{name}_backlogged_share"] <= 1


def test_what_a_transmitter_passes_by_with_nothing_queued_is_counted_opportunity_by_opportunity() -> None:
    """Six opportunities at 10 ms, one at 20 ms, none until 100 ms; the trace repeats after that."""
    watched = Watched(Opportunities([10] * 6 + [20, 100]))
    cursor = watched.serve(watched.serve(Cursor(), 0.0, 1500), 0.001, 1500)
    assert (cursor.time_s, watched.missed_bytes(0.5)) == (0.010, 0), "two of the six are used; the others are not known to be missed yet"
    cursor = watched.serve(cursor, 0.015, 1000)
    assert (cursor.time_s, watched.missed_bytes(0.014), watched.missed_bytes(0.015)) == (0.020, 0, 4 * 1500)
    cursor = watched.serve(cursor, 0.016, 500)
    assert watched.missed_bytes(0.5) == 4 * 1500, "what was queued in time shares an opportunity"
    watched.serve(cursor, 0.150, 1500)
    assert watched.missed_bytes(0.5) == (4 + 1 + 6 + 1) * 1500, "the one at 100 ms, and of the next round all but the last"


def test_at_a_rate_what_passes_by_is_the_time_in_which_nothing_was_queued() -> None:
    watched = Watched(RateSteps([0.0, 1.0], [8e6, 0.0], 2.0))
    cursor = watched.serve(Cursor(), 0.0, 250_000)
    assert watched.missed_bytes(9.0) == pytest.approx(0, abs=1e-3)
    cursor = watched.serve(cursor, 0.5, 750_000)
    assert watched.missed_bytes(0.5) == pytest.approx(250_000)
    assert watched.missed_bytes(0.4) == 0
    assert cursor.time_s == pytest.approx(2.25), "through the outage, in which nothing can be missed"
    watched.serve(cursor, 2.25, 1000)
    assert watched.missed_bytes(9.0) == pytest.approx(250_000)


def test_a_folder_without_traces_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="no Mahimahi traces"):
        links_traces.traces_of(tmp_path)
    assert main(["bench", "engine", "--traces", str(tmp_path)]) == 2
    assert "takes no traces" in capsys.readouterr().err
