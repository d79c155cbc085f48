"""The AsyncAPI document and the events page: valid, whole, served from their own origin, and true."""

import gzip
import html
import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any

import jsonschema
import pytest
from fastapi import FastAPI
from pydantic import Field

import tidings_auth.app
import tidings_log_consumer.app
import tidings_messages.app
from tidings.contracts.asyncapi import asyncapi
from tidings.contracts.kcat import command_of
from tidings.events import CATALOGUE, ActivityGap, ApiRequest
from tidings.events.topics import ACTIVITY, AUTH, MESSAGES, READER, REGISTRY
from tidings.http.docs import Document, docs_router
from tidings.http.event_docs import event_docs_router
from unit.fakes import client

OFFICIAL = Path(__file__).parents[1] / "vendor" / "asyncapi" / "3.0.0.json.gz"
DOCUMENT = asyncapi()


@pytest.fixture(scope="module")
def official() -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(json.loads(gzip.decompress(OFFICIAL.read_bytes())))


def resolve(reference: str, document: Any) -> Any:
    found = document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [found for item in node for found in references(item)]
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [found for value in node.values() for found in references(value)]
    return []


async def get(path: str) -> Any:
    app = FastAPI(docs_url=None, redoc_url=None)
    app.include_router(docs_router([Document("auth", "/openapi/auth.json")]))
    app.include_router(event_docs_router())
    async with client(app) as http:
        return await http.get(path)


def test_the_document_is_valid(official: jsonschema.Draft7Validator) -> None:
    assert [f"{error.json_path}: {error.message}" for error in official.iter_errors(DOCUMENT)] == []


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ("#/channels/tidings.auth.v1/bindings/kafka", {"partitions": "four", "bindingVersion": "0.5.0"}),
        ("#/operations/tidings-auth-sends-tidings.auth.v1", {"action": "publish"}),
        ("#/components/messages/tidings.api.request.v1", {"payload": {"type": "text"}}),
    ],
)
def test_the_validation_sees_what_is_wrong(official: jsonschema.Draft7Validator, path: str, wrong: Any) -> None:
    document = deepcopy(DOCUMENT)
    parent, _, name = path.rpartition("/")
    resolve(parent, document)[name] = wrong
    assert not official.is_valid(document)


def test_every_reference_leads_somewhere() -> None:
    assert len(references(DOCUMENT)) >= len(CATALOGUE) + len(REGISTRY)
    assert [reference for reference in references(DOCUMENT) if not resolve(reference, DOCUMENT)] == []


def test_every_topic_and_event_is_in_it_once() -> None:
    assert set(DOCUMENT["channels"]) == set(REGISTRY)
    carried = [name for channel in DOCUMENT["channels"].values() for name in channel["messages"]]
    assert sorted(carried) == sorted(DOCUMENT["components"]["messages"]) == sorted(CATALOGUE)


def test_a_channel_is_as_the_topic_is_made() -> None:
    kafka = DOCUMENT["channels"][ACTIVITY]["bindings"]["kafka"]
    assert kafka["partitions"] == REGISTRY[ACTIVITY].partitions
    assert kafka["topicConfiguration"]["retention.ms"] == REGISTRY[ACTIVITY].retention_days * 86_400_000


def test_the_services_that_send_are_those_that_there_are() -> None:
    auth, messages, logs = tidings_auth.app.SERVICE, tidings_messages.app.SERVICE, tidings_log_consumer.app.SERVICE
    assert {topic.name: set(topic.producers) for topic in REGISTRY.values()} == {
        AUTH: {auth},
        MESSAGES: {messages},
        ACTIVITY: {auth, messages, logs},
    }
    assert logs == READER
    assert len(DOCUMENT["operations"]) == 5 + len(REGISTRY)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_example_fits_its_own_message(name: str) -> None:
    message = DOCUMENT["components"]["messages"][name]
    for example in message["examples"]:
        jsonschema.validate(example["payload"], message["payload"], jsonschema.Draft7Validator)
        jsonschema.validate(example["headers"], message["headers"], jsonschema.Draft7Validator)
        assert set(example["headers"]) <= set(message["headers"]["properties"])


async def test_the_document_is_served() -> None:
    answer = await get("/asyncapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == DOCUMENT


async def test_the_page_shows_every_topic_event_field_record_and_command() -> None:
    answer = await get("/docs/events")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = html.unescape(answer.text)
    assert "__" not in page
    for topic in REGISTRY:
        assert f'<h2 id="{topic}">' in page
    for name, kind in CATALOGUE.items():
        assert f'<article id="{name}">' in page
        assert command_of(kind) in page
    for field in ApiRequest.model_fields:
        assert f"<code>{field}</code>" in page
    assert "<td>integer, at least 100, at most 599</td>" in page
    assert "<td>string, up to 64 characters or null</td>" in page


async def test_no_text_breaks_out_of_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nasty(ActivityGap):
        """Some <script>alert(1)</script> `<img>` & more."""

        dropped: Annotated[int, Field(description="<script>")]

    monkeypatch.setitem(CATALOGUE, Nasty.type(), Nasty)
    page = (await get("/docs/events")).text
    assert "<script" not in page
    assert "<img" not in page
    assert "Some &lt;script&gt;alert(1)&lt;/script&gt; <code>&lt;img&gt;</code> &amp; more." in page


async def test_the_page_runs_nothing_loads_from_its_own_origin_and_leads_to_the_api_and_back() -> None:
    answer = await get("/docs/events")
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in answer.text
    links = re.findall(r'(?:src|href)="([^"]*)"', answer.text)
    assert [link for link in links if not link.startswith(("/docs", "/asyncapi.json", "#", "data:"))] == []
    assert {"/docs", "/asyncapi.json", "/docs/assets/events.css"} <= set(links)
    anchors = {link[1:] for link in links if link.startswith("#")}
    assert anchors == set(CATALOGUE)
    assert 'href="/docs/events"' in (await get("/docs")).text
