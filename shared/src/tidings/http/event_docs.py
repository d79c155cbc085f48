"""The events page: every topic and event for those who read or write them, beside its AsyncAPI document."""

import html
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response

from tidings.contracts.asyncapi import asyncapi, events_of, headers_of
from tidings.contracts.examples import example_of
from tidings.contracts.kcat import command_of
from tidings.contracts.schemas import schema_of
from tidings.events import CATALOGUE, ApiRequest, EventData
from tidings.events.topics import READER, REGISTRY, Topic
from tidings.http.docs import PAGE_POLICY, revalidated

LIMITS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minLength": "{} or more characters",
    "maxLength": "up to {} characters",
    "const": "always <code>{}</code>",
    "default": "else {}",
}


def event_docs_router() -> APIRouter:
    """Return `/docs/events` and `/asyncapi.json`."""
    router = APIRouter(include_in_schema=False)
    document = json.dumps(asyncapi(), ensure_ascii=False)
    template = (Path(__file__).parent / "static" / "events.html").read_text(encoding="utf-8")
    page = template.replace("__HEADERS__", _fields(headers_of(ApiRequest)))
    page = page.replace("__CONTENTS__", _contents()).replace("__TOPICS__", "".join(map(_topic, REGISTRY.values())))

    @router.get("/asyncapi.json")
    async def asyncapi_document() -> Response:
        return Response(document, media_type="application/json", headers=revalidated(document))

    @router.get("/docs/events")
    async def events() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": PAGE_POLICY, **revalidated(page)})

    return router


def _contents() -> str:
    return "".join(f'<li><a href="#{name}">{_text(kind.name)}</a></li>' for name, kind in CATALOGUE.items())


def _topic(topic: Topic) -> str:
    facts = (
        f"{topic.partitions} partitions, kept for {topic.retention_days} days. Keyed by {topic.key}. "
        f"Written by {', '.join(topic.producers)}; read by {READER}."
    )
    events = "".join(_event(name, kind) for name, kind in events_of(topic).items())
    return f'<section><h2 id="{topic.name}">{topic.name}</h2><p>{_text(facts)}</p>{events}</section>'


def _event(name: str, kind: type[EventData]) -> str:
    schema, example = schema_of(kind), example_of(kind)
    headers = "\n".join(f"{header}: {text}" for header, text in example["headers"].items())
    record = f"key: {example['key']}\n\n{headers}\n\n{json.dumps(example['value'], ensure_ascii=False, indent=2)}"
    return (
        f'<article id="{name}"><h3>{_text(kind.name)}</h3><p>{_text(schema["description"])}</p>'
        f"<p>Type <code>{name}</code>, schema <code>{kind.dataschema()}</code></p>{_fields(schema)}"
        f"<details><summary>A record</summary><pre>{_text(record)}</pre></details>"
        f"<details><summary>Write one with kcat</summary><pre>{_text(command_of(kind))}</pre></details></article>"
    )


def _fields(schema: Mapping[str, Any]) -> str:
    """Return the table of an object's fields."""
    rows = "".join(
        f"<tr><th scope=row><code>{_text(name)}</code></th><td>{'yes' if name in schema['required'] else 'no'}</td>"
        f"<td>{_type(field)}</td><td>{_text(field.get('description', ''))}</td></tr>"
        for name, field in schema["properties"].items()
    )
    return f"<table><thead><tr><th>field<th>required<th>type<th>meaning</tr></thead><tbody>{rows}</tbody></table>"


def _type(field: Mapping[str, Any]) -> str:
    """Return in words what values a field takes."""
    return " or ".join(", ".join(_words(alternative)) for alternative in field.get("anyOf", [field]))


def _words(schema: Mapping[str, Any]) -> Iterable[str]:
    yield schema.get("format") or schema.get("type") or "string"
    for word, words in LIMITS.items():
        if schema.get(word) is not None:
            yield words.format(_text(str(schema[word])))


def _text(text: str) -> str:
    """Return `text` as HTML, what is in backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
