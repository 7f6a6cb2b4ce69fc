"""What two questions must have in common to be one: words, in order, but for what is known to make no difference."""

from __future__ import annotations

import pytest

from netgpt.inference.meaning import difference, read_meaning

SAME = [
    ("What is the packet delay budget of 5QI 7?", "Could you please tell me what the packet delay budget of 5QI 7 is?"),
    ("What's the packet delay budget of 5QI 7?", "5QI 7: packet delay budget?"),
    ("Which packet delay budget does 5QI 7 have?", "packet latency budget of 5QI 7, please"),
    ("How many slots are there in 5 ms?", "What is the number of slots in 0.005 seconds?"),
    ("In 20 MHz, how many resource blocks are there?", "How many resource blocks are there in 20MHz?"),
    ("What does carrier aggregation mean?", "Explain carrier aggregation."),
    ("请问 5QI 7 的包时延预算是多少？", "5QI 7 的包延迟预算是什么"),
    ("从网关K1到网关K2的时延是多少？", "请告诉我网关K1到网关K2的时延。"),
    ("什么是载波聚合？", "请解释载波聚合。"),
]

DIFFERENT = [
    ("What is the delay from A to B?", "What is the delay from B to A?", "name"),
    ("从A到B的时延是多少？", "从B到A的时延是多少？", "name"),
    ("Which bands support HARQ?", "Which bands do not support HARQ?", "negation"),
    ("Which bands support HARQ?", "Which bands don't support HARQ?", "negation"),
    ("What changed in release 16.1?", "What changed in release 16.10?", "number"),
    ("Which battery gives 5 mW?", "Which battery gives 5 MW?", "number"),
    ("Is 5 enough?", "Is .5 enough?", "number"),
    ("Is -5 enough?", "Is 5 enough?", "number"),
    ("Which modulation does the uplink use?", "Which modulation does the downlink use?", "direction"),
    ("What happens before paging?", "What happens after paging?", "direction"),
    ("Is A faster than B?", "Is A slower than B?", "compare"),
    ("Is the proxy secure?", "What is the secure proxy?", "asking"),
    ("Must it be encrypted?", "May it be encrypted?", "modal"),
    ("Does the dog chase the cat?", "Does the cat chase the dog?", "words"),
    ("Why is it frozen?", "Why is it thawed?", "words"),
    ("Does IT help?", "Does it help?", "name"),
    ("Which node has edge1?", "Which node does edge1 have?", "tense"),
    ("a[1]", "a(1)", "number"),
    ("上行速率是多少？", "下行速率是多少？", "direction"),
    ("为什么用它？", "为什么不用它？", "negation"),
    ("A支持B吗？", "A不支持B吗？", "negation"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_makes_no_difference_is_none(one: str, other: str) -> None:
    assert difference(read_meaning(one), read_meaning(other)) == ""
    assert read_meaning(one).key == read_meaning(other).key


@pytest.mark.parametrize(("one", "other", "kind"), DIFFERENT)
def test_what_is_not_known_to_make_no_difference_is_one(one: str, other: str, kind: str) -> None:
    first, second = read_meaning(one), read_meaning(other)
    assert difference(first, second) == kind
    assert first.key != second.key


@pytest.mark.parametrize(
    ("text", "now", "here"),
    [
        ("How busy is it right now?", True, False),
        ("What's the latest reading?", True, False),
        ("Where is the nearest charger?", False, True),
        ("Which bands does this cell have?", False, True),
        ("小王今天值班吗？", True, False),
        ("附近有充电桩吗？", False, True),
        ("What is paging?", False, False),
        ("I know nowhere like Therefore", False, False),
        ("什么是寻呼？", False, False),
    ],
)
def test_when_and_where_are_noticed(text: str, now: bool, here: bool) -> None:
    meaning = read_meaning(text)
    assert (meaning.now, meaning.here) == (now, here)


@pytest.mark.parametrize("text", ["", "?", "。", "please", "\u0000", "5" * 3000, "a " * 3000, "½ ﷽ 𝟝 ｆｕｌｌ"])
def test_any_text_is_read(text: str) -> None:
    meaning = read_meaning(text)
    assert difference(meaning, meaning) == ""
