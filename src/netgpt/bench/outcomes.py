"""What some models said to the same tasks: who was right, and how sure each was. What policies are fitted to and judged on.

From a recording of any models (`netgpt record`), or from the models that are installed, asked in this process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from netgpt.core.errors import UsageError
from netgpt.corpus.draw import held_out_tasks, judged_tasks, read_mix
from netgpt.corpus.families import FAMILIES
from netgpt.corpus.task import GRADES, Task
from netgpt.inference.confidence import Calibration, Evidence, spoken
from netgpt.inference.escalation import sure_tokens
from netgpt.inference.surface import surface_of
from netgpt.inference.words import TextWords, Words, words_of, words_said
from netgpt.models.recording import Recorded, Recording
from netgpt.models.store import find_model, read_card, search_path

if TYPE_CHECKING:
    from netgpt.learn.decode import Reply
    from netgpt.models.decoder import Decoder
    from netgpt.models.tokenizer import Tokenizer

TIERS = ("device", "edge", "cloud")
CALIBRATION_SEED, CALIBRATION_A_GRADE = 7, 240
SAMPLE_TEMPERATURE = 0.7  # of answers that are drawn to see whether they agree, as in arXiv 2203.11171

Verdicts = NDArray[np.bool_]


def short_name(model: str) -> str:
    """Of a shipped model its tier; any other's own name."""
    return model.removeprefix("netgpt-")


@dataclass(frozen=True, kw_only=True)
class Continued:
    """What a larger model made of the smallest one's sure beginnings (`escalation.sure_tokens`), beside what it says anew. Shapes (N,)."""

    right: Verdicts
    made: NDArray[np.int64]  # tokens that it decoded
    anew: NDArray[np.int64]  # and that its own answer has

    def only(self, places: NDArray[np.bool_] | NDArray[np.int64]) -> Continued:
        return Continued(right=self.right[places], made=self.made[places], anew=self.anew[places])


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """The answers of `models`, the smallest first, to N tasks."""

    models: tuple[str, ...]
    families: tuple[str, ...]  # of each task
    messages: tuple[tuple[tuple[str, str], ...], ...]
    right: dict[str, Verdicts]  # by model, shape (N,)
    texts: dict[str, tuple[str, ...]]
    evidence: dict[str, tuple[Evidence, ...]]
    prompt_tokens: NDArray[np.int64]  # shape (N,), as the smallest model counts
    surface: NDArray[np.float64]  # shape (N, len(SURFACE)), of the conversations
    words: tuple[TextWords, ...]  # of each prompt
    said: dict[str, tuple[TextWords, ...]]  # by model but the largest, of each answer
    states: NDArray[np.float64]  # shape (N, S), the smallest model's, of prompt and answer (`Embed`); S is 0 where they are not known
    truth: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0)))  # shape (N, T), `truth_of` each task; T is 0 where it is not known
    continued: dict[str, Continued] = field(default_factory=dict)  # by larger model, going on after what the smallest was sure of
    samples: tuple[tuple[str, ...], ...] = ()  # of each task, what the smallest model said when its answer was drawn; () where nobody drew

    def __len__(self) -> int:
        return len(self.families)

    def agree(self, one: str, other: str) -> Verdicts:
        """Where two models said the same, word for word."""
        return np.array([a.strip() == b.strip() for a, b in zip(self.texts[one], self.texts[other], strict=True)], dtype=np.bool_)

    def only(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Outcomes:
        """Of some tasks: a mask, or their places."""
        places = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        return Outcomes(
            models=self.models,
            families=tuple(self.families[i] for i in places),
            messages=tuple(self.messages[i] for i in places),
            right={model: verdicts[places] for model, verdicts in self.right.items()},
            texts={model: tuple(said[i] for i in places) for model, said in self.texts.items()},
            evidence={model: tuple(one[i] for i in places) for model, one in self.evidence.items()},
            prompt_tokens=self.prompt_tokens[places],
            surface=self.surface[places],
            words=tuple(self.words[i] for i in places),
            said={model: tuple(words[i] for i in places) for model, words in self.said.items()},
            states=self.states[places],
            truth=self.truth[places] if self.truth.shape[1] else self.truth,
            continued={model: one.only(chosen) for model, one in self.continued.items()},
            samples=tuple(self.samples[i] for i in places) if self.samples else (),
        )

    def beside(self, model: str, words: Words, said: Words, *, own: int = 0) -> NDArray[np.float64]:
        """`Scene.features` of each of the model's answers: a larger model's states stay on its node.

        Args:
            words, said: those met in the tasks that a fit knows, and in the model's answers to them.
            own: 1 where these tasks are themselves among them: what the fit itself reads.
        """
        told = said.features(self.said[model], own=own)
        return np.concatenate((*self._texts(words, own), told, *([self.states] if model == self.models[0] else [])), axis=1)

    def expected(self, calibration: Calibration) -> dict[str, NDArray[np.float64]]:
        """`Calibration.expected` of each answer of its model, shape (N,) by model: what it would say here at a door."""
        features_NF = np.array([one.features() for one in self.evidence[calibration.model]])
        return calibration.expected(features_NF, self.beside(calibration.model, calibration.words, calibration.said))

    def prompts(self, words: Words, *, own: int = 0) -> NDArray[np.float64]:
        """What a router reads of each prompt: surface, how usual its words are, and the smallest model's state. Args: as `beside`."""
        return np.concatenate((*self._texts(words, own), self.states[:, : self.states.shape[1] // 2]), axis=1)

    def _texts(self, words: Words, own: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return self.surface, words.features(self.words, own=own)


def recorded_outcomes(recording: Recording, models: Sequence[str]) -> Outcomes:
    """Of the tasks that all of `models`, names of `recording.models()`, answered and that were graded.

    Args:
        models: the smallest first.

    Raises:
        UsageError: a model is not in the recording, fewer than two are named, no task is common, or no log-probabilities were recorded.
    """
    if len(models) < 2:
        raise UsageError("one model leaves nothing to choose", hint="name two or more, the smallest first: --models SMALL LARGE", param="models")
    rows = {model: {row.task_id: row for row in recording.of_model(model)} for model in models}
    common = [task for task in rows[models[0]] if all(task in of and of[task].correct is not None for of in rows.values())]
    if not common:
        raise UsageError(f"{recording.path!r} has no graded task that all of {', '.join(models)} answered", hint="record them on one task file")
    first = [rows[models[0]][task] for task in common]
    return Outcomes(
        models=tuple(models),
        families=tuple(row.family for row in first),
        messages=tuple(row.messages for row in first),
        right={model: np.array([bool(rows[model][task].correct) for task in common]) for model in models},
        texts={model: tuple(rows[model][task].answer for task in common) for model in models},
        evidence={model: tuple(_recorded_evidence(rows[model][task]) for task in common) for model in models[:-1]},
        prompt_tokens=np.array([row.prompt_tokens or sum(len(content) for _, content in row.messages) // 4 for row in first]),
        surface=np.array([surface_of(row.messages) for row in first]),
        words=tuple(words_of(row.messages) for row in first),
        said={model: tuple(words_said(rows[model][task].answer) for task in common) for model in models[:-1]},
        states=np.zeros((len(common), 0)),
    )


def _recorded_evidence(row: Recorded) -> Evidence:
    if row.logprobs is None or row.top_logprobs is None or row.top_tokens is None:
        hint = "record with --top-logprobs 2 or more, from an upstream that gives them"
        raise UsageError(f"the recording has no log-probabilities of {row.model!r}", hint=hint)
    runners_up: list[float] = []
    for said, tokens, logprobs in zip(row.tokens, row.top_tokens, row.top_logprobs, strict=True):
        runners_up.append(max((value for token, value in zip(tokens, logprobs, strict=True) if token != said), default=-np.inf))
    return Evidence(logprobs=tuple(row.logprobs), runners_up=tuple(runners_up))


def calibration_tasks(a_grade: int = CALIBRATION_A_GRADE) -> list[Task]:
    """Held-out tasks that are not among the judged ones: what shipped policies are fitted on."""
    judged = {task.id for task in judged_tasks()}
    share = read_mix().share
    drawn = [task for family in FAMILIES if share.get(family.name) for task in held_out_tasks(family, a_grade * len(GRADES), CALIBRATION_SEED)]
    return [task for task in drawn if task.id not in judged]


def truth_of(task: Task) -> NDArray[np.float64]:
    """What the corpus knows of a task and no policy may: family, grade, language, and the wanted answer's characters, parts and figures."""
    signs = sum(task.answer.count(sign) for sign in ",>=")
    return np.array([
        *(task.family == family.name for family in FAMILIES),
        task.grade,
        task.language != "en",
        len(task.answer),
        signs,
        sum(map(str.isdigit, task.answer)),
    ], dtype=np.float64)  # fmt: skip


def installed_costs() -> dict[str, float]:
    """Of a call of each installed tier's model: its share of the largest one's parameters."""
    cards = [read_card(find_model(f"netgpt-{tier}", search_path(None))) for tier in TIERS]
    return {card.id: card.parameters / cards[-1].parameters for card in cards}


def installed_outcomes(
    tasks: Sequence[Task], *, samples: int = 0, continues: bool = False, say: Callable[[str], None] = lambda text: None
) -> Outcomes:
    """The installed device, edge and cloud models' answers, greedily decoded in this process: some 50 tasks a second on two cores.

    Args:
        samples: answers of the smallest model to draw besides, for each task, at `SAMPLE_TEMPERATURE`.
        continues: whether the larger models also go on after what the smallest was sure of.

    Raises:
        ModelNotFound: a tier's model is not installed.
    """
    from netgpt.learn.evaluate import draw_replies, grade, reply_text, reply_to_tasks  # loads torch
    from netgpt.models.checkpoint import load_model
    from netgpt.models.tokenizer import BpeTokenizer, render_chat

    models = tuple(f"netgpt-{tier}" for tier in TIERS)
    tokenizer = BpeTokenizer.load(find_model(models[0], search_path(None)))
    right: dict[str, Verdicts] = {}
    texts: dict[str, tuple[str, ...]] = {}
    evidence: dict[str, tuple[Evidence, ...]] = {}
    states = np.zeros((len(tasks), 0))
    drawn: list[list[str]] = []
    continued: dict[str, Continued] = {}
    begun: list[Reply] = []
    for model in models:
        decoder = load_model(find_model(model, search_path(None)), "float32")
        replies = reply_to_tasks(decoder, tokenizer, tasks)
        if model == models[0]:
            prompts = [render_chat(tokenizer, task.messages) for task in tasks]
            states = states_of(decoder, prompts, [spoken(reply.ids, tokenizer.stop_ids) for reply in replies])
            drawn = [draw_replies(decoder, tokenizer, tasks, replies, SAMPLE_TEMPERATURE, seed) for seed in range(samples)]
            begun = replies
        elif continues:
            continued[model] = continued_by(decoder, tokenizer, tasks, begun, replies)
        texts[model] = tuple(reply_text(tokenizer, reply) for reply in replies)
        right[model] = grade(tasks, texts[model])
        evidence[model] = tuple(Evidence(logprobs=reply.logprobs, runners_up=reply.runners_up) for reply in replies)
        say(f"{model}: {right[model].mean():.1%} of {len(tasks)} tasks right")
    return Outcomes(
        models=models,
        families=tuple(task.family for task in tasks),
        messages=tuple(task.messages for task in tasks),
        right=right,
        texts=texts,
        evidence=evidence,
        prompt_tokens=np.array([len(render_chat(tokenizer, task.messages)) for task in tasks]),
        surface=np.array([surface_of(task.messages) for task in tasks]),
        words=tuple(words_of(task.messages) for task in tasks),
        said={model: tuple(map(words_said, texts[model])) for model in models[:-1]},
        states=states,
        truth=np.array([truth_of(task) for task in tasks]),
        continued=continued,
        samples=tuple(zip(*drawn, strict=True)),
    )


def continued_by(decoder: Decoder, tokenizer: Tokenizer, tasks: Sequence[Task], begun: Sequence[Reply], anew: Sequence[Reply]) -> Continued:
    """What a larger model makes of the sure beginnings of a smaller one's replies. `anew`: its own replies."""
    from netgpt.learn.evaluate import go_on, grade  # loads torch

    kept = [reply.ids[: sure_tokens(Evidence(logprobs=reply.logprobs, runners_up=reply.runners_up))] for reply in begun]
    replies = go_on(decoder, tokenizer, tasks, kept, [reply.ids for reply in anew])
    texts = [tokenizer.decode((*sure, *reply.ids)).decode("utf-8", errors="replace") for sure, reply in zip(kept, replies, strict=True)]
    made, whole = (np.array([len(reply.ids) for reply in each]) for each in (replies, anew))
    return Continued(right=grade(tasks, texts), made=made, anew=whole)


def states_of(decoder: Decoder, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """What `Embed` gives of each prompt and answer: shape (N, 4 D)."""
    import torch
    from torch.nn import functional as F

    rows: list[NDArray[np.float64]] = []
    with torch.inference_mode():
        for prompt, answer in zip(prompts, answers, strict=True):
            states_TD = decoder.model(torch.tensor([[*prompt, *answer]]))[0].double()
            parts = (states_TD[: len(prompt)], states_TD[len(prompt) :])
            rows.append(torch.cat([F.normalize(one, dim=0) for part in parts for one in (part.mean(0), part[-1])]).numpy())
    return np.array(rows)
