"""`POST /v1/chat/completions`: the endpoint of `api.answer` in the words of chat."""

from __future__ import annotations

from netgpt.api.answer import Asked, Wording
from netgpt.api.chat_reply import CHUNK, ChunkWriter, chat_completion
from netgpt.api.chat_request import parse_chat, parse_form


def parse(body: object, request_id: str) -> Asked:
    """What `body` asks for. Raises InvalidRequest, NotSupported."""
    return Asked(requests=(parse_chat(body, request_id),), form=parse_form(body))


CHAT = Wording(chunk=CHUNK, parse=parse, whole=chat_completion, writer=ChunkWriter)
