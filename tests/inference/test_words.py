"""How often words were met: what is counted, what is left out, and that a fit does not count its own task."""

from __future__ import annotations

import numpy as np
import pytest

from netgpt.inference.words import KNOWN, MOST_MET, MOST_WORDS, SAID, TextWords, Words, fit_words, words_of, words_said


def of(text: str) -> TextWords:
    return words_of((("user", text),))


def read(words: Words, text: str, *, own: int = 0) -> dict[str, float]:
    return dict(zip(KNOWN, words.features([of(text)], own=own)[0], strict=True))


def test_the_rarest_word_and_the_usual_one_tell_how_often_they_were_met() -> None:
    words = fit_words([of("where is Bekal")] * 8 + [of("where is Tonvar")] * 2)
    found = read(words, "Where is TONVAR?")
    assert found["rarest word"] == pytest.approx(np.log(2))
    assert found["usual word"] == pytest.approx((np.log(10) + np.log(10) + np.log(2)) / 3), "whatever the case, each word once"
    assert read(words, "where is Nowhere")["rarest word"] == 0.0, "never met"
    assert found["rarest code"] == pytest.approx(np.log(MOST_MET)), "no code, as if all were met always"


def test_codes_count_apart_from_words_and_numbers_not_at_all() -> None:
    words = fit_words([of("unit K65 at 7")] * 4)
    found = read(words, "unit K65 at 99")
    assert found["rarest code"] == found["usual code"] == pytest.approx(np.log(4))
    assert found["rarest word"] == pytest.approx(np.log(4))
    assert read(words, "99 1 2")["rarest word"] == pytest.approx(np.log(MOST_MET))


def test_lines_at_the_ends_are_read_apart() -> None:
    words = fit_words([of("find Bekal")] * 3)
    found = read(words, "some list\nof Tonvar\nfind Bekal")
    assert (found["rarest word"], found["first line's rarest word"]) == (0.0, 0.0)
    assert found["last line's rarest word"] == pytest.approx(np.log(3))


def test_signs_of_languages_without_spaces_are_words() -> None:
    words = fit_words([of("站点Bekal在哪")] * 5)
    assert read(words, "Bekal在哪里")["rarest word"] == 0.0, "里 was never met"
    assert read(words, "站Bekal")["rarest word"] == pytest.approx(np.log(5))


def test_a_fit_does_not_count_its_own_task() -> None:
    prompts = [of("the Bekal"), of("the Tonvar"), of("the Tonvar")]
    words = fit_words(prompts)
    assert len(words.table) == 4 * 2, "what was met in one prompt alone is not kept"
    assert words.features(prompts, own=1)[:, 0].tolist() == [0.0, 0.0, 0.0], "each name is new, or met in one other"
    assert words.features(prompts)[2, 0] == pytest.approx(np.log(2))
    both = words.features([of("the Tonvar"), of(""), of("the")])
    assert both[0].tolist() == words.features([of("the Tonvar")])[0].tolist(), "rows do not see each other"


def test_nothing_known_and_no_text_are_taken() -> None:
    assert Words().features([of("where is Bekal")])[0, 0] == 0.0
    assert fit_words([]).table == b""
    assert words_of(()).marks == ((),) * 6
    assert np.isfinite(fit_words([of("a b")] * 3).features([of(""), of("\n\n"), words_of(())])).all()


def test_the_table_keeps_the_commonest_words_and_no_letter_of_them() -> None:
    rare = [of(" ".join(f"w{i:05}x" for i in range(start, start + 100))) for start in range(0, MOST_WORDS + 500, 100) for _ in range(2)]
    words = fit_words([*rare, *[of("bekal")] * (MOST_MET + 100)])
    assert len(words.table) == 4 * MOST_WORDS
    assert b"bekal" not in words.table
    assert read(words, "bekal")["rarest word"] == pytest.approx(np.log(MOST_MET))


def test_of_an_answer_the_whole_is_read() -> None:
    met = fit_words([words_said("Bekal:\nK65 K66")] * 4)
    found = dict(zip(SAID, met.features([words_said("bekal\nTonvar, K65")])[0], strict=True))
    assert found["answer's rarest word"] == 0.0
    assert found["answer's usual word"] == pytest.approx(np.log(4) / 2)
    assert found["answer's rarest code"] == found["answer's usual code"] == pytest.approx(np.log(4))
