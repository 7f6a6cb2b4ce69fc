"""Hardware profiles, shapes of published models, and the roofline over both."""

from pathlib import Path

import pytest

from netgpt.core.errors import ScenarioInvalid
from netgpt.network.profile import MEASURED_FILE, THIS_MACHINE, find_profile, profile_names, profiles, read_profiles
from netgpt.network.roofline import CONTEXT_TOKENS, PRECISIONS, Declared, declare
from netgpt.network.scenario_file import load_scenario, parse_scenario, shipped_scenarios
from netgpt.network.shape import find_shape, node_shape, read_shapes, shapes, sized_shape

MACHINE = """
class = "box"
usable = 0.5
[[efficiency]]
stack = "own"
basis = "measured"
prefill_wide = 0.5
prefill_packed = 0.25
decode_wide = 0.8
decode_packed = 0.4
layer_overhead_s = 1e-3
step_overhead_s = 2e-3
[[profile]]
id = "box-1"
name = "a box"
flops = { bf16 = 1e12, int8 = 2e12 }
memory_bytes_per_s = 1e10
memory_bytes = 8e9
idle_w = 1
busy_w = 10
source = "made up"
date = "2026-01-01"
"""
MODEL = """
[[model]]
id = "m"
layers = 4
hidden = 64
heads = 8
kv_heads = 2
head_dim = 8
intermediate = 128
vocabulary = 1000
tied = true
context_tokens = 4096
"""
LAYER_WEIGHTS = 4 * (64 * 64 + 2 * 64 * 16 + 64 * 64 + 3 * 64 * 128)  # q, k and v, o, gate and up and down


@pytest.fixture
def box() -> Declared:
    return Declared(profile=read_profiles(MACHINE, "box.toml")[0], shape=read_shapes(MODEL, "m.toml")["m"], precision="bf16")


@pytest.mark.parametrize("shape", shapes().values(), ids=lambda shape: shape.id)
def test_a_shape_has_the_published_count_of_parameters(shape):
    assert shape.weights == pytest.approx(shape.parameters, rel=0.02)
    assert shape.licence
    assert shape.source


def test_shapes_span_half_a_billion_to_seventy():
    sizes = [shape.weights for shape in shapes().values()]
    assert sizes == sorted(sizes)
    assert len([size for size in sizes if 0.4e9 < size < 75e9]) >= 20


def test_a_size_alone_gets_the_nearest_shape_scaled():
    shape = sized_shape(3e9)
    assert shape.weights == pytest.approx(3e9)
    assert shape.layers in {one.layers for one in shapes().values()}
    assert node_shape("", 0) is None


def test_a_prompt_is_arithmetic_with_a_quadratic_term(box: Declared):
    tokens = 3000
    operations = 2 * LAYER_WEIGHTS * tokens + 2 * 64 * 1000 + 4 * 4 * 64 * tokens * (tokens + 1) / 2
    assert box.prefill_s(tokens) == pytest.approx(2e-3 + 4e-3 + operations / 0.5e12)
    assert box.prefill_s(0) == 0
    whole, parts = box.prefill_s(3000), box.prefill_s(1000) + box.prefill_s(2000, past=1000)
    assert parts - whole == pytest.approx(6e-3 + 2 * 64 * 1000 / 0.5e12, rel=1e-6)  # one step's overhead and output matrix more


def test_a_prompt_in_steps_pays_each_of_them_and_its_call_once(box: Declared):
    text = MACHINE.replace('basis = "measured"', 'basis = "measured"\nscore_bytes = 16\ncall_overhead_s = 5e-3\nstep_tokens = 128')
    stepwise = Declared(profile=read_profiles(text, "box.toml")[0], shape=box.shape, precision="bf16")
    overhead_s, head = 6e-3, 2 * 64 * 1000

    def rows_s(rows: int, pairs: float) -> float:
        scores = 4 * 8 * pairs
        return (2 * LAYER_WEIGHTS * rows + 4 * 8 * scores) / 0.5e12 + 16 * scores / 8e9

    assert stepwise.prefill_s(100) == pytest.approx(5e-3 + overhead_s + rows_s(100, 100 * 101 / 2) + head / 0.5e12)
    later = rows_s(128, 128 * 256) + rows_s(44, 44 * 300)
    assert stepwise.prefill_s(300) == pytest.approx(5e-3 + 3 * overhead_s + rows_s(128, 128 * 129 / 2) + later + head / 0.5e12)
    assert stepwise.prefill_s(128, past=256) == pytest.approx(5e-3 + overhead_s + rows_s(128, 128 * 384) + head / 0.5e12)
    assert stepwise.decode_s([0]) == box.decode_s([0]), "no call brings a decoding step"


def test_a_decoding_step_reads_weights_once_and_kv_of_every_session(box: Declared):
    weight_bytes, kv_bytes = 2 * (LAYER_WEIGHTS + 64_000), 2 * 2 * 4 * 16
    assert box.decode_s([0]) == pytest.approx(6e-3 + weight_bytes / 8e9)
    assert box.decode_s([1000] * 8) == pytest.approx(6e-3 + (weight_bytes + 8000 * kv_bytes) / 8e9)
    assert box.decode_s([1000] * 8) < 8 * box.decode_s([1000])


def test_packed_weights_are_fewer_bytes_at_their_own_share(box: Declared):
    packed = Declared(profile=box.profile, shape=box.shape, precision="int4")
    assert packed.weight_bytes == pytest.approx((LAYER_WEIGHTS * 4.5 + 64_000 * 8.125) / 8)
    assert packed.decode_s([0]) == pytest.approx(6e-3 + packed.weight_bytes / 4e9)
    quick = Declared(profile=box.profile, shape=box.shape, precision="w4a8").prefill_s(3000)
    assert quick - 6e-3 == pytest.approx((packed.prefill_s(3000) - 6e-3) / 2)  # at the int8 rate, twice the 16-bit one


def test_unfused_attention_moves_its_scores(box: Declared):
    text = MACHINE.replace('basis = "measured"', 'basis = "measured"\nscore_bytes = 16')
    unfused = Declared(profile=read_profiles(text, "box.toml")[0], shape=box.shape, precision="bf16")
    assert unfused.prefill_s(2000) - box.prefill_s(2000) == pytest.approx(16 * 4 * 8 * 2000 * 2001 / 2 / 8e9)


def test_what_does_not_fit_is_refused_with_need_room_and_a_way_out():
    phone = find_profile("phone")
    with pytest.raises(ScenarioInvalid, match=r"qwen2.5-32b in int4 on snapdragon-8-gen-3 with 1 slot needs 19\.\d GB .* has 6 GB") as caught:
        declare(phone, find_shape("qwen2.5-32b"))
    assert "take a smaller model" in caught.value.hint
    l4 = find_profile("l4")
    with pytest.raises(ScenarioInvalid, match="with 400 slots") as caught:
        declare(l4, find_shape("qwen2.5-7b"), "bf16", slots=400)
    fitting = int(caught.value.hint.split("at most ")[1].split()[0])
    assert declare(l4, find_shape("qwen2.5-7b"), "bf16", slots=fitting).precision == "bf16"
    with pytest.raises(ScenarioInvalid):
        declare(l4, find_shape("qwen2.5-7b"), "bf16", slots=fitting + 1)


def test_no_precision_is_the_widest_that_fits():
    assert declare(find_profile("phone"), find_shape("llama-3.2-1b")).precision == "bf16"
    assert declare(find_profile("phone"), find_shape("qwen2.5-7b")).precision == "int4"
    with pytest.raises(ScenarioInvalid, match="unknown precision 'int5'"):
        declare(find_profile("phone"), find_shape("llama-3.2-1b"), "int5")
    with pytest.raises(ScenarioInvalid, match="a100 has no fp8 rate") as caught:
        declare(find_profile("a100"), find_shape("llama-3.2-1b"), "fp8")
    assert "bf16" in caught.value.hint


def test_kv_is_for_every_slot(box: Declared):
    assert box.memory_bytes(3 * CONTEXT_TOKENS) == pytest.approx(box.weight_bytes + 3 * CONTEXT_TOKENS * 2 * 2 * 4 * 16)


def test_every_class_has_a_source_and_names_of_before_still_work():
    assert len(profiles()) >= 20
    assert {one.kind for one in profiles().values()} >= {"phone-npu", "jetson", "edge-gpu", "data-centre-gpu", "cpu-server"}
    assert len(set(profile_names())) == len(profile_names())
    for one in profiles().values():
        assert one.source
        assert one.idle_w < one.busy_w
        assert set(one.flops) <= {"fp32", "bf16", "fp8", "int8"}
    assert [find_profile(name).kind for name in ("phone", "edge-server", "cloud-server")] == ["phone-npu", "edge-gpu", "data-centre-gpu"]
    assert all(one.rate in ("fp32", "bf16", "fp8", "int8") for one in PRECISIONS.values())


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("usable = 0.5", "usable = 0.5\ncolour = 1", "colour"),
        ("busy_w = 10", "busy_w = 10\nbusy = 3", "busy"),
        ("busy_w = 10", "", "lacks 'busy_w'"),
        ("busy_w = 10", "busy_w = -1", "'busy_w' of profile 1 of box.toml is -1"),
        ("bf16 = 1e12, ", "", "lacks 'bf16'"),
        ("int8 = 2e12", "int9 = 2e12", "int9"),
        ('basis = "measured"', 'basis = "guessed"', "unknown basis 'guessed'"),
        ("prefill_wide = 0.5", "prefill_wide = true", "'prefill_wide'"),
        ("usable = 0.5", "usable =", "not valid TOML"),
        ('class = "box"', "", "lacks 'class'"),
    ],
)
def test_a_damaged_profile_is_named(old: str, new: str, complaint: str):
    with pytest.raises(ScenarioInvalid, match=complaint):
        read_profiles(MACHINE.replace(old, new), "box.toml")


@pytest.mark.parametrize(
    ("old", "new"), [("layers = 4", "layers = 0"), ("layers = 4", ""), ("layers = 4", "layers = 4\nexperts = 2"), (MODEL, 2 * MODEL)]
)
def test_a_damaged_shape_is_named(old: str, new: str):
    with pytest.raises(ScenarioInvalid, match=r"m\.toml"):
        read_shapes(MODEL.replace(old, new), "m.toml")


def test_this_machine_is_read_from_the_home(tmp_path: Path):
    with pytest.raises(ScenarioInvalid, match="has not been measured") as caught:
        find_profile(THIS_MACHINE, tmp_path)
    assert "netgpt hardware measure" in caught.value.hint
    (tmp_path / MEASURED_FILE).parent.mkdir()
    (tmp_path / MEASURED_FILE).write_text(MACHINE.replace("box-1", THIS_MACHINE), encoding="utf-8")
    assert find_profile(THIS_MACHINE, tmp_path).id == THIS_MACHINE
    with pytest.raises(ScenarioInvalid, match="unknown hardware profile 'phoen'") as caught:
        find_profile("phoen")
    assert "did you mean 'phone'?" in caught.value.hint


NODE = '[[node]]\nid = "n"\ntier = "edge"\nmodel = "netgpt-edge"\nprofile = "l4"\n'


def test_a_node_says_which_published_model_it_is_declared_to_run():
    node = parse_scenario(NODE + 'card = "qwen2.5-7b"\nprecision = "int4"\n', where="s").node("n")
    assert (node.card, node.precision) == ("qwen2.5-7b", "int4")
    parse_scenario(NODE.replace("l4", THIS_MACHINE), where="s")  # measured or not is for the home to say


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ('card = "qwen2.5-8b"', "node 'n': unknown card 'qwen2.5-8b'"),
        ('card = "qwen2.5-7b"\nparameters = 7e9', "node 'n': card 'qwen2.5-7b' stands beside parameters"),
        ('card = "qwen2.5-7b"\nprecision = "int3"', "unknown precision 'int3' in node 1"),
        ('card = "llama-3.1-70b"', "node 'n': llama-3.1-70b in int4 on l4 with 16 slots needs"),
        ("parameters = 70e9", "node 'n': 70B in int4 on l4 with 16 slots needs"),
    ],
)
def test_a_node_that_cannot_be_is_refused_by_name(more: str, complaint: str):
    with pytest.raises(ScenarioInvalid, match=complaint):
        parse_scenario(NODE + more, where="s")


def test_an_upstreams_model_is_its_own_affair():
    parse_scenario(NODE + 'parameters = 70e9\nengine = "openai"\nupstream = "http://127.0.0.1:8000/v1"\n', where="s")


def test_models_of_shipped_scenarios_fit_their_machines():
    for name in shipped_scenarios():
        for node in load_scenario(name).nodes:
            shape = node_shape(node.card, node.parameters)
            assert shape is None or declare(find_profile(node.profile), shape, node.precision, slots=node.slots).precision in ("bf16", "int8", "int4")
