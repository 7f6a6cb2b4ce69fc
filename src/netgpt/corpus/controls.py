"""Know-nothing controls: what can be scored without understanding, by the same graders.

*majority* says the most frequent training answer to the same form of question; *random* the answer of another
training task of that form; *longest option* takes the longest of the options that a question offers;
*nearest* repeats the answer of the training task with the most similar words; *n-gram* continues the
question with a back-off model of the training conversations. None of them sees a held-out answer.

Sources: stupid back-off, Brants et al., EMNLP 2007; inverse document frequency, Spärck Jones 1972.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from netgpt.core.chance import SeededChance
from netgpt.corpus.draw import training_tasks
from netgpt.corpus.families import BY_NAME
from netgpt.corpus.task import Task, pick

EXAMPLES_A_FAMILY = 2_000  # training tasks of a family that a control may look at
ORDER, REPLY_WORDS = 5, 120
_OPTION = re.compile(r"^(.+) = ([A-D])$", re.MULTILINE)
_PIECE = re.compile(r"\w+|[^\w\s]|\s+")


def form_of(task: Task) -> str:
    """The kind of question: the template's id without its number and language."""
    return re.sub(r"-(en|zh)-\d+$", "", task.template)


def final_answer(task: Task) -> str:
    """What a grader reads where it reads only the end of the worked answer; otherwise the whole answer."""
    final = task.answer.rpartition(": ")[2]
    return final if BY_NAME[task.family].accepts(task, final) else task.answer


def examples(family: str, count: int = EXAMPLES_A_FAMILY, seed: int = 0) -> list[Task]:
    """Training tasks of a family; never a held-out one."""
    return list(islice(training_tasks(SeededChance(seed).stream(f"controls/{family}"), (BY_NAME[family],)), count))


class Majority:
    """The most frequent final answer to the same form of question."""

    def __init__(self, seen: Iterable[Task]) -> None:
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for task in seen:
            counts[form_of(task)][final_answer(task)] += 1
        self._most = {form: counted.most_common(1)[0][0] for form, counted in counts.items()}

    def reply(self, task: Task) -> str:
        return self._most.get(form_of(task), "")


class RandomAnswer:
    """The final answer of another training task of the same form."""

    def __init__(self, seen: Iterable[Task], seed: int = 0) -> None:
        self._chance = SeededChance(seed).stream("random answers")
        self._answers: dict[str, list[str]] = defaultdict(list)
        for task in seen:
            self._answers[form_of(task)].append(final_answer(task))

    def reply(self, task: Task) -> str:
        return pick(self._chance, self._answers.get(form_of(task)) or [""])


class LongestOption:
    """The longest of the options in the question; nothing where it offers none."""

    def reply(self, task: Task) -> str:
        options = _OPTION.findall(task.question)
        return ": ".join(max(options, key=lambda option: len(option[0]))) if options else ""


class Nearest:
    """The answer of the training task whose words are most like the question's (cosine of idf weights)."""

    def __init__(self, seen: Sequence[Task]) -> None:
        self._seen = seen
        bags = [set(_words(task)) for task in seen]
        frequency = Counter(word for bag in bags for word in bag)
        self._column = {word: i for i, word in enumerate(frequency)}
        self._weights_W = np.array([math.log(1 + len(bags) / count) for count in frequency.values()], dtype=np.float32)
        self._seen_SW = np.stack([self._vector(bag) for bag in bags])

    def _vector(self, bag: set[str]) -> NDArray[np.float32]:
        vector_W = np.zeros(len(self._column), dtype=np.float32)
        known = [self._column[word] for word in bag if word in self._column]
        vector_W[known] = self._weights_W[known]
        return vector_W / max(1e-9, float(np.linalg.norm(vector_W)))

    def reply(self, task: Task) -> str:
        return self._seen[int(np.argmax(self._seen_SW @ self._vector(set(_words(task)))))].answer


class NGram:
    """Continues the question, piece by piece, with what most often followed the longest known context."""

    def __init__(self, seen: Iterable[Task]) -> None:
        self._follows: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for task in seen:
            pieces = [*_pieces(task.question), "<answer>", *_pieces(task.answer), "<end>"]
            start = pieces.index("<answer>") + 1
            for i in range(start, len(pieces)):
                for length in range(ORDER):
                    if length <= i:
                        self._follows[tuple(pieces[i - length : i])][pieces[i]] += 1

    def reply(self, task: Task) -> str:
        pieces = [*_pieces(task.question), "<answer>"]
        start = len(pieces)
        while len(pieces) - start < REPLY_WORDS:
            longest = next(length for length in reversed(range(ORDER)) if tuple(pieces[len(pieces) - length :]) in self._follows)
            following = self._follows[tuple(pieces[len(pieces) - longest :])]
            piece = min(following, key=lambda word: (-following[word], word))
            if piece == "<end>":
                break
            pieces.append(piece)
        return "".join(pieces[start:])


def _words(task: Task) -> list[str]:
    return [piece for _, content in task.messages for piece in _PIECE.findall(content) if not piece.isspace()]


def _pieces(text: str) -> list[str]:
    return _PIECE.findall(text)


def control_replies(tasks: Sequence[Task], *, seen_a_family: int = EXAMPLES_A_FAMILY, seed: int = 0) -> dict[str, list[str]]:
    """What each control says to each task, in order: {control: replies}."""
    replies: dict[str, dict[str, str]] = defaultdict(dict)
    by_family: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        by_family[task.family].append(task)
    for family, asked in by_family.items():
        seen = examples(family, seen_a_family, seed)
        controls = {
            "majority": Majority(seen),
            "random": RandomAnswer(seen, seed),
            "longest_option": LongestOption(),
            "nearest": Nearest(seen),
            "ngram": NGram(seen),
        }
        for name, control in controls.items():
            for task in asked:
                replies[name][task.id] = control.reply(task)
    return {name: [said[task.id] for task in tasks] for name, said in replies.items()}
