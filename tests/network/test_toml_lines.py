"""Lines of tables and keys, wherever TOML lets them stand."""

from netgpt.network.toml_lines import line_of, toml_lines

TEXT = '''# a comment with name = "no"
name = "x"   # line 2
[[node]]
id = "a"
note = """
id = "not a key"
[[node]]
"""
more = [
  "[", 'x]', # ]
  3,
]
"quoted key" = 1
[[ node ]]
id = "b # not a comment"
dotted.part = 1
[[node.child]]
x = 1
[[node.child]]
x = { y = 2 }
[node.table]
z = 1
'''


def test_every_table_and_key_has_its_line() -> None:
    lines = toml_lines(TEXT)
    assert lines[("name",)] == 2
    assert lines[("node", 0)] == 3
    assert [lines[("node", 0, key)] for key in ("id", "note", "more", "quoted key")] == [4, 5, 9, 13]
    assert [lines[("node", 1)], lines[("node", 1, "id")], lines[("node", 1, "dotted", "part")]] == [14, 15, 16]
    assert [lines[("node", 1, "child", 0)], lines[("node", 1, "child", 1, "x")]] == [17, 20]
    assert lines[("node", 1, "table", "z")] == 22
    assert len([path for path in lines if path[-1] == "id"]) == 2, "what stands in a string is no key"


def test_what_has_no_line_of_its_own_has_that_of_what_holds_it() -> None:
    lines = toml_lines(TEXT)
    assert line_of(lines, ("node", 1, "child", 1, "x", "y")) == 20
    assert line_of(lines, ("node", 1, "missing")) == 14
    assert line_of(lines, ("nowhere",)) == 0
