"""Routes of the auth service."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError

from tidings.http.bearer import CurrentUser
from tidings.http.problems import documented
from tidings.http.state import from_state
from tidings_auth.accounts import Account, Accounts
from tidings_auth.passwords import check_policy
from tidings_auth.schemas import AccessToken, Credentials, KeySet, NewAccount, User
from tidings_auth.sessions import Sessions
from tidings_auth.settings import PasswordSettings
from tidings_auth.tokens import TokenIssuer

KEYS_MAX_AGE = 300

public = APIRouter(tags=["accounts"])
router = APIRouter(tags=["accounts"])


@public.post("/api/register", status_code=201, summary="Make an account", responses=documented(400, 409, 413, 415))
async def register(
    new: NewAccount,
    accounts: Annotated[Accounts, from_state("accounts")],
    policy: Annotated[PasswordSettings, from_state("password_policy")],
) -> User:
    """Make an account; then sign in with it."""
    password = new.password.get_secret_value()
    try:
        check_policy(password, new.username, policy.min_length)
    except ValueError as error:
        problem = {"type": "value_error", "loc": ("body", "password"), "msg": str(error)}
        raise RequestValidationError([problem]) from None
    return User.model_validate(await accounts.register(new.username, password))


@public.post("/api/login", summary="Sign in", responses=documented(400, 401, 413, 415, 429))
async def login(
    request: Request,
    credentials: Credentials,
    sessions: Annotated[Sessions, from_state("sessions")],
    issuer: Annotated[TokenIssuer, from_state("issuer")],
) -> AccessToken:
    """Start a session and answer an access token for it."""
    password = credentials.password.get_secret_value()
    principal = await sessions.log_in(credentials.username, password, client_address(request))
    return AccessToken(access_token=issuer.issue(principal), expires_in=issuer.lifetime, username=principal.username)


def client_address(request: Request) -> str:
    """Return the address of the client; empty when it has none, as behind a Unix socket."""
    named: str | None = request.scope.get("tidings.client")
    return named or (request.client.host if request.client else "")


@public.get("/.well-known/jwks.json", summary="Keys that verify access tokens")
async def key_set(response: Response, issuer: Annotated[TokenIssuer, from_state("issuer")]) -> KeySet:
    """Return the public keys; cache them."""
    response.headers["Cache-Control"] = f"public, max-age={KEYS_MAX_AGE}"
    return KeySet.model_validate(issuer.key_set())


@router.get("/api/me", summary="Who am I", responses=documented(404), response_model=User)
async def me(caller: CurrentUser, accounts: Annotated[Accounts, from_state("accounts")]) -> Account:
    """Return the account that the access token speaks for."""
    return await accounts.profile(caller.user_id)
