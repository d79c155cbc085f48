"""Text that people send: it comes back as it was sent, in every place that shows it."""

import base64
import json
import secrets
import unicodedata
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.instance import PASSWORD, Instance, running_instance
from support.tab import Tab, newcomer
from tidings.text import shows_something
from tidings_auth.usernames import folded, normalised
from tidings_local.backends import Backends

pytestmark = pytest.mark.asyncio(loop_scope="module")

FAMILY = "👩\u200d👩\u200d👧"
INVISIBLE = st.sampled_from("\u200b\u200c\u200d\u200e\u202e\u2066\u00ad\u034f\u3164\u115f\u2800\ufe0f\ufeff\U000e0067")
TEXTS = st.text(
    st.characters(exclude_categories=["Cs"]) | INVISIBLE | st.sampled_from(" \n\t\0👩🏻ㅋ각\u0301"), max_size=30
)
NAMES = st.text(
    st.characters(categories=["Lu", "Ll", "Lo", "Mn", "Nd"]) | st.sampled_from("ㅋㅠﾐＭﬁ²각ßİ"), max_size=12
)
SLOW = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def instance(shared_backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Instance]:
    """One instance for all tests of this module: each brings its own person."""
    async with running_instance(shared_backends, tmp_path_factory.mktemp("instance")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def me(instance: Instance) -> dict[str, str]:
    """The headers of somebody who is signed in."""
    return await instance.person()


async def post(instance: Instance, me: dict[str, str], text: str) -> httpx.Response:
    return await instance.http.post("/api/messages", json={"message": text}, headers=me)


async def newest(instance: Instance, me: dict[str, str]) -> dict[str, Any]:
    answer = await instance.http.get("/api/messages?limit=1", headers=me)
    message: dict[str, Any] = answer.json()["items"][0]
    return message


async def signed_in(instance: Instance, username: str) -> httpx.Response:
    return await instance.http.post("/api/login", json={"username": username, "password": PASSWORD})


@pytest.mark.parametrize(
    "text", ["\u3164", " \u3164\n", "\u200b\u2060", "\u2800", "\ufe0f", "\ufdd0\U0001fffe", "\u001b"], ids=ascii
)
async def test_message_that_shows_nothing_is_refused(instance: Instance, me: dict[str, str], text: str) -> None:
    spaces, answer = await post(instance, me, "  "), await post(instance, me, text)
    assert answer.status_code == spaces.status_code == 422
    assert answer.json()["errors"] == spaces.json()["errors"]
    assert "can be seen" in answer.json()["errors"][0]["detail"]


@settings(SLOW, max_examples=40)
@given(text=TEXTS)
async def test_accepted_message_comes_back_exactly(instance: Instance, me: dict[str, str], text: str) -> None:
    answer = await post(instance, me, text)
    assert answer.status_code == (201 if shows_something(text) and "\0" not in text.strip() else 422), ascii(text)
    if answer.status_code == 201:
        assert answer.json()["message"] == (await newest(instance, me))["message"] == text.strip()


@pytest.mark.parametrize(
    "text", [FAMILY, "❤\ufe0f", "می\u200cخواهم", "\u200fשלום\u200f", "ﬁn e\u0301 ㅋㅋㅋ"], ids=ascii
)
async def test_joiners_and_marks_in_a_message_stay(instance: Instance, me: dict[str, str], text: str) -> None:
    assert (await post(instance, me, text)).json()["message"] == text
    assert (await newest(instance, me))["message"] == text


async def test_username_is_shown_as_typed_everywhere(instance: Instance) -> None:
    name = "ㅋㅋㅋ" + secrets.token_hex(4)
    body = {"username": name, "password": PASSWORD}
    registered = await instance.http.post("/api/register", json=body)
    assert registered.json()["username"] == name
    assert (await instance.http.post("/api/register", json=body | {"username": name.upper()})).status_code == 409
    answer = await signed_in(instance, unicodedata.normalize("NFKC", name).upper())
    assert answer.json()["username"] == name
    token = answer.json()["access_token"]
    assert claims(token)["name"] == name
    me = {"Authorization": f"Bearer {token}"}
    assert (await instance.http.get("/api/me", headers=me)).json()["username"] == name
    posted = (await post(instance, me, "누구?")).json()
    assert posted["author"] == (await newest(instance, me))["author"] == name
    entries = await instance.until("/api/logs?limit=100", me, 5)
    assert {entry["username"] for entry in entries if entry["username"]} == {name}
    (created,) = [entry for entry in entries if entry["type"] == "message.created"]
    assert created["data"]["author"] == name


@settings(SLOW, max_examples=8)  # each sign-in costs a hash
@given(text=NAMES)
async def test_accepted_username_signs_in_by_every_spelling(instance: Instance, text: str) -> None:
    given_name = f"{text}{secrets.token_hex(6)}"
    registered = await instance.http.post("/api/register", json={"username": given_name, "password": PASSWORD})
    try:
        shown = normalised(given_name)
    except ValueError:
        assert registered.status_code == 422
        return
    assert (registered.status_code, registered.json()["username"]) == (201, shown)
    spellings = {unicodedata.normalize(form, shown) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    for spelling in {given_name, shown.casefold(), folded(shown), *spellings}:
        answer = await signed_in(instance, spelling)
        assert (answer.status_code, answer.json()["username"]) == (200, shown), ascii(spelling)


async def test_admin_finds_an_account_by_every_spelling(instance: Instance) -> None:
    name = "ㅋㅋㅋ" + secrets.token_hex(4)
    account = await instance.states["auth"]["registration"].register(name, PASSWORD, role="admin")
    me = await instance.sign_in(name)
    for spelling in (name, name.upper(), unicodedata.normalize("NFKC", name)):
        answer = await instance.http.get("/api/users", params={"username": spelling}, headers=me)
        assert [(user["id"], user["username"]) for user in answer.json()["items"]] == [(str(account.id), name)]


async def test_new_spelling_of_a_name_is_shown_from_the_next_refresh_on(instance: Instance) -> None:
    async with httpx.AsyncClient(base_url=instance.url, timeout=15) as http:
        tab = await newcomer(http)
        account = await instance.states["auth"]["accounts"].named(tab.username)
        await instance.states["auth"]["administration"].respell(account.id, tab.username.upper())
        assert (await tab.refresh()).json()["username"] == tab.username.upper()
        assert claims(tab.token)["name"] == tab.username.upper()
        entries = await instance.until("/api/logs?type=user.renamed", {"Authorization": f"Bearer {tab.token}"}, 1)
        assert [entry["username"] for entry in entries] == [tab.username.upper()]


async def test_password_is_verified_exactly_as_sent(instance: Instance) -> None:
    name, password = f"tester-{secrets.token_hex(4)}", "\u3164\u200b\ufeff ㅋ\u0301\u200d\u2800 "
    made = await instance.http.post("/api/register", json={"username": name, "password": password})
    assert made.status_code == 201
    others = [password.strip(), password.replace("\u200b", ""), unicodedata.normalize("NFKC", password)]
    for attempt, status in [(password, 200), *((other, 401) for other in others)]:
        answer = await instance.http.post("/api/login", json={"username": name, "password": attempt})
        assert answer.status_code == status, ascii(attempt)


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("내 전화기 📱".encode(), "내 전화기 📱"),
        ("Müller's phone".encode("latin-1"), "Müller's phone"),
        ("safe\u202egnp.exe\u2028\u0085\u200b\u3164 x".encode(), "safegnp.exe x"),
        (b"\xff\\x41", "ÿ\\x41"),
        ("📱".encode() * 300, "📱" * 255),
        ("\u200b".encode(), ""),
    ],
    ids=["UTF-8", "Latin-1", "controls", "escape", "long", "invisible"],
)
async def test_user_agent_is_listed_as_one_readable_line(instance: Instance, sent: bytes, shown: str) -> None:
    async with httpx.AsyncClient(base_url=instance.url, timeout=15, headers={b"User-Agent": sent}) as http:
        tab = await newcomer(http)
        assert (await device(tab)) == shown
        assert (await tab.refresh()).status_code == 200
        assert (await device(tab)) == shown


async def device(tab: Tab) -> str:
    (session,) = (await tab.call("GET", "/api/sessions")).json()["items"]
    return str(session["device"])


def claims(token: str) -> Any:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
