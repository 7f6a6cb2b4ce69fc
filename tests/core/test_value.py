import pytest

from netgpt.core.value import value


@value
class Point:
    x: int
    y: int = 0


def test_values_are_keyword_only_compared_and_hashed_by_their_fields() -> None:
    assert Point(x=1) == Point(x=1, y=0) != Point(x=2)
    assert len({Point(x=1), Point(x=1), Point(x=2)}) == 2
    assert repr(Point(x=1)) == "Point(x=1, y=0)"
    with pytest.raises(TypeError):
        Point(1)  # type: ignore[misc]


def test_a_misspelt_field_is_an_error() -> None:
    with pytest.raises(AttributeError):
        Point(x=1).z = 2  # type: ignore[attr-defined]
