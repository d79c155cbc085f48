"""Routes of the messages service."""

from typing import Annotated

from fastapi import APIRouter, Request, Response

from tidings.http.bearer import CurrentUser
from tidings.http.idempotency import CallersIdempotencyKey
from tidings.http.json_bodies import JsonRoute
from tidings.http.pages import NEXT_PAGE, BadCursor, CursorText, Limit, Page, id_after, page_of
from tidings.http.problems import raises
from tidings.http.state import from_state
from tidings_messages.posting import Posting
from tidings_messages.reading import Reading
from tidings_messages.schemas import MESSAGE_ID, Message, NewMessage, PostedMessage

router = APIRouter(prefix="/api/messages", tags=["messages"], route_class=JsonRoute)


LOCATION = {
    "description": "path of the message",
    "schema": {"type": "string"},
    "example": f"/api/messages/{MESSAGE_ID}",
}


@router.post("", status_code=201, summary="Post a message", responses={201: {"headers": {"Location": LOCATION}}})
async def post_message(
    new: NewMessage,
    caller: CurrentUser,
    key: CallersIdempotencyKey,
    posting: Annotated[Posting, from_state("posting")],
    response: Response,
) -> PostedMessage:
    """Put a message on the board, in the name of whoever the access token speaks for."""
    posted = await posting.post(caller, new.message, key)
    response.headers["Location"] = f"{router.prefix}/{posted.message.id}"
    return PostedMessage(**vars(posted.message), event_id=posted.event_id, trace_id=posted.trace_id)


@router.get("", summary="List messages", responses=NEXT_PAGE)
@raises(BadCursor)
async def list_messages(
    request: Request,
    response: Response,
    reading: Annotated[Reading, from_state("reading")],
    limit: Limit = 20,
    cursor: CursorText = None,
) -> Page[Message]:
    """Return the board, newest first; everyone who is signed in reads all of it."""
    rows, next_id = await reading.newest(limit, id_after(cursor))
    return page_of([Message.model_validate(row) for row in rows], next_id, request, response)
