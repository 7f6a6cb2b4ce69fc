"""The engine bench measures what it says, on a model small enough for a test."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from netgpt.bench.conditions import Stolen, conditions, spread
from netgpt.bench.engine import NEW_TOKENS, measure_batching, measure_decoding, prompts
from netgpt.models.checkpoint import save_model
from netgpt.models.decoder import Decoder
from netgpt.models.decoder_config import DecoderConfig

TINY = DecoderConfig(
    vocab_size=2048, hidden_size=16, intermediate_size=24, num_layers=1, num_heads=2, num_kv_heads=1, head_dim=8, max_position=600, qk_norm=True
)


def test_every_figure_has_a_median_between_its_extremes(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    save_model(tmp_path / "tiny", Decoder(TINY), "float32")
    figures = measure_decoding("device", tmp_path / "tiny", "float32", 2) | measure_batching(tmp_path / "tiny", "float32", 2)
    torch.set_num_threads(threads)
    names = {
        "decode_tokens_per_s_device_float32",
        "transformers_tokens_per_s_device_float32",
        "decode_ratio_device_float32",
        "prefill_tokens_per_s_device_float32",
        "batch16_tokens_per_s_float32",
        "batch16_ratio_float32",
    }
    assert set(figures) == names | {f"{name}_min" for name in names} | {f"{name}_max" for name in names}
    for name in names:
        assert 0 < figures[f"{name}_min"] <= figures[name] <= figures[f"{name}_max"]


def test_spread_rounds_to_four_digits() -> None:
    assert spread("x", [3.0, 1.000049, 20001.0]) == {"x": 3.0, "x_min": 1.0, "x_max": 20000.0}


def test_stolen_time_is_a_share_of_what_was_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter(["cpu  100 0 50 900 7 0 10 20 0 0", "cpu  160 0 60 990 7 0 20 40 0 0"])
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: next(told))
    assert Stolen().share() == 0.2  # 20 of 20 + 80
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "no such thing")
    assert Stolen().share() is None


def test_conditions_name_machine_and_versions() -> None:
    found = conditions(packages=("torch", "no-such-package"), seed=3)
    assert found["torch"] == torch.__version__
    assert found["no-such-package"] is None
    assert found["seed"] == 3
    assert {"time", "commit", "netgpt", "python", "cpu", "cpus", "load_average_1min"} <= set(found)


def test_prompts_are_equal_in_every_run_and_leave_room() -> None:
    assert prompts(2, 5) == prompts(2, 5)
    assert len(prompts(1, 64)[0]) + NEW_TOKENS < 2048
