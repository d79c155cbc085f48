"""Answers without content: those to HEAD, and 304 to clients that have the content (RFC 9110 sections 9.3.2 and 13)."""

from email.utils import parsedate_to_datetime

from starlette.datastructures import Headers
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OF_CONTENT = {b"accept-ranges", b"content-length", b"content-range", b"content-type"}
"""Headers that describe a content that a 304 does not have."""

_static_files = StaticFiles()
"""Starlette's, for its reading of `If-None-Match` and `If-Modified-Since`; it serves nothing."""


class Head:
    """Answers HEAD as GET would be answered, without the content (RFC 9110 section 9.3.2).

    Only GET knows ranges (section 14.2), so `Range` is removed.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def without_content(message: Message) -> None:
            scope["method"] = "HEAD"  # the server looks at it when the answer begins
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        scope["method"] = "GET"
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"range"]
        try:
            await self.app(scope, receive, without_content)
        finally:
            scope["method"] = "HEAD"


class NotModified:
    """Answers 304 when the client has what it would be sent (RFC 9110 section 13.2.2).

    Only an answer with an `ETag` is looked at. Headers that do not describe the content stay: a browser takes those of
    the 304 over, `Content-Security-Policy` too.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        unchanged = False

        async def unless_modified(message: Message) -> None:
            nonlocal unchanged
            if message["type"] == "http.response.start":
                unchanged = message["status"] in (200, 206) and _client_has(Headers(raw=message["headers"]), scope)
                if unchanged:
                    kept = [(name, value) for name, value in message["headers"] if name not in OF_CONTENT]
                    message = {**message, "status": 304, "headers": kept}
            elif unchanged:
                message = {**message, "body": b""}
            await send(message)

        await self.app(scope, receive, unless_modified)


def _client_has(answer: Headers, scope: Scope) -> bool:
    if "etag" not in answer:
        return False
    sent = Headers(scope=scope)
    conditions = {name: ",".join(sent.getlist(name)) for name in ("if-none-match", "if-modified-since") if name in sent}
    if not _is_date(conditions.get("if-modified-since", "")):
        conditions.pop("if-modified-since", None)  # RFC 9110 section 13.1.3: to be ignored
    return _static_files.is_not_modified(answer, Headers(conditions))


def _is_date(text: str) -> bool:
    try:
        parsedate_to_datetime(text)
    except ValueError:
        return False
    return True
