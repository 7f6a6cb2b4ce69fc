from netgpt.controller.state import fold
from netgpt.telemetry.events import Event, parse_event


def event(index: int, kind: str, node: str = "", **data: object) -> Event:
    return Event(index=index, at_s=float(index), kind=kind, node=node, data=data)


HISTORY = [
    event(0, "controller.started"),
    event(1, "node.joined", "edge1", tier="edge", engine_address="a:1", door_url="http://a", model="m", state="ready", epoch=1, token="t1"),
    event(2, "request.finished", "edge1"),
    event(3, "node.lost", "edge1", state="lost"),
    event(4, "controller.started"),
    event(5, "node.found", "edge1", state="degraded", model="n"),
]


def test_state_is_a_fold_over_events():
    state = fold(HISTORY)
    assert (state.index, state.starts, state.used_tokens) == (5, 2, {"t1"})
    assert (state.nodes["edge1"].state, state.nodes["edge1"].model, state.nodes["edge1"].epoch) == ("degraded", "n", 1)
    assert fold(HISTORY[:4]).nodes["edge1"].state == "lost"
    assert fold(HISTORY[4:], fold(HISTORY[:4])) == state
    assert not fold([*HISTORY, event(6, "node.left", "edge1")]).nodes


def test_an_event_comes_back_from_its_line():
    for original in HISTORY:
        assert parse_event(original.line()) == original
