import io
import json

import pytest

from netgpt.telemetry.log import Log


class Noon:
    """A clock that stands still."""

    def now_s(self) -> float:
        return 0.0

    def date_s(self) -> float:
        return 43200.0

    async def sleep(self, duration_s: float) -> None: ...


def test_a_plain_line_and_a_json_line_say_the_same() -> None:
    plain, structured = io.StringIO(), io.StringIO()
    Log(plain, Noon(), source="edge1").warning("engine.lost", node="cloud1", silent_s=0.8)
    Log(structured, Noon(), source="edge1", form="json").warning("engine.lost", node="cloud1", silent_s=0.8)
    assert plain.getvalue() == '1970-01-01T12:00:00.000+00:00 WARNING edge1 engine.lost node="cloud1" silent_s=0.8\n'
    assert json.loads(structured.getvalue()) == {
        "at": "1970-01-01T12:00:00.000+00:00",
        "level": "warning",
        "source": "edge1",
        "fact": "engine.lost",
        "node": "cloud1",
        "silent_s": 0.8,
    }


def test_a_fact_is_one_line() -> None:
    stream = io.StringIO()
    log = Log(stream, Noon(), source="edge1")
    log.info("started\nERROR forged", path="a\nb")
    log.error("stopped")
    assert stream.getvalue().count("\n") == 2


def test_content_is_refused() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError, match="prompt"):
        Log(stream, Noon(), source="edge1").info("asked", prompt="canary")
    assert stream.getvalue() == ""
