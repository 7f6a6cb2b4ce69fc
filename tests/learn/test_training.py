"""The optimiser loop on a micro model: it learns, stops, and goes on to the identical result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from netgpt.core.chance import SeededChance
from netgpt.core.clock import WallClock
from netgpt.core.errors import ModelInvalid, UsageError
from netgpt.corpus.draw import held_out_tasks, judged_tasks
from netgpt.corpus.families import BY_NAME, FAMILIES
from netgpt.learn.curve import Point, draw_curve, read_curve
from netgpt.learn.decode import drawn_replies, greedy_replies
from netgpt.learn.evaluate import REPLY_TOKENS, answer_tasks, grade, score_table, tally
from netgpt.learn.packing import encode_conversation, pack, training_batch
from netgpt.learn.publish import last_tenth, publish, write_readme
from netgpt.learn.recipe import DEVICE, RECIPES, Recipe, Shape, recipe_named, share_at
from netgpt.learn.scaling import fit_power_law
from netgpt.learn.train import Cadence, Outcome, train
from netgpt.learn.vocabulary import train_vocabulary
from netgpt.models.card import ModelCard
from netgpt.models.checkpoint import load_model
from netgpt.models.decoder import Decoder
from netgpt.models.tokenizer import BpeTokenizer, render_chat

MICRO = Recipe(
    name="micro",
    tier="device",
    shape=Shape(hidden_size=32, intermediate_size=64, num_layers=2, num_heads=2, head_dim=16),
    steps=8,
    peak_rate=1e-2,
    rows=4,
    row_tokens=192,
)
CADENCE = Cadence(report_steps=2, checkpoint_steps=3)


@pytest.fixture(scope="module")
def definition() -> str:
    return train_vocabulary(size=600, sample_tasks=1500)


@pytest.fixture(scope="module")
def tokenizer(definition: str) -> BpeTokenizer:
    return BpeTokenizer(definition)


def run(folder: Path, tokenizer: BpeTokenizer, *, recipe: Recipe = MICRO, resume: bool = False, stop: Callable[[], bool] = lambda: False) -> Outcome:
    return train(recipe, tokenizer, folder, clock=WallClock(), resume=resume, cadence=CADENCE, stop=stop)


def after(steps: int) -> Callable[[], bool]:
    """A stop that is asked for after so many steps."""
    calls = iter(range(1, 10**6))
    return lambda: next(calls) >= steps


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, tokenizer: BpeTokenizer) -> tuple[Path, Outcome]:
    folder = tmp_path_factory.mktemp("whole")
    return folder, run(folder, tokenizer)


def test_the_loss_falls(whole: tuple[Path, Outcome]) -> None:
    folder, outcome = whole
    points = read_curve(folder / "curve.csv")
    assert outcome.finished
    assert [point.step for point in points] == [2, 4, 6, 8]
    assert points[-1].validation_loss < points[0].validation_loss < np.log(600) + 0.2


@pytest.mark.parametrize("stopped_after", [3, 5])
def test_a_stopped_run_resumes_to_the_identical_weights(
    stopped_after: int, tmp_path: Path, tokenizer: BpeTokenizer, whole: tuple[Path, Outcome]
) -> None:
    stopped = run(tmp_path, tokenizer, stop=after(stopped_after))
    assert (stopped.finished, stopped.step) == (False, stopped_after)
    resumed = run(tmp_path, tokenizer, resume=True)
    assert resumed.finished
    expected = whole[1].model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in resumed.model.state_dict().items())
    assert [point.step for point in read_curve(tmp_path / "curve.csv")] == [2, 4, 6, 8]
    assert read_curve(tmp_path / "curve.csv")[-1].validation_loss == read_curve(whole[0] / "curve.csv")[-1].validation_loss


def test_a_checkpoint_of_another_recipe_is_not_resumed(tmp_path: Path, tokenizer: BpeTokenizer) -> None:
    run(tmp_path, tokenizer, stop=after(1))
    with pytest.raises(UsageError, match="another recipe"):
        run(tmp_path, tokenizer, recipe=replace(MICRO, seed=1), resume=True)


def test_a_damaged_checkpoint_is_named(tmp_path: Path, tokenizer: BpeTokenizer) -> None:
    run(tmp_path, tokenizer, stop=after(1))
    (tmp_path / "checkpoints" / "step-0000001" / "optimizer.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelInvalid, match="step-0000001"):
        run(tmp_path, tokenizer, resume=True)


def test_checkpoints_hold_no_pickle_and_only_the_newest_are_kept(whole: tuple[Path, Outcome]) -> None:
    found = sorted(path.relative_to(whole[0]).as_posix() for path in (whole[0] / "checkpoints").rglob("*") if path.is_file())
    files = ("model.safetensors", "optimizer.safetensors", "progress.json")
    assert found == [f"checkpoints/step-{step:07d}/{name}" for step in (6, 8) for name in files]


def test_a_batch_is_a_function_of_seed_and_step(tokenizer: BpeTokenizer) -> None:
    def batch(step: int) -> list[list[int]]:
        return training_batch(tokenizer, 3, step, rows=4, row_tokens=192).ids_BT.tolist()

    assert batch(1) == batch(1)
    assert batch(1) != batch(2)


def test_only_answers_weigh_and_every_answer_ends(tokenizer: BpeTokenizer) -> None:
    for family in FAMILIES:
        task = held_out_tasks(family, 1)[0]
        encoded = encode_conversation(tokenizer, task, "Answer briefly.")
        answer = [token for token, weight in zip(encoded.ids, encoded.weights, strict=True) if weight]
        assert tokenizer.decode(answer).decode() == task.answer
        assert answer[-1] == tokenizer.end_id


def test_every_judged_answer_fits_in_a_reply() -> None:
    shipped = BpeTokenizer.load(Path(__file__).parents[2] / "weights" / "netgpt-cloud")
    assert max(len(shipped.encode(task.answer)) for task in judged_tasks()) < REPLY_TOKENS


def test_packing_keeps_conversations_whole_and_pads_with_weight_zero(tokenizer: BpeTokenizer) -> None:
    encoded = [encode_conversation(tokenizer, task) for family in FAMILIES for task in held_out_tasks(family, 3)]
    batch = pack(encoded, rows=len(encoded), row_tokens=300, pad_id=0)
    assert batch.weights_BT.sum() == sum(sum(conversation.weights) for conversation in encoded)
    assert (batch.targets_BT[batch.weights_BT > 0] != 0).all()
    assert {tuple(row[:5]) for row in batch.ids_BT if row[0]} <= {tuple(conversation.ids[:5]) for conversation in encoded}
    longest = max(len(conversation.ids) for conversation in encoded)
    assert pack(encoded, rows=2, row_tokens=longest - 2, pad_id=0).ids_BT.shape == (2, longest - 2)  # the longest is left out


def test_a_budget_may_change_on_the_plateau(tmp_path: Path, tokenizer: BpeTokenizer) -> None:
    run(tmp_path, tokenizer, stop=after(2))
    outcome = run(tmp_path, tokenizer, recipe=replace(MICRO, steps=4), resume=True)
    assert (outcome.step, outcome.finished) == (4, True)


def test_drafts_change_no_reply(whole: tuple[Path, Outcome], tokenizer: BpeTokenizer) -> None:
    model = whole[1].model
    tasks = held_out_tasks(FAMILIES[0], 7)
    prompts = [render_chat(tokenizer, task.messages) for task in tasks]
    replies = greedy_replies(model, prompts, end_id=tokenizer.end_id, limit=12)
    plain = [reply.ids for reply in replies]
    for drafts in (plain, [[*reply[:5], 7, 7] for reply in plain], [[9] * 20] * 7, [[]] * 7):
        drafted = greedy_replies(model, prompts, end_id=tokenizer.end_id, limit=12, drafts=drafts)
        assert [reply.ids for reply in drafted] == plain
        for one, other in zip(drafted, replies, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
            assert one.runners_up == pytest.approx(other.runners_up, abs=1e-4)
            assert all(first >= second for first, second in zip(one.logprobs, one.runners_up, strict=True))


def test_drawn_replies_follow_the_models_law_and_do_not_depend_on_guesses(whole: tuple[Path, Outcome], tokenizer: BpeTokenizer) -> None:
    model = whole[1].model
    prompts = [render_chat(tokenizer, task.messages) for task in held_out_tasks(FAMILIES[0], 3)]

    def drawn(count: int, limit: int, temperature: float, drafts: Sequence[Sequence[int]] = ()) -> list[tuple[int, ...]]:
        chance, asked = SeededChance(3).stream("drawn"), [prompt for prompt in prompts for _ in range(count)]
        made = drawn_replies(model, asked, end_id=tokenizer.end_id, limit=limit, temperature=temperature, chance=chance, drafts=drafts)
        return [reply.ids for reply in made]

    assert drawn(1, 12, 1e-4) == [reply.ids for reply in greedy_replies(model, prompts, end_id=tokenizer.end_id, limit=12)]
    plain = drawn(2, 12, 0.7)
    for drafts in (plain, [[*reply[:4], 7] for reply in plain], [[9] * 20] * 6):
        assert drawn(2, 12, 0.7, drafts) == plain
    with torch.inference_mode():
        law_V = torch.softmax(model(torch.tensor([prompts[0]]))[0, -1].double() / 0.7, -1)
    firsts = [reply[0] for reply in drawn(600, 1, 0.7)[:600]]
    for token in law_V.topk(3).indices.tolist():
        share = float(law_V[token])
        assert firsts.count(token) / 600 == pytest.approx(share, abs=4 * (share * (1 - share) / 600) ** 0.5)


def test_a_published_tokenizer_loads_in_transformers_unchanged(whole: tuple[Path, Outcome], tmp_path: Path, definition: str) -> None:
    transformers = pytest.importorskip("transformers")
    publish(tmp_path, whole[1].model, MICRO, definition, trained_tokens=1)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ours = BpeTokenizer.load(tmp_path)
    messages = [{"role": "user", "content": "What is the delay budget of 5QI 82? 切片"}]
    rendered = theirs.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert theirs(rendered, add_special_tokens=False)["input_ids"] == render_chat(ours, [("user", messages[0]["content"])])
    assert (theirs.eos_token_id, theirs.pad_token_id) == (ours.end_id, ours.special_id("<|pad|>"))


def test_a_curve_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from netgpt.learn.curve import append_point

    for step in (1, 2):
        append_point(
            tmp_path / "c.csv",
            Point(step=step, tokens=step, loss=2.0 / step, validation_loss=2.0, learning_rate=0.1, tokens_per_s=1.0, elapsed_s=1.0),
        )
    assert draw_curve(tmp_path / "c.csv", tmp_path / "c.png", "curve")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


def test_digits_are_single_tokens_and_any_text_survives(tokenizer: BpeTokenizer) -> None:
    assert len(tokenizer.encode("38214")) == 5
    for text in ("n78: 3300-3800 MHz", "网络切片 5QI 82", "é\n\t{}"):
        assert tokenizer.decode(tokenizer.encode(text)).decode() == text


def test_the_rate_rises_holds_and_falls_to_nearly_nothing() -> None:
    shares = [share_at(DEVICE, step) for step in range(DEVICE.steps)]
    assert shares[0] < 0.1
    assert shares[DEVICE.steps // 2] == 1.0 == max(shares)
    assert 0 < shares[-1] < 0.01


def test_each_tier_is_several_times_the_one_below_and_all_fit_the_repository() -> None:
    sizes = [recipe.config(2048).parameters for recipe in RECIPES]
    assert all(larger > 3 * smaller for smaller, larger in pairwise(sizes))
    assert sum(2 * size for size in sizes) < 45 * 2**20
    with pytest.raises(UsageError, match="moon"):
        recipe_named("moon")


def test_long_contexts_come_in_long_rows_of_as_many_tokens(tokenizer: BpeTokenizer) -> None:
    usual, long = (training_batch(tokenizer, 0, step, rows=16, row_tokens=256, long_one_in=4) for step in (0, 3))
    assert usual.ids_BT.shape == (16, 256)
    assert long.ids_BT.shape == (2, 2048)
    assert (usual.ids_BT != 0).mean() > 0.9  # hardly any padding


def test_a_published_model_is_read_back_and_says_the_same(
    whole: tuple[Path, Outcome], tmp_path: Path, definition: str, tokenizer: BpeTokenizer
) -> None:
    folder, curve = tmp_path / "netgpt-micro", read_curve(whole[0] / "curve.csv")
    card = publish(folder, whole[1].model, MICRO, definition, trained_tokens=1, curve=curve)
    tasks = [task for family in FAMILIES[:2] for task in held_out_tasks(family, 3)]
    right = grade(tasks, answer_tasks(whole[1].model, tokenizer, tasks))
    solver = grade(tasks, [BY_NAME[task.family].solve(task) for task in tasks])
    write_readme(folder, MICRO, tasks, right, {"solver": solver})
    assert ModelCard(**json.loads((folder / "card.json").read_text())) == card
    assert card.tokenizer == BpeTokenizer.load(folder).hash
    assert score_table(tasks, {"device": right, "solver": solver}) in (folder / "README.md").read_text()
    assert read_curve(folder / "curve.csv") == curve
    training = json.loads((folder / "training.json").read_text())
    assert training["validation_loss"] == curve[-1].validation_loss
    assert training["loss_moved_in_last_tenth"] == last_tenth(curve) == 1 - curve[-1].validation_loss / curve[-2].validation_loss
    model = load_model(folder, "bfloat16")
    assert isinstance(model, Decoder)
    assert answer_tasks(model, tokenizer, tasks[:2]) == answer_tasks(whole[1].model.to(torch.bfloat16), tokenizer, tasks[:2])


def test_tallies_state_their_share_and_interval() -> None:
    summary = tally([True] * 80 + [False] * 20).summary()
    assert summary["accuracy"] == 0.8
    assert summary["low_95"] < 0.8 < summary["high_95"]
    assert tally([]).accuracy == 0.0


def test_replies_do_not_depend_on_how_prompts_are_batched(whole: tuple[Path, Outcome], tokenizer: BpeTokenizer) -> None:
    tasks = [*held_out_tasks(BY_NAME["logs"], 2, long=True), *held_out_tasks(BY_NAME["terms"], 6)]
    prompts = [render_chat(tokenizer, task.messages) for task in tasks]

    def replies(chosen: list[list[int]]) -> list[tuple[int, ...]]:
        return [reply.ids for reply in greedy_replies(whole[1].model, chosen, end_id=tokenizer.end_id, limit=3)]

    assert replies(prompts) == [replies([prompt])[0] for prompt in prompts]


def test_a_power_law_is_found_again() -> None:
    sizes = [1e5, 1e6, 1e7]
    law = fit_power_law(sizes, [3.0 * size**-0.2 for size in sizes])
    assert law.exponent == pytest.approx(0.2)
    assert law.factor == pytest.approx(3.0)
    assert law.worst_residual < 1e-9


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a C++ compiler")
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore")  # of the compiler about itself; as errors they would end it
def test_compiled_layers_learn_the_same(tmp_path: Path, tokenizer: BpeTokenizer) -> None:
    recipe = replace(MICRO, steps=2, shape=replace(MICRO.shape, num_layers=1))
    losses = []
    for compiled in (False, True):
        folder = tmp_path / str(compiled)
        outcome = train(recipe, tokenizer, folder, clock=WallClock(), compiled=compiled, cadence=CADENCE)
        losses.append(read_curve(folder / "curve.csv")[-1].validation_loss)
        assert set(outcome.model.state_dict()) == set(Decoder(recipe.config(tokenizer.vocabulary)).state_dict())
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
