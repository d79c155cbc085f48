"""JSON bodies: which bodies a route takes, and how strictly it reads them (RFC 8259)."""

import codecs
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers

from tidings.http.media_types import media_type_of
from tidings.http.problems import UnsupportedCoding, UnsupportedMediaType
from tidings.http.strict_json import parse_json

UTF_8 = ("utf-8", "utf8", "us-ascii")
"""Names of UTF-8 and of its subset ASCII. RFC 8259 defines no `charset`, but many clients send one."""

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class JsonRoute(APIRoute):
    """A route whose body is JSON in UTF-8 without a content coding.

    FastAPI's own reading takes UTF-16, `NaN` and names that occur twice, and ignores `charset` and `Content-Encoding`.
    """

    def get_route_handler(self) -> Handler:
        """Return the handler of a request, which refuses what is not JSON before it reads the body."""
        handle = super().get_route_handler()

        async def handle_json(request: Request) -> Response:
            _require_json(request.headers)
            return await handle(_JsonRequest(request.scope, request.receive))

        return handle if self.body_field is None else handle_json


class _JsonRequest(Request):
    async def json(self) -> Any:
        """Return the body; a byte order mark in front of it is ignored (RFC 8259 section 8.1)."""
        try:
            return parse_json((await self.body()).removeprefix(codecs.BOM_UTF8))
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from None  # what FastAPI expects


def _require_json(headers: Headers) -> None:
    codings = ",".join(headers.getlist("content-encoding")).lower().split(",")
    if any(coding.strip() not in ("", "identity") for coding in codings):
        raise UnsupportedCoding
    named = media_type_of(headers.getlist("content-type"))
    if named is None:
        raise UnsupportedMediaType
    kind, subtype, parameters = named
    is_json = kind == "application" and (subtype == "json" or subtype.endswith("+json"))
    if not is_json or parameters.get("charset", "utf-8") not in UTF_8:
        raise UnsupportedMediaType
