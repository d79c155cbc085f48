"""JSON bodies: which bodies a route takes, and how strictly it reads them (RFC 8259)."""

import codecs
import json
import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers

from tidings.events.record import media_type
from tidings.http.problems import UnsupportedCoding, UnsupportedMediaType
from tidings.http.strict_json import parse_json

JSON_TYPE = re.compile(r"application/([a-z0-9!#$&^_.-]+\+)*json")

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
    types = headers.getlist("content-type")
    if len(types) != 1 or not JSON_TYPE.fullmatch(media_type(types[0]) or ""):
        raise UnsupportedMediaType
