"""What an answer must look like, as data: JSON values of given schemas, each between fixed texts.

So much is enough for a reply of a JSON schema and for tool calls, and any library for constrained
decoding can follow it. Knows no library and no tokenizer: see `engine.grammar`.
"""

from __future__ import annotations

from dataclasses import dataclass

from netgpt.core.errors import InvalidRequest

MAX_FORMS = 128
MAX_MOST = 32
MAX_GRAMMAR_BYTES = 32 * 1024  # a schema of so many bytes compiles in about a third of a second on one core


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """One JSON value of `schema` between two fixed texts."""

    before: str
    schema: str  # JSON Schema, draft 2020-12, as JSON; references are within it
    after: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Grammar:
    """What an answer must be, from its first byte to its last: 1 to `most` of the forms, a newline between two."""

    forms: tuple[Form, ...]
    most: int
    param: str  # of the request that wants it: refusals name it


def json_grammar(schema: str, *, param: str) -> Grammar:
    """An answer that is one JSON value of `schema` and nothing else."""
    return Grammar(forms=(Form(before="", schema=schema, after=""),), most=1, param=param)


def check_grammar(grammar: Grammar) -> None:
    """Refuse a grammar beyond the limits; that its schemas are schemas is not checked here.

    Raises:
        InvalidRequest: no form, or more than `MAX_FORMS`, `MAX_MOST` or `MAX_GRAMMAR_BYTES` allow.
    """
    if not 1 <= len(grammar.forms) <= MAX_FORMS:
        raise InvalidRequest(f"{grammar.param} has {len(grammar.forms)} forms", hint=f"give 1 to {MAX_FORMS}", param=grammar.param)
    if not 1 <= grammar.most <= MAX_MOST:
        raise InvalidRequest(f"{grammar.param} asks for up to {grammar.most} values", hint=f"ask for 1 to {MAX_MOST}", param=grammar.param)
    size = sum(len(text.encode()) for form in grammar.forms for text in (form.before, form.schema, form.after))
    if size > MAX_GRAMMAR_BYTES:
        raise InvalidRequest(
            f"the schemas of {grammar.param} have {size} bytes, and {MAX_GRAMMAR_BYTES} are allowed",
            hint="leave out descriptions and properties that are not needed",
            param=grammar.param,
        )
