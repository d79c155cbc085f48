"""Bearer tokens: one good token passes; every other kind is refused in the same way."""

import asyncio
import base64
import contextlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from tidings.http import bearer, problems
from tidings.http.app import CALLER_ERRORS
from tidings.http.bearer import CurrentUser, KeysUnavailable, NotAuthenticated, RemoteKeys, TokenVerifier, parse_key_set
from tidings.principal import Principal
from unit.fakes import EndedSessions, FixedKeys, client

USER = "018f0000-0000-7000-8000-000000000001"
SESSION = "018f0000-0000-7000-8000-000000000002"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
RAW_PUBLIC = KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
VERIFIER = TokenVerifier(FixedKeys({"k1": KEY.public_key()}), "https://issuer", "tidings", EndedSessions())
GONE = object()


def encoded(part: object) -> str:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def claims(**changed: object) -> dict[str, object]:
    now = int(time.time())
    good: dict[str, object] = {
        "iss": "https://issuer",
        "aud": "tidings",
        "sub": USER,
        "sid": SESSION,
        "name": "미나",
        "role": "user",
        "iat": now,
        "exp": now + 300,
        "jti": "one",
    }
    return {name: value for name, value in (good | changed).items() if value is not GONE}


def header(**changed: object) -> dict[str, object]:
    good: dict[str, object] = {"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"}
    return {name: value for name, value in (good | changed).items() if value is not GONE}


def signed(head: object, body: object, key: Ed25519PrivateKey = KEY) -> str:
    """A token signed as it stands, whatever it says; a library would refuse to make some of these."""
    signing_input = f"{encoded(head)}.{encoded(body)}"
    return f"{signing_input}.{encoded(key.sign(signing_input.encode()))}"


def token(**changed: object) -> str:
    return signed(header(), claims(**changed))


def headed(**changed: object) -> str:
    return signed(header(**changed), claims())


def hs256_with_the_public_key() -> str:
    signing_input = f"{encoded(header(alg='HS256'))}.{encoded(claims())}"
    return f"{signing_input}.{encoded(hmac.digest(RAW_PUBLIC, signing_input.encode(), 'sha256'))}"


async def test_a_good_token_says_who_is_calling() -> None:
    assert await VERIFIER.verify(token()) == Principal(UUID(USER), "미나", "user", UUID(SESSION))


async def test_a_token_as_the_library_makes_it_is_believed() -> None:
    made = jwt.encode(claims(role="admin"), KEY, algorithm="EdDSA", headers={"typ": "AT+JWT", "kid": "k1"})
    assert (await VERIFIER.verify(made)).is_admin


async def test_clocks_may_differ_by_five_seconds() -> None:
    now = int(time.time())
    await VERIFIER.verify(token(exp=now - 2))
    await VERIFIER.verify(token(iat=now + 3))
    with pytest.raises(NotAuthenticated, match="expired"):
        await VERIFIER.verify(token(exp=now - 7))


async def test_a_good_token_of_a_session_that_has_ended_is_not_believed() -> None:
    ended = EndedSessions()
    verifier = TokenVerifier(FixedKeys({"k1": KEY.public_key()}), "https://issuer", "tidings", ended)
    live = token()
    await verifier.verify(live)
    ended.add(UUID(SESSION))
    with pytest.raises(NotAuthenticated, match="The session has ended; sign in again"):
        await verifier.verify(live)
    await verifier.verify(token(sid=USER))


BAD_TOKENS: dict[str, Callable[[], str]] = {
    "empty": lambda: "",
    "one part": lambda: "abc",
    "two parts": lambda: f"{encoded(header())}.{encoded(claims())}",
    "three dots": lambda: token() + ".",
    "only dots": lambda: "...",
    "only two dots": lambda: "..",
    "no base64": lambda: "!!!.???.***",
    "not ascii": lambda: "한글.한글.한글",
    "lone surrogate": lambda: "\ud800",
    "too long": lambda: token(name="x" * 5_000),
    "no signature": lambda: token().rpartition(".")[0] + ".",
    "half a signature": lambda: token()[:-40],
    "other payload": lambda: ".".join([token().split(".")[0], encoded(claims(role="admin")), token().split(".")[2]]),
    "signed by another key": lambda: signed(header(), claims(), STRANGER),
    "alg none": lambda: f"{encoded(header(alg='none'))}.{encoded(claims())}.",
    "alg none, signed": lambda: headed(alg="none"),
    "alg missing": lambda: headed(alg=GONE),
    "alg of wrong type": lambda: headed(alg=["EdDSA"]),
    "alg in other case": lambda: headed(alg="eddsa"),
    "HS256 with the public key": hs256_with_the_public_key,
    "typ missing": lambda: headed(typ=GONE),
    "typ JWT": lambda: headed(typ="JWT"),
    "typ of an id token": lambda: headed(typ="id_token+jwt"),
    "typ of wrong type": lambda: headed(typ=1),
    "kid missing": lambda: headed(kid=GONE),
    "kid unknown": lambda: headed(kid="k2"),
    "kid a number": lambda: headed(kid=1),
    "kid a list": lambda: headed(kid=["k1"]),
    "kid null": lambda: headed(kid=None),
    "crit": lambda: headed(crit=["exp"]),
    "crit with b64": lambda: headed(crit=["b64"], b64=False),
    "b64 false": lambda: headed(b64=False),
    "header a list": lambda: signed([], claims()),
    "header a number": lambda: signed(1, claims()),
    "header deep": lambda: signed(b"[" * 2_500, claims()),
    "header not utf-8": lambda: signed(b"\xff\xfe", claims()),
    "payload a list": lambda: signed(header(), []),
    "payload text": lambda: signed(header(), "claims"),
    "payload no json": lambda: signed(header(), b"{"),
    "payload not utf-8": lambda: signed(header(), b"\xff\xfe"),
    "payload deep": lambda: signed(header(), b"[" * 2_500),
    "expired": lambda: token(exp=int(time.time()) - 60),
    "exp text": lambda: token(exp=str(int(time.time()) + 60)),
    "exp a float": lambda: token(exp=time.time() + 60),
    "exp true": lambda: token(exp=True),
    "exp null": lambda: token(exp=None),
    "exp a list": lambda: token(exp=[int(time.time()) + 60]),
    "exp huge": lambda: token(exp=10**300),
    "exp just too large": lambda: token(exp=2**40),
    "exp infinite": lambda: token(exp=float("inf")),
    "exp no number": lambda: token(exp=float("nan")),
    "exp negative": lambda: token(exp=-1),
    "iat in the future": lambda: token(iat=int(time.time()) + 60),
    "iat text": lambda: token(iat="now"),
    "iat a float": lambda: token(iat=time.time() - 1),
    "nbf in the future": lambda: token(nbf=int(time.time()) + 60),
    "nbf infinite": lambda: token(nbf=float("inf")),
    "aud another": lambda: token(aud="others"),
    "aud a list": lambda: token(aud=["tidings"]),
    "aud null": lambda: token(aud=None),
    "iss another": lambda: token(iss="https://elsewhere"),
    "iss a list": lambda: token(iss=["https://issuer"]),
    "role unknown": lambda: token(role="root"),
    "role a list": lambda: token(role=["admin"]),
    "sub no uuid": lambda: token(sub="mina"),
    "sub a number": lambda: token(sub=1),
    "sub long": lambda: token(sub="0" * 2_000),
    "sid no uuid": lambda: token(sid="mina"),
    "name empty": lambda: token(name=""),
    "name long": lambda: token(name="x" * 65),
    "name a number": lambda: token(name=1),
    "jti a number": lambda: token(jti=1),
    **{f"no {name}": lambda name=name: token(**{name: GONE}) for name in claims()},  # type: ignore[misc]  # bound now
}


@pytest.mark.parametrize("make", BAD_TOKENS.values(), ids=BAD_TOKENS)
async def test_a_bad_token_is_refused(make: Callable[[], str]) -> None:
    bad = make()
    with pytest.raises(NotAuthenticated) as caught:
        await VERIFIER.verify(bad)
    assert str(caught.value)
    assert not bad or bad not in str(caught.value)
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


@given(st.sampled_from(sorted(claims())), json_values)
async def test_no_signed_claim_whatever_raises_anything_but_not_authenticated(name: str, value: object) -> None:
    try:
        principal = await VERIFIER.verify(token(**{name: value}))
    except NotAuthenticated:
        return
    assert isinstance(principal, Principal)


@given(st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "jku", "x5c", "zip"]), json_values)
async def test_no_header_whatever_raises_anything_but_not_authenticated(name: str, value: object) -> None:
    try:
        principal = await VERIFIER.verify(headed(**{name: value}))
    except NotAuthenticated:
        return
    assert principal.username == "미나"


def jwk(**changed: object) -> dict[str, object]:
    return {"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": encoded(RAW_PUBLIC)} | changed


def test_a_key_set_gives_its_ed25519_keys_by_name() -> None:
    found = parse_key_set({"keys": [jwk(), jwk(kid="k2", use="sig", alg="EdDSA")], "later": 1})
    assert list(found) == ["k1", "k2"]
    assert found["k1"].public_bytes(Encoding.Raw, PublicFormat.Raw) == RAW_PUBLIC


def test_keys_of_other_kinds_and_private_keys_are_passed_over() -> None:
    others = [
        {"kty": "RSA", "kid": "rsa", "n": "AQAB", "e": "AQAB"},
        {"kty": "EC", "crv": "P-256", "kid": "ec", "x": "AA", "y": "AA"},
        {"kty": "oct", "kid": "oct", "k": "c2VjcmV0"},
        {"kty": "OKP", "crv": "X25519", "kid": "x", "x": encoded(RAW_PUBLIC)},
        {"kty": "OKP", "kid": "no curve", "x": encoded(RAW_PUBLIC)},
        {},
        jwk(kid="private", d=encoded(bytes(range(32)))),
    ]
    assert list(parse_key_set({"keys": [*others, jwk()]})) == ["k1"]


class KeyServer:
    """Answers for auth's key set, and counts how often it is asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.calls = 0
        self._answers = answers

    def keys(self) -> RemoteKeys:
        return RemoteKeys("http://auth/keys", httpx.AsyncClient(transport=httpx.MockTransport(self._answer)))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "http://auth/keys"
        self.calls += 1
        answer = self._answers[min(self.calls, len(self._answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, content=answer.content)


def published(*entries: dict[str, object]) -> httpx.Response:
    return httpx.Response(200, json={"keys": entries})


async def test_keys_are_fetched_once_and_then_remembered() -> None:
    server = KeyServer(published(jwk()))
    keys = server.keys()
    assert [await keys.find("k1") is not None for _ in range(5)] == [True] * 5
    assert server.calls == 1


async def test_an_unknown_key_asks_again_at_most_once_in_thirty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    server = KeyServer(published(jwk()), published(jwk(), jwk(kid="k2")))
    keys = server.keys()
    await keys.find("k1")
    assert [await keys.find("k2") for _ in range(10)] == [None] * 10
    assert server.calls == 1
    later = time.monotonic() + bearer.REFETCH_SECONDS
    with monkeypatch.context() as patched:
        patched.setattr(time, "monotonic", lambda: later)
        assert await keys.find("k2") is not None
        assert [await keys.find("k3") for _ in range(10)] == [None] * 10
    assert server.calls == 2


async def test_fifty_callers_at_once_ask_once() -> None:
    server = KeyServer(published(jwk()))
    keys = server.keys()
    assert None not in await asyncio.gather(*(keys.find("k1") for _ in range(50)))
    assert server.calls == 1


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.Response(500),
        httpx.Response(404, json={"keys": []}),
        httpx.Response(302, headers={"location": "http://elsewhere"}),
        httpx.Response(200, content=b"<html>"),
        httpx.Response(200, content=b"\xff\xfe"),
        httpx.Response(200, json={}),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"keys": None}),
        published(jwk(x="AA")),
        published(jwk(x=1)),
        published(jwk(kid=["k1"])),
    ],
    ids=repr,
)
async def test_keys_that_cannot_be_had_are_said_to_be_unavailable(answer: httpx.Response | Exception) -> None:
    keys = KeyServer(answer).keys()
    with pytest.raises(KeysUnavailable, match="http://auth/keys"):
        await keys.find("k1")
    with pytest.raises(KeysUnavailable):
        await keys.check()


async def test_keys_known_before_auth_went_away_are_still_believed() -> None:
    keys = KeyServer(published(jwk()), httpx.ConnectError("refused")).keys()
    await keys.check()
    await keys.check()
    assert await keys.find("k1") is not None


def after(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    later = time.monotonic() + seconds
    monkeypatch.setattr(time, "monotonic", lambda: later)


async def test_after_a_failed_first_fetch_callers_are_told_so_for_a_second_without_a_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = KeyServer(httpx.ConnectError("refused"), published(jwk()))
    keys = server.keys()
    for _ in range(10):
        with pytest.raises(KeysUnavailable, match="http://auth/keys"):
            await keys.find("k1")
        with pytest.raises(KeysUnavailable, match="http://auth/keys"):
            await keys.check()
    assert server.calls == 1
    after(monkeypatch, bearer.RETRY_SECONDS)
    assert await keys.find("k1") is not None
    await keys.check()
    assert server.calls == 2


async def test_a_failed_fetch_counts_towards_once_in_thirty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    server = KeyServer(published(jwk()), httpx.ReadTimeout("slow"))
    keys = server.keys()
    await keys.find("k1")
    after(monkeypatch, bearer.REFETCH_SECONDS)
    for _ in range(10):
        with contextlib.suppress(KeysUnavailable):
            assert await keys.find("made up") is None
    assert server.calls == 2
    assert await keys.find("k1") is not None


@pytest.mark.parametrize("entry", [None, "text", 1, [], {"kid": None}])
async def test_an_entry_that_is_no_key_does_not_take_the_others_away(entry: object) -> None:
    keys = KeyServer(httpx.Response(200, json={"keys": [entry, jwk()]})).keys()
    assert await keys.find("k1") is not None


async def test_one_key_that_cannot_be_read_does_not_take_the_others_away() -> None:
    nameless = jwk()
    del nameless["kid"]
    assert await KeyServer(published(nameless, jwk(kid="cut", x="AA"), jwk())).keys().find("k1") is not None


def whoami_app() -> FastAPI:
    app = FastAPI()
    problems.install(app, CALLER_ERRORS)

    @app.get("/whoami")
    async def whoami(caller: CurrentUser) -> str:
        return caller.username

    return app


async def test_a_route_gets_its_caller() -> None:
    async with client(whoami_app(), verifier=VERIFIER) as http:
        answer = await http.get("/whoami", headers={"Authorization": f"Bearer {token()}"})
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
        answer = await http.get("/whoami", params={"access_token": token(), "token": token()})
    assert answer.status_code == 401


async def test_when_keys_cannot_be_had_the_answer_is_503_and_no_door_is_open() -> None:
    keys = KeyServer(httpx.ConnectError("refused: secret-host")).keys()
    verifier = TokenVerifier(keys, "https://issuer", "tidings", EndedSessions())
    async with client(whoami_app(), verifier=verifier) as http:
        answer = await http.get("/whoami", headers={"Authorization": f"Bearer {token()}"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "secret-host" not in answer.text
