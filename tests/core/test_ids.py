from itertools import islice

from netgpt.core.chance import SeededChance
from netgpt.core.ids import ends_of_ids, new_id


def test_ids_that_are_drawn_together_are_those_that_are_drawn_alone():
    alone, together = SeededChance(3).stream("ids"), ends_of_ids(SeededChance(3).stream("ids"))
    assert [new_id("req", alone) for _ in range(200)] == [f"req-{end}" for end in islice(together, 200)]
