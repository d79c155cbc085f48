"""Auth's keys as other services know them: fresh, few calls, and there while auth is away."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from support.tokens import STRANGER, encoded
from tidings.http import remote_keys
from tidings.http.remote_keys import KeysUnavailable, RemoteKeys, parse_key_set

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
RAW_PUBLIC = KEY.public_key().public_bytes_raw()


def jwk(**changed: object) -> dict[str, object]:
    return {"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": encoded(RAW_PUBLIC)} | changed


def test_a_key_set_gives_its_ed25519_keys_by_name() -> None:
    found = parse_key_set({"keys": [jwk(), jwk(kid="k2", use="sig", alg="EdDSA")], "later": 1})
    assert list(found) == ["k1", "k2"]
    assert found["k1"].public_bytes_raw() == RAW_PUBLIC


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
        self._asked = asyncio.Event()

    def keys(self) -> RemoteKeys:
        return RemoteKeys("http://auth/keys", httpx.AsyncClient(transport=httpx.MockTransport(self._answer)))

    async def until_asked(self, times: int) -> None:
        while self.calls < times:
            self._asked.clear()
            await self._asked.wait()

    def _answer(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url) == "http://auth/keys"
        self.calls += 1
        self._asked.set()
        answer = self._answers[min(self.calls, len(self._answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(
            answer.status_code, stream=httpx.ByteStream(answer.content)
        )  # not read yet, as a real one


def published(*entries: dict[str, object]) -> httpx.Response:
    return httpx.Response(200, json={"keys": entries})


async def test_keys_are_fetched_once_and_then_remembered() -> None:
    server = KeyServer(published(jwk()))
    keys = server.keys()
    assert [await keys.find("k1") is not None for _ in range(5)] == [True] * 5
    assert server.calls == 1


async def test_an_unknown_key_asks_at_once_and_then_at_most_once_in_thirty_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = KeyServer(published(jwk()), published(jwk()), published(jwk(), jwk(kid="k2")))
    keys = server.keys()
    await keys.find("k1")
    assert [await keys.find("k2") for _ in range(10)] == [None] * 10
    assert server.calls == 2
    after(monkeypatch, remote_keys.REFETCH_SECONDS)
    assert await keys.find("k2") is not None
    assert [await keys.find("k3") for _ in range(10)] == [None] * 10
    assert server.calls == 3


async def test_fifty_callers_with_a_new_key_at_once_ask_once_and_all_get_it() -> None:
    server = KeyServer(published(jwk()), published(jwk(), jwk(kid="k2")))
    keys = server.keys()
    await keys.find("k1")
    assert None not in await asyncio.gather(*(keys.find("k2") for _ in range(50)))
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
        published(jwk(x=encoded(RAW_PUBLIC) + "=")),
        published(jwk(use="enc")),
        published(jwk(alg="ES256")),
        httpx.Response(200, content=b"[" * 60_000),
        httpx.Response(200, content=b" " * remote_keys.MAX_DOCUMENT + b'{"keys": []}'),
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
    after(monkeypatch, remote_keys.RETRY_SECONDS)
    assert await keys.find("k1") is not None
    await keys.check()
    assert server.calls == 2


async def test_a_failed_fetch_counts_towards_once_in_thirty_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    server = KeyServer(published(jwk()), httpx.ReadTimeout("slow"))
    keys = server.keys()
    await keys.find("k1")
    after(monkeypatch, remote_keys.REFETCH_SECONDS)
    for _ in range(10):
        with pytest.raises(KeysUnavailable):  # it may be a new key: nobody can say that it is none
            await keys.find("made up")
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


@contextlib.asynccontextmanager
async def kept_fresh(keys: RemoteKeys) -> AsyncIterator[None]:
    task = asyncio.create_task(keys.run())
    yield
    await keys.stop(task, 1)
    assert task.done()


async def test_a_key_that_auth_publishes_no_more_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_keys, "KEYS_MAX_AGE", 0.01)
    server = KeyServer(published(jwk(), jwk(kid="k2")), published(jwk(kid="k2")))
    keys = server.keys()
    async with kept_fresh(keys):
        await server.until_asked(3)
    assert await keys.find("k2") is not None
    assert await keys.find("k1") is None


async def test_the_known_keys_hold_while_auth_is_away_and_callers_do_not_wait_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("KEYS_MAX_AGE", "REFETCH_SECONDS"):
        monkeypatch.setattr(remote_keys, name, 0.01)
    server = KeyServer(published(jwk()), httpx.ConnectError("refused"), published())
    keys = server.keys()
    async with kept_fresh(keys):
        for calls in range(1, 6):
            await server.until_asked(calls)
            assert await keys.find("k1") is not None


async def test_a_service_that_started_before_auth_has_the_keys_soon_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_keys, "RETRY_SECONDS", 0.01)
    server = KeyServer(httpx.ConnectError("refused"), published(jwk()))
    keys = server.keys()
    async with kept_fresh(keys):
        await server.until_asked(2)
        await keys.check()
    assert server.calls == 2


def test_of_two_keys_with_one_name_the_first_counts() -> None:
    other = jwk(x=encoded(STRANGER.public_key().public_bytes_raw()))
    assert parse_key_set({"keys": [jwk(), other]})["k1"].public_bytes_raw() == RAW_PUBLIC


def test_of_very_many_keys_the_first_count() -> None:
    assert len(parse_key_set({"keys": [jwk(kid=f"k{number}") for number in range(1_000)]})) == remote_keys.MAX_KEYS
