"""The header `Idempotency-Key`: a route takes one of the two types below and hands it to its use case.

Behavior and status codes are those of draft-ietf-httpapi-idempotency-key-header; the key is opaque here, so quotes are
a part of it. `Idempotent-Replayed` is the name that Stripe gave to the mark of a replayed answer.
"""

from typing import Annotated

from fastapi import Depends, Header, Request, Response
from fastapi.exceptions import RequestValidationError

from tidings.http.bearer import CurrentUser
from tidings.http.problems import raises
from tidings.idempotency.key import MAX_LENGTH, IdempotencyKey, IdempotencyKeyInUse, IdempotencyKeyReused

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
ANONYMOUS = "anonymous"

KeyText = Annotated[
    str | None,
    Header(
        alias=HEADER,
        min_length=1,
        max_length=MAX_LENGTH,
        pattern=r"^[!-~]*$",
        description=(
            "Makes it safe to send this request again, for 24 hours: with the same key and body it has one effect, and "
            f"the first answer comes again, marked `{REPLAYED}: true`. With another body it is 422; while the first "
            f"still runs, 409. Errors are not remembered. 1 to {MAX_LENGTH} visible ASCII characters: a new UUID for "
            "each new request. Sent once."
        ),
        examples=["8e03978e-40d5-43e8-bc93-6894a57f9324"],
    ),
]


@raises(IdempotencyKeyInUse, IdempotencyKeyReused)
async def _key_of_caller(
    request: Request, response: Response, caller: CurrentUser, text: KeyText = None
) -> IdempotencyKey | None:
    return await _key(request, response, str(caller.user_id), text)


@raises(IdempotencyKeyInUse, IdempotencyKeyReused)
async def _key_of_anybody(request: Request, response: Response, text: KeyText = None) -> IdempotencyKey | None:
    return await _key(request, response, ANONYMOUS, text)


CallersIdempotencyKey = Annotated[IdempotencyKey | None, Depends(_key_of_caller)]
"""The key of a signed-in caller, who never meets the keys of others."""

AnybodysIdempotencyKey = Annotated[IdempotencyKey | None, Depends(_key_of_anybody)]
"""The key of somebody who is not signed in; all these share one room."""


async def _key(request: Request, response: Response, caller: str, text: str | None) -> IdempotencyKey | None:
    if text is None:
        return None
    if len(request.headers.getlist(HEADER)) > 1:
        problem = {"type": "value_error", "loc": ("header", HEADER), "msg": "Send this header only once"}
        raise RequestValidationError([problem])

    def mark() -> None:
        response.headers[REPLAYED] = "true"

    return IdempotencyKey(
        value=text,
        caller=caller,
        operation=f"{request.method} {request.scope['path']}",
        request=request.scope["query_string"] + b"\n" + await request.body(),
        replayed=mark,
    )
