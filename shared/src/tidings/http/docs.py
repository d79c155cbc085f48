"""The docs page: one page over one or several OpenAPI documents; everything it loads comes from this origin."""

import html
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import fastapi_standalone_docs
from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, HTMLResponse, Response

PAGE_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; script-src 'self'; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'"
)

_swagger = Path(fastapi_standalone_docs.__file__).parent / "static" / "swagger"
_own = Path(__file__).parent / "static"
ASSETS = {
    "swagger-ui-bundle.js": _swagger,
    "swagger-ui.css": _swagger,
    "docs.js": _own,
    "docs.css": _own,
    "events.css": _own,
}


def revalidated(content: str) -> dict[str, str]:
    """Return the headers of a page that a client may keep, but must ask about before it shows it again."""
    return {"Cache-Control": "no-cache", "ETag": f'"{sha256(content.encode()).hexdigest()[:32]}"'}


@dataclass(frozen=True)
class Document:
    """One OpenAPI document."""

    name: str
    url: str


def docs_router(documents: Sequence[Document]) -> APIRouter:
    """Return `/docs`, which shows `documents` with a selector, and its assets."""
    router = APIRouter(prefix="/docs", include_in_schema=False)
    # "<" is written as an escape, so that no name can end the script element.
    listing = json.dumps([asdict(document) for document in documents]).replace("<", "\\u003c")
    links = " ".join(
        f'<a href="{html.escape(document.url)}">{html.escape(document.name)}</a>' for document in documents
    )
    template = (_own / "docs.html").read_text(encoding="utf-8")
    page = template.replace("__DOCUMENTS__", listing).replace("__LINKS__", links)

    @router.get("")
    async def docs() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": PAGE_POLICY, **revalidated(page)})

    @router.get("/assets/{name}")
    async def asset(name: str) -> Response:
        if name not in ASSETS:
            raise HTTPException(404)
        return FileResponse(ASSETS[name] / name, headers={"Cache-Control": "public, max-age=3600"})

    return router
