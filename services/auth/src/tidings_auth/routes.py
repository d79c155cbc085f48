"""Routes that anybody may call: registering, and getting in and out."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response, Security
from fastapi.security import APIKeyCookie

from tidings.http.bearer import AmbiguousCredentials, CallerIfBelieved, NotAuthenticated
from tidings.http.idempotency import AnybodysIdempotencyKey
from tidings.http.json_bodies import JsonRoute
from tidings.http.media_types import asks_for
from tidings.http.problems import raises
from tidings.http.remote_keys import KEYS_MAX_AGE
from tidings.http.state import from_state
from tidings_auth.authentication import WrongCredentials
from tidings_auth.clients import Caller
from tidings_auth.cookies import CLIENT_HEADER, NAME, CrossSite, RefreshCookie
from tidings_auth.name_throttle import TooManyTakenNames
from tidings_auth.passwords import HashingBusy
from tidings_auth.policy import allowed
from tidings_auth.registration import Registration, UsernameTaken
from tidings_auth.rotation import RotatedTooOften, TokenLost, TokenReused, UnknownToken
from tidings_auth.schemas import AccessToken, Credentials, KeySet, NewAccount, SignedOut, User
from tidings_auth.sessions import AccountDisabled, Sessions, SignedIn
from tidings_auth.settings import PasswordSettings
from tidings_auth.throttle import TooManyAttempts
from tidings_auth.tokens import TokenIssuer

router = APIRouter(tags=["accounts"], route_class=JsonRoute)

_cookie = APIKeyCookie(
    name=f"__Secure-{NAME}",
    scheme_name="refresh-cookie",
    description=f"Set by `POST /api/login`. A call that is made with it needs the header `{CLIENT_HEADER}` too.",
    auto_error=False,
)


def _set_cookie(description: str, value: str, max_age: int) -> dict[str, Any]:
    example = f"__Secure-{NAME}={value}; HttpOnly; Max-Age={max_age}; Path=/api/refresh; SameSite=strict; Secure"
    header = {"description": description, "schema": {"type": "string"}, "example": example}
    return {"headers": {"Set-Cookie": header}}


COOKIE_SET = _set_cookie(
    "the refresh token, once for `/api/refresh` and once for `/api/logout`; without TLS, in development only, its "
    f"name is `{NAME}` and it is not `Secure`",
    "AZgNKx9qfESOArOp1cfmEA…",
    2_592_000,
)
COOKIE_CLEARED = _set_cookie("has the client forget the refresh token", '""', 0)


@raises(CrossSite, AmbiguousCredentials)
async def carried_by_cookie(
    cookie: Annotated[str | None, Security(_cookie)],
    client: Annotated[
        str | None,
        Header(
            alias=CLIENT_HEADER,
            description="any value: that it is there tells that the call comes from no page of another site",
            openapi_examples={"any": {"value": "my-script/1.0"}},
        ),
    ] = None,
) -> None:
    """Document a call that a refresh cookie authorizes; `RefreshCookie` checks it."""


CookiePart = Annotated[RefreshCookie, from_state("cookie")]
IssuerPart = Annotated[TokenIssuer, from_state("issuer")]
SessionsPart = Annotated[Sessions, from_state("sessions")]


@router.post("/api/register", status_code=201, summary="Make an account")
@raises(TooManyTakenNames, UsernameTaken, HashingBusy)
async def register(
    new: NewAccount,
    client: Caller,
    key: AnybodysIdempotencyKey,
    registration: Annotated[Registration, from_state("registration")],
    policy: Annotated[PasswordSettings, from_state("password_policy")],
) -> User:
    """Make an account; then sign in with it. The username of a deleted account stays taken."""
    password = allowed(new.password, new.username, policy, "password")
    return User.model_validate(await registration.register(new.username, password, key, address=client.address))


@router.post("/api/login", summary="Sign in", responses={200: COOKIE_SET})
@raises(TooManyAttempts, WrongCredentials, AccountDisabled, HashingBusy)
async def login(
    credentials: Credentials,
    response: Response,
    client: Caller,
    sessions: SessionsPart,
    issuer: IssuerPart,
    cookie: CookiePart,
) -> AccessToken:
    """Start a session: the answer is an access token, and a cookie that gives the next one.

    An unknown username and a wrong password are answered alike.
    """
    signed_in = await sessions.log_in(credentials.username, credentials.password.get_secret_value(), client)
    return _answer(signed_in, response, issuer, cookie)


@router.post(
    "/api/refresh",
    summary="Get the next access token",
    responses={200: COOKIE_SET},
    dependencies=[Depends(carried_by_cookie)],
)
@raises(NotAuthenticated, UnknownToken, TokenLost, TokenReused, RotatedTooOften)
async def refresh(
    request: Request,
    response: Response,
    client: Caller,
    sessions: SessionsPart,
    issuer: IssuerPart,
    cookie: CookiePart,
) -> AccessToken:
    """Spend the refresh cookie for a new access token and the next cookie.

    The call may be repeated for 30 seconds, when its answer was lost or another tab was faster. A cookie that comes
    back later has been copied: its session ends.
    """
    token = cookie.read(request)
    if token is None:
        raise NotAuthenticated("Sign in first: there is no refresh cookie.")
    return _answer(await sessions.refresh(token, client), response, issuer, cookie)


@router.post(
    "/api/logout",
    status_code=204,
    summary="Sign out",
    responses={
        200: {"model": SignedOut, "description": "the same, asked for as JSON", **COOKIE_CLEARED},
        204: COOKIE_CLEARED,
    },
    dependencies=[Depends(carried_by_cookie)],
)
@raises(NotAuthenticated)
async def logout(request: Request, caller: CallerIfBelieved, sessions: SessionsPart, cookie: CookiePart) -> Response:
    """End this session now, everywhere: that of the refresh cookie, or of the access token.

    With `Accept: application/json` the answer is 200 and `{"status": "success"}`.
    """
    try:
        token = cookie.read(request)
        carried = token is not None
    except UnknownToken:
        token, carried = None, True  # it ends nothing, and is to be forgotten
    if caller is None and not carried:
        raise NotAuthenticated("There is no refresh cookie and no access token, so no session to end.")
    if caller is not None:
        await sessions.log_out(caller.session_id)
    if token is not None:
        await sessions.log_out_with(token)
    response = _signed_out(request)
    cookie.clear(response)
    return response


@router.get("/.well-known/jwks.json", summary="Keys that verify access tokens")
async def get_keys(response: Response, issuer: IssuerPart) -> KeySet:
    """Return the public keys; cache them."""
    response.headers["Cache-Control"] = f"public, max-age={KEYS_MAX_AGE}"
    return KeySet.model_validate(issuer.key_set())


def _answer(signed_in: SignedIn, response: Response, issuer: TokenIssuer, cookie: RefreshCookie) -> AccessToken:
    cookie.set(response, signed_in.refresh_token, signed_in.expires - signed_in.at)
    token, seconds = issuer.issue(signed_in.principal, signed_in.at, signed_in.expires)
    return AccessToken(access_token=token, expires_in=seconds, username=signed_in.principal.username)


def _signed_out(request: Request) -> Response:
    if asks_for(request.headers.getlist("accept"), "application/json"):
        return Response(SignedOut().model_dump_json(), media_type="application/json")
    return Response(status_code=204)
