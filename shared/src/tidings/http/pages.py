"""Pages: keyset paging with opaque cursors, the same for every list."""

import base64
import binascii
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Query, Request, Response
from pydantic import BaseModel, Field

T = TypeVar("T")

Limit = Annotated[int, Query(ge=1, le=100, description="how many items a page has at most", examples=[20])]

NEXT_PAGE: dict[int | str, dict[str, Any]] = {
    200: {
        "headers": {
            "Link": {
                "description": "the next page (RFC 8288), unless this is the last one",
                "schema": {"type": "string"},
                "example": '</api/things?limit=20&cursor=AZrk3w>; rel="next"',
            }
        }
    }
}
"""The `responses` of an operation that answers a page."""


class BadCursor(Exception):
    """The cursor was not made by this list."""


class Page(BaseModel, Generic[T]):
    """Some items of a list, and where the list goes on."""

    items: list[T]
    next_cursor: str | None = Field(description="gives the next page; null on the last one", examples=["AZrk3w"])


def encode_cursor(key: bytes) -> str:
    """Return the opaque text for the sort key of a page's last item."""
    return base64.urlsafe_b64encode(key).decode().rstrip("=")


def decode_cursor(text: str, length: int) -> bytes:
    """Return the sort key in `text`.

    Raises:
        BadCursor: `text` is no cursor of a list whose key has `length` bytes.
    """
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise BadCursor("The cursor is not one of this list; take next_cursor as it was given.") from None
    if len(key) != length or encode_cursor(key) != text:
        raise BadCursor("The cursor is not one of this list; take next_cursor as it was given.")
    return key


def cursor_parameter(key_length: int) -> Any:
    """Return what describes the parameter `cursor` of a list whose sort key has `key_length` bytes.

    The limits are only documented: `decode_cursor` enforces them, since a wrong cursor is a `BadCursor` of its own.
    """
    length = len(encode_cursor(bytes(key_length)))
    # The last character's bits that belong to no byte are 0.
    last = {0: "[A-Za-z0-9_-]", 2: "[AEIMQUYcgkosw048]", 4: "[AQgw]"}[6 * length - 8 * key_length]
    limits = {"minLength": length, "maxLength": length, "pattern": f"^[A-Za-z0-9_-]{{{length - 1}}}{last}$"}
    return Query(
        description="`next_cursor` of the page before, as it was given; none for the first page",
        examples=[encode_cursor(bytes(range(key_length)))],
        json_schema_extra=limits,
    )


ID_LENGTH = 16

CursorText = Annotated[str | None, cursor_parameter(ID_LENGTH)]
"""The cursor of a list that is ordered by id."""


def id_after(cursor: str | None) -> UUID | None:
    """Return the id that a page of a list ordered by id goes on after; `None` for the first page.

    Raises:
        BadCursor: it is no cursor of such a list.
    """
    return UUID(bytes=decode_cursor(cursor, ID_LENGTH)) if cursor is not None else None


def page_of(items: list[T], next_id: UUID | None, request: Request, response: Response) -> Page[T]:
    """Return a page of a list ordered by id, and name the next one in its `Link` header too."""
    next_cursor = encode_cursor(next_id.bytes) if next_id else None
    link_next(request, response, next_cursor)
    return Page(items=items, next_cursor=next_cursor)


def link_next(request: Request, response: Response, cursor: str | None) -> None:
    """Name the next page in the `Link` header (RFC 8288) too."""
    if cursor:
        url = request.url.include_query_params(cursor=cursor)
        response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
