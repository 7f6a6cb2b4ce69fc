"""The OpenAPI document as one HTML page for people. Pure; no script, no font and no style from elsewhere: it works offline."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from netgpt.api.openapi_bodies import Schema

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b; background: #fff }
h2 { margin-top: 2.5rem; border-top: 1px solid #ccc; padding-top: 1rem } table { border-collapse: collapse; width: 100% }
code, pre { font: 14px/1.5 ui-monospace, monospace; background: #f3f3f3 } pre { padding: .8rem; overflow-x: auto }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #e3e3e3 }
@media (prefers-color-scheme: dark) { body { color: #e6e6e6; background: #161616 } code, pre { background: #262626 } }
"""


def docs_page(document: Schema, url: str) -> str:
    """The page of `document`; its examples ask `url`."""
    info = document["info"]
    parts = [f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>", f"<p>{_prose(info['description'])}</p>"]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts += _operation(document, url, path, method, operation)
    title = escape(f"{info['title']} API")
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _operation(document: Schema, url: str, path: str, method: str, operation: Schema) -> list[str]:
    parts = [
        f'<h2 id="{escape(operation["operationId"])}"><code>{method.upper()} {escape(path)}</code></h2>',
        f"<p>{_prose(operation['summary'])}</p>",
    ]
    if body := operation.get("requestBody"):
        media = body["content"]["application/json"]
        parts += [_fields(_resolve(document, media["schema"])), f"<pre>{escape(_curl(url + path, media['example']))}</pre>"]
    media_types = " or ".join(f"<code>{escape(media)}</code>" for media in operation["responses"]["200"]["content"])
    return [*parts, f"<p>Replies with {media_types}.</p>"]


def _curl(url: str, example: Any) -> str:
    return f"curl {url} -H 'Content-Type: application/json' -d '{json.dumps(example)}'"


def _resolve(document: Schema, schema: Schema) -> Schema:
    name = schema["$ref"].rpartition("/")[2]
    return document["components"]["schemas"][name]


def _fields(schema: Schema) -> str:
    required = schema["required"]
    rows = [
        f"<tr><td><code>{escape(name)}</code>{' *' if name in required else ''}</td><td>{escape(allowed(field))}</td>"
        f"<td>{_prose(field.get('description', ''))}</td></tr>"
        for name, field in schema["properties"].items()
    ]
    return f"<table><tr><th>field (* required)</th><th>values</th><th>meaning</th></tr>{''.join(rows)}</table>"


def allowed(schema: Schema) -> str:
    """In a few words what a schema admits; that null counts as not given is not repeated."""
    if "anyOf" in schema:
        return ", or ".join(allowed(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return ", ".join(json.dumps(one) for one in schema["enum"] if one is not None) or "leave out"
    kinds = [kind for kind in _as_list(schema["type"]) if kind != "null"]
    if not kinds:
        return "leave out"
    limits = [f"{word} {schema[key]:g}" for word, key in (("from", "minimum"), ("to", "maximum")) if key in schema]
    default = [f"default {json.dumps(schema['default'])}"] if "default" in schema else []
    inner = [f"each {allowed(schema['items'])}"] if kinds == ["array"] else []
    return ", ".join([" ".join([*kinds, *limits]), *inner, *default])


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _prose(text: str) -> str:
    """Text with `code` between back-ticks."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if place % 2 else piece for place, piece in enumerate(pieces))
