"""Holds an answer to a grammar: which tokens may come next, by the library llguidance.

It decides only what is allowed; what is drawn among that, and what the model thought of it beforehand, is
the sampler's and the batch's. Compiled grammars are kept, the one unused for longest goes first. A
grammar's work is bounded at every step, so that no schema can hold up the sessions beside it for long.
The library is loaded with the first grammar.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netgpt.core.errors import InvalidRequest
from netgpt.models.grammar import Form, Grammar
from netgpt.models.tokenizer import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

KEPT_GRAMMARS = 64
MAX_LEXER_STATES = 50_000  # of one grammar, 1 to 2 kB each; the library's other limits are kept: 14 ms of work a token
# Between the values of JSON a model may set blanks and lines as it has learnt to, but not for ever.
_OWN_WORDS = {"x-guidance": {"whitespace_pattern": r"[ \n]{1,32}", "lenient": False, "coerce_one_of": False}}
_MESSAGE_CHARS = 200


class Matcher:
    """One answer's way through its grammar."""

    def __init__(self, state: LLMatcher, vocabulary: int, end_id: int, param: str) -> None:
        self._state = state
        self._vocabulary = vocabulary
        self._end_id = end_id
        self._param = param
        self.ended = False  # the id that ends the turn was taken

    def allowed(self) -> NDArray[np.intp]:
        """Ids, ascending, of the tokens that may come next; where the answer may end, the id that ends the turn is one.

        Raises:
            InvalidRequest: the library gave up at a limit, or no token fits.
        """
        mask = np.frombuffer(self._state.compute_bitmask(), dtype=np.uint8)
        self._check()  # in an error the mask would let the answer end
        ids = np.flatnonzero(np.unpackbits(mask, count=self._vocabulary, bitorder="little"))
        if not len(ids):
            raise _refusal(self._param, "the model has no token for what must come next")
        return ids

    def take(self, token: int) -> None:
        """Go on with a token that was allowed.

        Raises:
            InvalidRequest: it was not.
        """
        if token == self._end_id:
            self.ended = True
        elif not self._state.consume_token(token):
            self._check()

    def _check(self) -> None:
        if self._state.is_error():
            raise _refusal(self._param, self._state.get_error())


class Grammars:
    """Compiles grammars for one model. Its methods are called on one thread at a time.

    Args:
        tokenizer: reads the model's tokenizer; called once, with the first grammar.
        vocabulary: how many logits the model gives; ids beyond the tokenizer's are never allowed.
    """

    def __init__(self, tokenizer: Callable[[], Tokenizer], vocabulary: int) -> None:
        self._read_tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._compiled: OrderedDict[Grammar, LLMatcher] = OrderedDict()

    def matcher(self, grammar: Grammar, answer: Sequence[int] = ()) -> Matcher:
        """A way through `grammar` that `answer`, the tokens so far, has gone already.

        Raises:
            InvalidRequest: a schema that is wrong, not supported or too large, or an answer of another grammar.
        """
        state = self._compiled.get(grammar)
        if state is None:
            state = self._compiled[grammar] = self._compile(grammar)
        self._compiled.move_to_end(grammar)
        if len(self._compiled) > KEPT_GRAMMARS:
            self._compiled.popitem(last=False)
        state = state.deep_copy()
        if state.try_consume_tokens(list(answer)) != len(answer):
            raise InvalidRequest(
                f"the answer so far is not of the grammar that {grammar.param} asks for",
                hint="run one release of NetGPT on all nodes, or send the request again",
                param=grammar.param,
            )
        return Matcher(state, self._vocabulary, self._tokens.eos_token, grammar.param)

    def _compile(self, grammar: Grammar) -> LLMatcher:
        from llguidance import LLMatcher, LLParserLimits  # seldom needed, and only in this process

        limits = LLParserLimits(max_lexer_states=MAX_LEXER_STATES, verbose_errors=False)
        state = LLMatcher(self._tokens, json.dumps(library_grammar(grammar)), log_level=0, limits=limits)
        if state.is_error():
            raise _refusal(grammar.param, state.get_error())
        return state

    @cached_property
    def _tokens(self) -> LLTokenizer:
        from llguidance import LLTokenizer, TokenizerWrapper

        return LLTokenizer(TokenizerWrapper(_TokenTable(self._read_tokenizer(), self._vocabulary)))


class _TokenTable:
    """The exact bytes of each token, in the form that the library's `TokenizerWrapper` reads."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer, vocabulary: int) -> None:
        known = min(tokenizer.vocabulary, vocabulary)
        self.eos_token_id = tokenizer.end_id
        self.tokens = [tokenizer.decode((i,)) for i in range(known)] + [b""] * (vocabulary - known)
        self.special_token_ids = [i for i, token in enumerate(self.tokens) if not token]
        self._encode = tokenizer.encode

    def __call__(self, text: bytes) -> list[int]:
        return self._encode(text.decode("utf-8", "ignore"))


def library_grammar(grammar: Grammar) -> dict[str, Any]:
    """The grammar in the library's words: rules over the forms, and each form's schema with its own root.

    Raises:
        InvalidRequest: a schema is not a JSON object.
    """
    forms = " | ".join(_form_rule(form, number) for number, form in enumerate(grammar.forms))
    more = f' ("\\n" form){{0,{grammar.most - 1}}}' if grammar.most > 1 else ""
    schemas = [{"name": f"value{number}", "json_schema": _schema(form, grammar.param)} for number, form in enumerate(grammar.forms)]
    return {"grammars": [{"lark_grammar": f"start: form{more}\nform: {forms}"}, *schemas]}


def _form_rule(form: Form, number: int) -> str:
    texts = [json.dumps(text, ensure_ascii=False) if text else "" for text in (form.before, form.after)]
    return f"{texts[0]} @value{number} {texts[1]}".strip()


def _schema(form: Form, param: str) -> dict[str, Any]:
    try:
        schema = json.loads(form.schema)
    except (ValueError, RecursionError) as error:
        raise _refusal(param, "it is not JSON") from error
    if not isinstance(schema, dict):
        raise _refusal(param, "it is not an object")
    return {**schema, **_OWN_WORDS}


def _refusal(param: str, why: str) -> InvalidRequest:
    """The library's first line says what it does not like; it may quote the schema, which is the client's own."""
    return InvalidRequest(
        f"the schema of {param} cannot be followed: {why.partition(chr(10))[0][:_MESSAGE_CHARS]}",
        hint="simplify the schema: the page docs/tools.md says what is supported",
        param=param,
    )
