from hypothesis import given
from hypothesis import strategies as st

from netgpt.inference.text import TextAssembler


@given(st.text(), st.integers(1, 7))
def test_text_survives_any_cutting_of_its_bytes(text: str, size: int):
    data = text.encode("utf-8", "surrogatepass") if text.isascii() else text.encode("utf-8", "replace")
    assembler = TextAssembler()
    shown = "".join(assembler.feed(data[start : start + size]) for start in range(0, len(data), size)) + assembler.finish()
    assert shown == data.decode()


@given(st.text("abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3), st.integers(1, 4))
def test_no_character_of_a_stop_string_is_ever_shown(text: str, stop: list[str], size: int):
    assembler = TextAssembler(stop)
    shown = ""
    for start in range(0, len(text), size):
        shown += assembler.feed(text[start : start + size].encode())
        if assembler.stopped:
            break
    shown += assembler.finish()
    cuts = [text.find(word) for word in stop if word in text]
    if assembler.stopped:
        assert text.startswith(shown)
        assert not any(word in shown for word in stop)
        assert len(shown) >= min(cuts)
    else:
        assert shown == text
        assert not cuts


def test_invalid_bytes_become_the_replacement_character():
    assembler = TextAssembler()
    assert assembler.feed(b"a\xff") + assembler.feed(b"\xe4\xb8") + assembler.finish() == "a\ufffd\ufffd"
