"""Routes for people's own accounts and sessions."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request, Response

from tidings.http.bearer import CurrentUser
from tidings.http.idempotency import CallersIdempotencyKey
from tidings.http.pages import CursorText, Limit, Page, id_after, page_of
from tidings.http.problems import documented
from tidings.http.state import from_state
from tidings_auth.accounts import Account, Accounts
from tidings_auth.clients import Caller
from tidings_auth.policy import allowed
from tidings_auth.profile import Profile
from tidings_auth.schemas import Confirmation, PasswordChange, Session, User
from tidings_auth.sessions import Sessions
from tidings_auth.settings import PasswordSettings

router = APIRouter(tags=["accounts"])

ProfilePart = Annotated[Profile, from_state("profile")]
SessionsPart = Annotated[Sessions, from_state("sessions")]


@router.get("/api/me", summary="Who am I", responses=documented(404), response_model=User)
async def me(caller: CurrentUser, accounts: Annotated[Accounts, from_state("accounts")]) -> Account:
    """Return the account that the access token speaks for."""
    return await accounts.profile(caller.user_id)


@router.patch(
    "/api/me/password",
    status_code=204,
    summary="Change my password",
    responses=documented(400, 403, 404, 409, 413, 415, 429),
)
async def change_password(
    change: PasswordChange,
    caller: CurrentUser,
    client: Caller,
    key: CallersIdempotencyKey,
    profile: ProfilePart,
    policy: Annotated[PasswordSettings, from_state("password_policy")],
) -> None:
    """Take another password; every other session ends."""
    new = allowed(change.new_password, caller.username, policy, "new_password")
    await profile.change_password(caller, change.current_password.get_secret_value(), new, client.address, key)


@router.delete(
    "/api/me", status_code=204, summary="Delete my account", responses=documented(400, 403, 404, 409, 413, 415, 429)
)
async def delete_me(confirmation: Confirmation, caller: CurrentUser, client: Caller, profile: ProfilePart) -> None:
    """Delete the account: every session ends, and the username is free again. This cannot be undone."""
    await profile.delete(caller, confirmation.password.get_secret_value(), client.address)


@router.get("/api/sessions", summary="Where am I signed in", responses=documented(400))
async def list_sessions(
    request: Request,
    response: Response,
    caller: CurrentUser,
    sessions: SessionsPart,
    limit: Limit = 20,
    cursor: CursorText = None,
) -> Page[Session]:
    """Return the caller's live sessions, newest first."""
    rows, next_id = await sessions.of(caller.user_id, limit, id_after(cursor))
    items = [Session(**row._mapping, current=row.id == caller.session_id) for row in rows]
    return page_of(items, next_id, request, response)


@router.delete("/api/sessions/{session_id}", status_code=204, summary="End a session", responses=documented(404))
async def end_session(session_id: UUID, caller: CurrentUser, sessions: SessionsPart) -> None:
    """Sign out one of the caller's sessions, this one or another."""
    await sessions.end(caller, session_id)


@router.delete("/api/sessions", status_code=204, summary="End all other sessions")
async def end_other_sessions(caller: CurrentUser, sessions: SessionsPart) -> None:
    """Sign out everywhere but here."""
    await sessions.end_others(caller)
