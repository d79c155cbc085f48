"""Routes for people's own accounts and sessions."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from tidings.http.bearer import CurrentUser
from tidings.http.idempotency import CallersIdempotencyKey
from tidings.http.ids import Id
from tidings.http.json_bodies import JsonRoute
from tidings.http.pages import NEXT_PAGE, BadCursor, CursorText, Limit, Page, id_after, page_of
from tidings.http.problems import raises
from tidings.http.state import from_state
from tidings_auth.accounts import Account, Accounts, NoSuchAccount
from tidings_auth.administration import LastAdmin
from tidings_auth.clients import Caller
from tidings_auth.passwords import HashingBusy
from tidings_auth.policy import allowed
from tidings_auth.profile import Profile, WrongPassword
from tidings_auth.schemas import SESSION_ID, Confirmation, PasswordChange, Session, User
from tidings_auth.sessions import NoSuchSession, Sessions
from tidings_auth.settings import PasswordSettings
from tidings_auth.throttle import TooManyAttempts

router = APIRouter(tags=["accounts"], route_class=JsonRoute)

ProfilePart = Annotated[Profile, from_state("profile")]
SessionsPart = Annotated[Sessions, from_state("sessions")]
SessionId = Annotated[Id, Path(description="one of `GET /api/sessions`", examples=[SESSION_ID])]


@router.get("/api/me", summary="Who am I", response_model=User)
@raises(NoSuchAccount)
async def get_me(caller: CurrentUser, accounts: Annotated[Accounts, from_state("accounts")]) -> Account:
    """Return the account that the access token speaks for."""
    return await accounts.profile(caller.user_id)


@router.patch("/api/me/password", status_code=204, summary="Change my password")
@raises(TooManyAttempts, WrongPassword, NoSuchAccount, HashingBusy)
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
    await profile.change_password(caller, change.current_password.get_secret_value(), new, client, key)


@router.delete("/api/me", status_code=204, summary="Delete my account")
@raises(TooManyAttempts, WrongPassword, LastAdmin, NoSuchAccount, HashingBusy)
async def delete_me(confirmation: Confirmation, caller: CurrentUser, client: Caller, profile: ProfilePart) -> None:
    """Delete the account. This cannot be undone.

    Every session ends. The username stays taken: nobody can register it again, not even the same person.
    """
    await profile.delete(caller, confirmation.password.get_secret_value(), client)


@router.get("/api/sessions", summary="Where am I signed in", responses=NEXT_PAGE)
@raises(BadCursor)
async def list_sessions(
    request: Request,
    response: Response,
    caller: CurrentUser,
    sessions: SessionsPart,
    limit: Limit = 20,
    cursor: CursorText = None,
) -> Page[Session]:
    """Return the caller's live sessions, newest first."""
    listed, next_id = await sessions.of(caller.user_id, limit, id_after(cursor))
    items = [
        Session(**row._mapping, current=row.id == caller.session_id, refreshable=refreshable)
        for row, refreshable in listed
    ]
    return page_of(items, next_id, request, response)


@router.delete("/api/sessions/{session_id}", status_code=204, summary="End a session")
@raises(NoSuchSession)
async def end_session(session_id: SessionId, caller: CurrentUser, sessions: SessionsPart) -> None:
    """Sign out one of the caller's sessions, this one or another."""
    await sessions.end(caller, session_id)


@router.delete("/api/sessions", status_code=204, summary="End all other sessions")
@raises(NoSuchAccount)
async def end_other_sessions(caller: CurrentUser, sessions: SessionsPart) -> None:
    """Sign out everywhere but here."""
    await sessions.end_others(caller)
