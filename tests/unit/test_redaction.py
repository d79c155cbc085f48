"""Redaction: what is a secret and what is not, decided once, at any depth, in linear time."""

import json
import random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.events import CATALOGUE, ApiRequest, Event, EventData, decode, encode, uuid7
from tidings.events.redaction import REDACTED, _may_hide, _redact, is_secret, redact_json, redact_text, redact_value
from unit.test_codec import DATA

SECRET_NAMES = """
    password Password PASSWORD passwd pwd pass passphrase passcode password2 password_hash passwordConfirmation
    passwordConfirm password_again new_password db_pass dbPassword POSTGRES_PASSWORD user.password
    token tokens access_token accessToken accesstoken ACCESS-TOKEN refresh_token id_token csrftoken X-CSRF-Token
    x-amz-security-token OAuth2Token token_value tokenHash
    secret secrets client_secret clientSecret CLIENT_SECRET secret_key app.secret
    authorization Authorization Proxy-Authorization authorization_header
    cookie cookies Cookie Set-Cookie set_cookie session_cookie sessionCookie cookie_value DB_PWD
    api_key apiKey APIKey X-Api-Key apikeys private_key privateKey access_key signing_key encryption-key secretKey
    credential credentials cvv cvc jwt
"""

HARMLESS_NAMES = """
    token_count token_type token_url token_expires_at tokenizer max_tokens total_tokens num_tokens min_token
    secretary secret_name secret_version secretariat cookie_policy_version cookie_name cookies_accepted
    password_changed password_changed_at password_length has_password_expired passport compass bypass passing
    authorized author authority authorization_url authentication auth
    key keyboard monkey partition_key idempotency_key public_key primary_key messaging.kafka.message.key key_id
    credential_id session session_id sid user_id username status route method client request_id
"""

JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
PEM = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQ\n-----END PRIVATE KEY-----"
CARDS = """
    4111111111111111 4222222222222 5500000000000004 2223003122003222 378282246310005 30569309025904 6011111111111117
    3530111333300000 6304000000000000 4000000000000000006
"""

SECRET_TEXTS = [
    "Bearer abc.def-ghi",
    "bearer  c2VjcmV0",
    "sent Authorization of Basic bWluYTptaW5h today",
    JWT,
    f"got {JWT}, thanks",
    PEM,
    PEM.replace("PRIVATE", "RSA PRIVATE"),
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nand no end",
    *CARDS.split(),
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "card 4111111111111111.",
    "3782 822463 10005 on 12 27",
    "1234 4111 1111 1111 1111",
    "mysql://tidings:pa55@127.0.0.1/db",
    "https://ghp_abc@github.com/x",
    "/reset?token=abc",
    "https://x/?page=2&access_token=abc",
    "/login?user=mina&password=correct%20horse",
    "password: hunter2",
    "max password=hunter2",
    "Invalid API key: abc",
    "Cookie: a=b; c=d",
    "[(b'cookie', b'a=b')]",
    "{'password': 'x'}",
    '{"user": {"password": "x"}}',
    json.dumps(json.dumps({"client_secret": {"deep": 1}})),
    "name=a\npwd=b",
]

HARMLESS_TEXTS = [
    "",
    "mina",
    "안녕하세요",
    "/api/messages/{id}",
    "/api/messages?limit=20&cursor=eyJ9",
    "the bearer of news",
    "the token is missing",
    "token_count=3, tokens",
    "password:",
    "https://tidings.test/a@b",
    "mina@tidings.test",
    "4111111111111112",
    "41111111111111111111",
    "x4111111111111111",
    "4111111111111111a",
    "411111111111",
    "1767225600000",
    "1767225600000000000",
    "20260102030405678",
    "0.4111111111111111",
    "+49 30 901820",
    "2026-01-02 03:04:05",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "01ARZ3NDEKTSV4RRFFQ69G5FAV",
    "-----BEGIN PUBLIC KEY-----\nMC4CAQAwBQ\n-----END PUBLIC KEY-----",
    REDACTED,
    f"/reset?token={REDACTED}",
]


@pytest.mark.parametrize("name", SECRET_NAMES.split())
def test_a_value_under_a_secret_name_is_redacted_whole(name: str) -> None:
    assert is_secret(name)
    for value in ("x", 1, 1.5, ["x"], {"deep": {"er": "x"}}):
        assert redacted({"list": [{name: value, "kept": "x"}]}) == ({"list": [{name: REDACTED, "kept": "x"}]}, 1)


@pytest.mark.parametrize("name", HARMLESS_NAMES.split())
def test_a_value_under_another_name_is_kept(name: str) -> None:
    assert not is_secret(name)
    assert redacted({name: "x", "password": 1}) == ({name: "x", "password": REDACTED}, 1)


@pytest.mark.parametrize("value", [None, True, False, "", REDACTED])
def test_what_cannot_be_a_secret_is_kept_under_any_name(value: Any) -> None:
    assert redacted({"password": value}) == ({"password": value}, 0)


@pytest.mark.parametrize("text", SECRET_TEXTS)
def test_a_string_with_a_secret_in_it_is_redacted_whole(text: str) -> None:
    assert redact_value(text) == REDACTED
    assert redacted([[{"note": text}]]) == ([[{"note": REDACTED}]], 1)
    (name,) = redacted({text: True})[0]
    assert name == REDACTED


@pytest.mark.parametrize("text", HARMLESS_TEXTS)
def test_a_string_without_a_secret_is_kept(text: str) -> None:
    assert redact_value(text) == text
    assert redact_text(text) == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"a {JWT} b", f"a {REDACTED} b"),
        (f"a\n{PEM}\nb", f"a\n{REDACTED}\nb"),
        ("paid by 4111 1111 1111 1111 today", f"paid by {REDACTED} today"),
        ("to mysql://u:p@host/db failed", f"to mysql://{REDACTED}@host/db failed"),
        ("GET /x?token=abc HTTP/1.1\nHost: x", f"GET /x?token={REDACTED}\nHost: x"),
        ("Set-Cookie: a=b; Path=/\nAge: 1", f"Set-Cookie: {REDACTED}\nAge: 1"),
    ],
)
def test_running_text_keeps_what_is_no_secret(text: str, kept: str) -> None:
    assert redact_text(text) == kept
    assert redact_text(kept) == kept


def test_a_name_hidden_by_escapes_is_found() -> None:
    raw, found = redact_json(rb'{"\u0070assword": "x", "a": "\u0042earer abcdefgh"}')
    assert (json.loads(raw), found) == ({"password": REDACTED, "a": REDACTED}, 2)


def test_what_has_no_secret_is_returned_as_it_came() -> None:
    raw = b'{"a" : 1.50, "b": [ "key", 1e2 ]}'
    assert redact_json(raw) == (raw, 0)


def test_what_is_no_json_is_refused_only_where_a_closer_look_was_needed() -> None:
    with pytest.raises(ValueError, match="expected"):
        redact_json(b"password")


def test_depth_is_no_attack() -> None:
    """Deeper than JSON is read, and deeper than Python calls."""
    deep: Any = {"password": "x"}
    for _ in range(100_000):
        deep = [deep]
    assert _redact(deep, redact_value) == 1
    with pytest.raises(ValueError, match="recursion limit"):
        redact_json(b"[" * 100_000 + b'{"password": "x"}' + b"]" * 100_000)


def test_no_identifier_is_taken_for_a_card_number() -> None:
    digits = random.Random(7)
    for _ in range(100_000):
        made = str(UUID(int=digits.getrandbits(128)))
        assert redact_text(made) == made
    for text in ("01234567-4111-1111-1111-111111111111", str(uuid7()), "0" * 16 + "4111111111111111"):
        assert redact_text(text) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from((SECRET_NAMES + HARMLESS_NAMES).split()), inner)
    ),
)


@given(JSON)
def test_redacting_twice_finds_nothing_more(value: Any) -> None:
    once, _ = redacted(value)
    assert redacted(once) == (once, 0)


WORDS = st.sampled_from([*SECRET_TEXTS, *SECRET_NAMES.split(), "a", " ", "=", ":", "\n", "\\", "\t", "é"])
PIECES = st.lists(st.text(max_size=3) | WORDS, max_size=6).map("".join)


@given(st.dictionaries(PIECES, PIECES))
def test_nothing_that_the_policy_covers_slips_through_the_sieve(value: dict[str, str]) -> None:
    for ascii_only in (True, False):
        raw = json.dumps(value, ensure_ascii=ascii_only).encode()
        assert _may_hide(raw) or _redact([json.loads(raw)], redact_value) == 0


HOSTILE = [
    "eyJ",
    "eyJ.",
    "pass=",
    "key a ",
    "4",
    "44 ",
    "453 ",
    "4111-",
    "0123abcd-",
    "://",
    "://a",
    "bearer ",
    "bearer\t",
]
HOSTILE += ["-----BEGIN ", "-----BEGIN PRIVATE KEY", "a:\n", "pass\\", "password '", "aB", ".", "é", "key:  "]


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.timeout(60)
def test_the_time_a_hostile_text_takes_is_linear(piece: str) -> None:
    """A minute is far more than 900 KB take, and far less than they would in squared time."""
    redact_text((piece * 900_000)[:900_000] + " key")


def test_no_field_of_the_catalogue_has_a_secret_name() -> None:
    for kind in CATALOGUE.values():
        assert [name for name in kind.model_fields if is_secret(name)] == []


def test_an_event_leaves_without_the_secrets_of_its_data_or_key() -> None:
    secret = "4111 1111 1111 1111"
    data = ApiRequest(method="GET", route="/reset?token=abc", status=200, duration_ms=1, username=secret, client=secret)
    event: Event[EventData] = Event(source="test", data=data)
    record = encode(event)
    assert secret not in str(record)
    assert record.key == REDACTED.encode()
    found = decode(record.value, [(name, text.encode()) for name, text in record.headers])
    assert found.data == data.model_copy(update={"route": REDACTED, "username": REDACTED, "client": REDACTED})


@given(DATA)
def test_an_event_stays_one_of_its_type_whichever_of_its_texts_was_a_secret(data: EventData) -> None:
    for name, value in data:
        if isinstance(value, str):
            raw = json.dumps(data.model_dump(mode="json") | {name: REDACTED})
            assert type(data).model_validate_json(raw) == data.model_copy(update={name: REDACTED})


def redacted(value: Any) -> tuple[Any, int]:
    raw, found = redact_json(json.dumps(value).encode())
    return json.loads(raw), found
