"""`POST /v1/completions`: the endpoint of `api.answer` in the words of text completions."""

from __future__ import annotations

from netgpt.api.answer import Wording
from netgpt.api.completion_reply import OBJECT, TextWriter, text_completion
from netgpt.api.completion_request import parse_completion

COMPLETION = Wording(chunk=OBJECT, parse=parse_completion, whole=text_completion, writer=TextWriter)
