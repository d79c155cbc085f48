"""Bearer tokens: exactly those on the list of docs/security.md are believed; every other is refused in the same way."""

from typing import Any
from uuid import UUID

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from support.tokens import CASES, Case, Forge, encoded, now
from tidings.http import problems
from tidings.http.app import CALLER_ERRORS
from tidings.http.bearer import CurrentUser, NotAuthenticated, TokenVerifier
from tidings.http.remote_keys import RemoteKeys
from tidings.principal import Principal
from unit.fakes import EndedSessions, FixedKeys, client

USER = "018f0000-0000-7000-8000-000000000001"
SESSION = "018f0000-0000-7000-8000-000000000002"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
FORGE = Forge(KEY, "k1", USER, SESSION)


VERIFIER = TokenVerifier(FixedKeys({"k1": KEY.public_key()}), FORGE.issuer, FORGE.audience, EndedSessions())


async def test_a_good_token_says_who_is_calling() -> None:
    assert await VERIFIER.verify(FORGE.token()) == Principal(UUID(USER), "미나", "user", UUID(SESSION))


async def test_a_token_as_a_library_makes_it_is_believed() -> None:
    made = jwt.encode(FORGE.claims(role="admin"), KEY, algorithm="EdDSA", headers={"typ": "at+jwt", "kid": "k1"})
    assert (await VERIFIER.verify(made)).is_admin


async def test_that_a_token_has_expired_is_said() -> None:
    with pytest.raises(NotAuthenticated, match="expired"):
        await VERIFIER.verify(FORGE.token(exp=now(-7)))


async def test_a_good_token_of_a_session_that_has_ended_is_not_believed() -> None:
    ended = EndedSessions()
    strict = TokenVerifier(FixedKeys({"k1": KEY.public_key()}), FORGE.issuer, FORGE.audience, ended)
    live = FORGE.token()
    await strict.verify(live)
    ended.add(UUID(SESSION))
    with pytest.raises(NotAuthenticated, match="The session has ended; sign in again"):
        await strict.verify(live)
    await strict.verify(FORGE.token(sid=USER))


def test_no_two_cases_are_the_same() -> None:
    assert len({case.name for case in CASES}) == len({case.make(FORGE) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_exactly_the_tokens_on_the_list_are_accepted(case: Case) -> None:
    token = case.make(FORGE)
    if case.accepted:
        assert (await VERIFIER.verify(token)).user_id == UUID(USER)
        return
    with pytest.raises(NotAuthenticated) as caught:
        await VERIFIER.verify(token)
    assert str(caught.value)
    assert not token or token not in str(caught.value)
    assert caught.value.__cause__ is None


@given(
    st.text(max_size=200)
    | st.lists(st.binary(max_size=60), max_size=4).map(lambda parts: ".".join(map(encoded, parts)))
)
async def test_no_text_whatever_raises_anything_but_not_authenticated(text: str) -> None:
    with pytest.raises(NotAuthenticated):
        await VERIFIER.verify(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(FORGE.claims())), json_values)
async def test_no_signed_claim_whatever_raises_anything_but_not_authenticated(name: str, value: object) -> None:
    try:
        principal = await VERIFIER.verify(FORGE.token(**{name: value}))
    except NotAuthenticated:
        return
    assert isinstance(principal, Principal)


@given(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "jku", "x5c", "zip"]), json_values)
async def test_no_header_whatever_raises_anything_but_not_authenticated(name: str, value: object) -> None:
    try:
        principal = await VERIFIER.verify(FORGE.headed(**{name: value}))
    except NotAuthenticated:
        return
    assert principal.username == "미나"


def whoami_app() -> FastAPI:
    app = FastAPI()
    problems.install(app, CALLER_ERRORS)

    @app.get("/whoami")
    async def whoami(caller: CurrentUser) -> str:
        return caller.username

    return app


async def test_a_route_gets_its_caller() -> None:
    async with client(whoami_app(), verifier=VERIFIER) as http:
        answer = await http.get("/whoami", headers={"Authorization": f"Bearer {FORGE.token()}"})
    assert (answer.status_code, answer.json()) == (200, "미나")


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Basic bWluYTp4", "Bearer nonsense", b"Bearer \xff", "Token x"]
)
async def test_without_a_believed_token_the_answer_is_401(authorization: str | bytes | None) -> None:
    headers: dict[str, Any] = {} if authorization is None else {"Authorization": authorization}
    async with client(whoami_app(), verifier=VERIFIER) as http:
        answer = await http.get("/whoami", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["type"] == "urn:tidings:problem:not-authenticated"
    assert "nonsense" not in answer.text


async def test_a_token_is_not_taken_from_the_url() -> None:
    async with client(whoami_app(), verifier=VERIFIER) as http:
        answer = await http.get("/whoami", params={"access_token": FORGE.token(), "token": FORGE.token()})
    assert answer.status_code == 401


async def test_when_keys_cannot_be_had_the_answer_is_503_and_no_door_is_open() -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused: secret-host")

    keys = RemoteKeys("http://auth/keys", httpx.AsyncClient(transport=httpx.MockTransport(refuse)))
    without_keys = TokenVerifier(keys, FORGE.issuer, FORGE.audience, EndedSessions())
    async with client(whoami_app(), verifier=without_keys) as http:
        answer = await http.get("/whoami", headers={"Authorization": f"Bearer {FORGE.token()}"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "secret-host" not in answer.text
