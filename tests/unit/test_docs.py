"""The docs page: it shows every document, loads from its own origin only, and no name can break out of it."""

import json
import re

import pytest
from fastapi import FastAPI

from tidings.http import problems
from tidings.http.docs import ASSETS, Document, docs_router
from unit.fakes import client


def app_with(*documents: Document) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None)
    app.include_router(docs_router(documents))
    problems.install(app, {})
    return app


async def page_of(*documents: Document) -> str:
    async with client(app_with(*documents)) as http:
        answer = await http.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert "'unsafe-eval'" not in answer.headers["content-security-policy"]
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    return answer.text


def listing(page: str) -> object:
    (text,) = re.findall(r'<script type="application/json" id="documents">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


async def test_the_page_lists_every_document_and_links_it_for_those_without_script() -> None:
    page = await page_of(Document("auth", "/openapi/auth.json"), Document("logs", "/openapi/logs.json"))
    assert listing(page) == [
        {"name": "auth", "url": "/openapi/auth.json"},
        {"name": "logs", "url": "/openapi/logs.json"},
    ]
    assert '<a href="/openapi/logs.json">logs</a>' in page


async def test_nothing_on_the_page_comes_from_another_origin() -> None:
    page = await page_of(Document("auth", "/openapi/auth.json"))
    loaded = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert len(loaded) >= 5
    assert [url for url in loaded if not url.startswith(("/", "data:")) or url.startswith("//")] == []
    assert not re.search(r"<script(?![^>]*(src=|application/json))", page)


async def test_no_name_breaks_out_of_the_page() -> None:
    name = '</script><script>alert(1)</script>" onload="x'
    page = await page_of(Document(name, '/x"><img>'))
    assert "alert(1)</script>" not in page.replace("&lt;/script&gt;", "")
    assert "<img>" not in page
    assert listing(page) == [{"name": name, "url": '/x"><img>'}]


@pytest.mark.parametrize("name", ASSETS)
async def test_every_asset_is_served_and_may_be_kept(name: str) -> None:
    async with client(app_with()) as http:
        answer = await http.get(f"/docs/assets/{name}")
    assert answer.status_code == 200
    assert len(answer.content) > 100
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert ("javascript" if name.endswith(".js") else "text/css") in answer.headers["content-type"]


@pytest.mark.parametrize(
    "name", ["none.js", "docs.html", "..%2Fdocs.html", "%2e%2e%2fdocs.py", "swagger-ui-bundle.js.map", "%00"]
)
async def test_anything_else_is_a_problem(name: str) -> None:
    async with client(app_with()) as http:
        answer = await http.get(f"/docs/assets/{name}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:tidings:problem:not-found"
