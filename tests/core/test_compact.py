import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netgpt.core.compact import json_writer

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.booleans())
def test_it_writes_what_the_library_writes(value: Any, sort_keys: bool) -> None:
    write = json_writer(sort_keys=sort_keys)
    assert write(value) == write(value) == json.dumps(value, separators=(",", ":"), ensure_ascii=False, sort_keys=sort_keys)


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError):
        json_writer()({"a": object()})
