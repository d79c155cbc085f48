"""Routes of the log consumer."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from tidings.http.bearer import CurrentUser
from tidings.http.pages import (
    NEXT_PAGE,
    BadCursor,
    Limit,
    Page,
    cursor_parameter,
    decode_cursor,
    encode_cursor,
    link_next,
)
from tidings.http.problems import raises
from tidings.http.state import from_state
from tidings_log_consumer.reading import KEY_LENGTH, Filter, Position, Reading
from tidings_log_consumer.schemas import Entry
from tidings_log_consumer.tables import TYPE_LENGTH

router = APIRouter(prefix="/api/logs", tags=["log"])

TraceId = Annotated[
    str | None,
    Query(
        pattern="^[0-9a-f]{32}$",
        description="only what this request caused: its X-Trace-Id",
        examples=["4bf92f3577b34da6a3ce929d0e0e4736"],
    ),
]
EventType = Annotated[
    str | None,
    Query(
        alias="type",
        max_length=TYPE_LENGTH,
        pattern="^[ -~]*$",  # MariaDB refuses to compare a column of ASCII with other text
        description="only events of this type; printable ASCII",
        examples=["message.created"],
    ),
]

CursorText = Annotated[str | None, cursor_parameter(KEY_LENGTH)]


@router.get("", summary="Read the log", responses=NEXT_PAGE)
@raises(BadCursor)
async def list_logs(
    request: Request,
    response: Response,
    caller: CurrentUser,
    reading: Annotated[Reading, from_state("reading")],
    trace_id: TraceId = None,
    event_type: EventType = None,
    limit: Limit = 20,
    cursor: CursorText = None,
) -> Page[Entry]:
    """Return the log, newest first: your own entries, or everybody's for an admin."""
    rows, following = await reading.newest(caller, Filter(trace_id, event_type), limit, _position(cursor))
    next_cursor = encode_cursor(following.to_bytes()) if following else None
    link_next(request, response, next_cursor)
    return Page(items=[Entry.model_validate(row) for row in rows], next_cursor=next_cursor)


def _position(cursor: str | None) -> Position | None:
    if cursor is None:
        return None
    try:
        return Position.from_bytes(decode_cursor(cursor, KEY_LENGTH))
    except OverflowError:
        raise BadCursor("The cursor is not one of this list; take next_cursor as it was given.") from None
