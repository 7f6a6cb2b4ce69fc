"""The models suite on models and verdicts that the tests make: every figure is recomputed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from netgpt.bench.models import (
    acceptance_figures,
    accuracy_figures,
    controls_right,
    draw_pictures,
    joint_figures,
    knowledge_figures,
    scaling_figures,
    tables,
    untrained_tally,
)
from netgpt.bench.surface import lead_share
from netgpt.corpus.book import CLASS_SIZES
from netgpt.corpus.draw import held_out_tasks
from netgpt.corpus.families import BY_NAME
from netgpt.corpus.task import Task
from netgpt.learn.evaluate import Verdicts
from netgpt.learn.vocabulary import train_vocabulary
from netgpt.models.decoder import Decoder
from netgpt.models.decoder_config import DecoderConfig
from netgpt.models.tokenizer import BpeTokenizer

SIZES = {"device": 100_000, "edge": 1_000_000, "cloud": 10_000_000}


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    return [task for name in ("book", "explain", "views") for task in held_out_tasks(BY_NAME[name], 60)]


def verdicts(tasks: list[Task], right: float, seed: int) -> Verdicts:
    return np.random.default_rng(seed).random(len(tasks)) < right


def test_joint_outcomes_add_up_and_independent_errors_do_not_correlate(tasks: list[Task]) -> None:
    right = {"device": verdicts(tasks, 0.4, 1), "cloud": verdicts(tasks, 0.9, 2)}
    figures = joint_figures("device", "cloud", tasks, right)
    shares = [figures[f"{name}_device_cloud"] for name in ("both_right", "only_device_right", "only_cloud_right", "neither_right")]
    assert sum(float(share or 0) for share in shares) == pytest.approx(1, abs=1e-3)
    assert figures["only_device_right_device_cloud"] == pytest.approx(np.mean(right["device"] & ~right["cloud"]), abs=1e-4)
    assert abs(float(figures["phi_device_cloud"] or 0)) < 0.3
    same = joint_figures("device", "cloud", tasks, {"device": right["device"], "cloud": right["device"]})
    assert same["phi_device_cloud"] == 1.0


def test_the_surface_tells_a_router_all_or_nothing(tasks: list[Task]) -> None:
    nothing = [lead_share(tasks, verdicts(tasks, 0.5, seed), verdicts(tasks, 0.9, 100 + seed)) for seed in range(6)]
    assert abs(np.mean([share for share in nothing if share is not None])) < 0.12  # one share scatters by about 0.1 on so few tasks
    large = np.array([task.family == "views" for task in tasks])  # the larger model gains in one family alone
    everything = lead_share(tasks, np.zeros(len(tasks), dtype=bool), large)
    assert everything is not None
    assert everything > 0.9
    within = lead_share(tasks, np.zeros(len(tasks), dtype=bool), large, within=lambda task: task.family)
    assert within is None  # inside a family there is nothing to gain


def test_known_facts_weigh_by_how_many_there_are(tasks: list[Task]) -> None:
    right = np.array([task.grade <= 4 for task in tasks])
    known = knowledge_figures(tasks, {"device": right})["facts_known_device"]
    assert known == pytest.approx(sum(CLASS_SIZES[:4]) / sum(CLASS_SIZES), abs=1e-4)


def test_accuracies_stand_beside_the_best_control(tasks: list[Task]) -> None:
    right = {"device": verdicts(tasks, 0.5, 1), "edge": verdicts(tasks, 0.7, 2), "cloud": verdicts(tasks, 0.9, 3)}
    controls = {"majority": verdicts(tasks, 0.1, 4), "nearest": verdicts(tasks, 0.25, 5)}
    figures = accuracy_figures(right, controls, np.ones(len(tasks), dtype=bool))
    assert figures["best_control_name"] == "nearest"
    assert figures["accuracy_solver"] == 1.0
    assert figures["points_edge_cloud"] == pytest.approx(100 * (right["cloud"].mean() - right["edge"].mean()), abs=1e-2)
    assert figures["device_above_best_control"] == pytest.approx(right["device"].mean() / controls["nearest"].mean() - 1, abs=1e-3)
    assert float(figures["accuracy_edge_min"] or 0) < right["edge"].mean() < float(figures["accuracy_edge_max"] or 0)


def test_drafts_of_the_same_model_always_stand(tasks: list[Task]) -> None:
    tokenizer = BpeTokenizer(train_vocabulary(size=400, sample_tasks=300))
    config = DecoderConfig(
        vocab_size=tokenizer.vocabulary, hidden_size=32, intermediate_size=64, num_layers=1, num_heads=2, num_kv_heads=2, head_dim=16,
        max_position=512, rope_theta=10_000.0, norm_eps=1e-6, qk_norm=True, attention_bias=False, tie_embeddings=True,
    )  # fmt: skip
    one, other = Decoder(config, seed=1).eval(), Decoder(config, seed=2).eval()
    with torch.no_grad():
        other.model.embed_tokens.weight.mul_(60)  # sure of itself
    said = [task.answer for task in tasks]
    same = acceptance_figures(one, one, tokenizer, tasks, said)
    assert same["draft_acceptance_device_cloud"] == same["draft_acceptance_greedy_device_cloud"] == 1.0
    different = acceptance_figures(one, other, tokenizer, tasks, said)
    assert 0 < float(different["draft_acceptance_device_cloud"] or 0) < 0.9
    assert untrained_tally(tasks[:20], one, tokenizer).accuracy == 0
    controls = controls_right(tasks[:40], said[:40])
    assert set(controls) == {"majority", "random", "longest_option", "nearest", "ngram", "shuffled"}
    assert controls["shuffled"].mean() < 0.5


def test_pictures_and_scaling_follow_from_the_report(tasks: list[Task], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    folders: dict[str, Path] = {}
    for tier, size in SIZES.items():
        folders[tier] = tmp_path / tier
        folders[tier].mkdir()
        facts = f'{{"non_embedding_parameters": {size}, "validation_loss": {size**-0.1}, "loss_moved_in_last_tenth": 0.005}}'
        (folders[tier] / "training.json").write_text(facts)
    figures = scaling_figures(folders)
    assert figures["power_law_exponent"] == pytest.approx(0.1, abs=1e-3)
    columns = {tier: verdicts(tasks, 0.5, 1) for tier in SIZES}
    found = tables(tasks, columns)
    assert found["family"]["views"]["device"]["tasks"] == 60
    assert sum(cell["cloud"]["tasks"] for cell in found["depth"].values()) == len(tasks)
    paths = draw_pictures({"figures": figures, "tables": found}, tmp_path / "pictures")
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
