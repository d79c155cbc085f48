"""The docs page: one page over one or several OpenAPI documents; everything it loads comes from this origin."""

import html
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

import fastapi_standalone_docs
from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.responses import MalformedRangeHeader, RangeNotSatisfiable

from tidings.http.problems import Errors, Problem, Varying

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


MALFORMED_RANGE = Problem(400, "malformed-range", "The header Range is not `bytes=` and ranges such as `0-99`.")
RANGE_NOT_SATISFIABLE = Problem(
    416,
    "range-not-satisfiable",
    "The content has nothing in this range; Content-Range says how long it is.",
    {"Content-Range": "bytes */908"},
)


class MalformedRange(Exception):
    """The header `Range` cannot be read."""


class UnsatisfiableRange(Exception):
    """A range lies outside the file."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.length = length


def _unsatisfiable(error: UnsatisfiableRange) -> Problem:
    return replace(RANGE_NOT_SATISFIABLE, headers={"Content-Range": f"bytes */{error.length}"})


ERRORS: Errors = {
    MalformedRange: MALFORMED_RANGE,
    UnsatisfiableRange: Varying(_unsatisfiable, UnsatisfiableRange(908)),
}
"""What the errors of an asset mean to a client."""


class Asset(FileResponse):
    """A file of which a client may ask for a range (RFC 9110 section 14).

    Starlette answers a wrong `Range` itself, in plain text. Here it is an error, which is answered with a problem.
    """

    @classmethod
    def _parse_range_header(cls, http_range: str, file_size: int) -> list[tuple[int, int]]:
        """Return each range as its start and end; none when the whole file is wanted.

        Raises:
            MalformedRange: the header is not a list of byte ranges.
            UnsatisfiableRange: a range lies outside the file.
        """
        unit, separator, _ = http_range.partition("=")
        if separator and unit.strip().lower() != "bytes":
            return []  # another unit has to be ignored
        try:
            return super()._parse_range_header(http_range, file_size)
        except MalformedRangeHeader:
            raise MalformedRange from None
        except RangeNotSatisfiable:
            raise UnsatisfiableRange(file_size) from None


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
        return Asset(ASSETS[name] / name, headers={"Cache-Control": "public, max-age=3600"})

    return router
