import subprocess
import sys

import numpy as np

from netgpt.core.chance import SeededChance, digest64, uniforms


def test_a_stream_depends_on_seed_and_name_alone():
    first = SeededChance(7)
    first.stream("other").random(1000)
    assert np.array_equal(first.stream("faults").random(5), SeededChance(7).stream("faults").random(5))
    assert not np.array_equal(first.stream("faults").random(5), SeededChance(8).stream("faults").random(5))
    assert not np.array_equal(first.stream("faults").random(5), first.stream("users").random(5))


def test_draws_of_different_positions_do_not_overlap():
    draws = np.stack([uniforms(1, position, 2048) for position in range(50)])
    assert np.unique(draws).size == draws.size
    assert 0 <= draws.min() < draws.max() < 1
    assert abs(draws.mean() - 0.5) < 0.01


def test_digests_and_draws_are_equal_in_another_process():
    code = "from netgpt.core.chance import *; print(digest64('a', 1), uniforms(3, 4, 2).tolist())"
    other = subprocess.run([sys.executable, "-c", code], env={"PYTHONHASHSEED": "99"}, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == f"{digest64('a', 1)} {uniforms(3, 4, 2).tolist()}"
