import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgpt.core.compact import to_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.booleans())
def test_it_says_what_the_library_says(value: Any, sort_keys: bool) -> None:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=sort_keys)
    written = to_json(value, sort_keys=sort_keys)
    assert json.loads(written) == json.loads(text)
    assert [*written.decode()] == [*text] or any(char in text for char in "e.")  # numbers alone may be spelt otherwise: 1e16 is 1e+16


def test_what_orjson_refuses_is_written_all_the_same() -> None:
    assert to_json({"a": "\ud800", 1: 1 << 70, "b": np.float64(0.5)}) == b'{"a":"?","1":1180591620717411303424,"b":0.5}'


def test_what_is_no_number_is_null() -> None:
    assert to_json([math.nan, math.inf]) == b"[null,null]"


@dataclasses.dataclass
class _Inner:
    secret: str = "not to be sent"


@pytest.mark.parametrize("value", [object(), _Inner()])
def test_what_is_no_json_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        to_json({"a": value})
