"""`POST /v1/chat/completions`: the endpoint of `api.answer` in the words of chat."""

from __future__ import annotations

from dataclasses import replace

from netgpt.api.answer import Asked, Wording
from netgpt.api.chat_reply import CHUNK, chat_completion
from netgpt.api.chat_request import parse_chat, parse_form
from netgpt.api.fields import as_object
from netgpt.api.tool_reply import chunk_writer
from netgpt.api.tools import read_tools


def parse(body: object, request_id: str, key: str = "") -> Asked:
    """What `body` asks for. Raises InvalidRequest, NotSupported."""
    request, tools, form = parse_chat(body, request_id, key), read_tools(as_object(body)), parse_form(body)
    return Asked(requests=(request,), form=replace(form, calls=tools.calls) if tools else form)


CHAT = Wording(chunk=CHUNK, parse=parse, whole=chat_completion, writer=chunk_writer)
