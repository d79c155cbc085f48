"""Access tokens: what they say, by which key they are signed, and which keys are published."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import jwt
import pytest

from support.tokens import Forge
from tidings.http.bearer import NotAuthenticated, TokenVerifier
from tidings.http.remote_keys import parse_key_set
from tidings.principal import Principal
from tidings_auth import key_file
from tidings_auth.key_file import SigningKeys
from tidings_auth.keyring import Keyring, new_key
from tidings_auth.settings import SigningSettings
from tidings_auth.tokens import TokenIssuer
from unit.fakes import EndedSessions

MINA = Principal(UUID(int=1), "미나", "admin", UUID(int=2))


def token_of(issuer: TokenIssuer) -> str:
    now = datetime.now(UTC)
    return issuer.issue(MINA, now, now + timedelta(days=1))[0]


def made_in(folder: Path, ring: Keyring | None = None) -> TokenIssuer:
    path = folder / "keys.json"
    if ring:
        key_file.write(path, ring)
    settings = SigningSettings(keys_file=path, generate=ring is None)
    return TokenIssuer(settings, SigningKeys(settings))


def test_the_header_says_type_algorithm_and_key(tmp_path: Path) -> None:
    issuer = made_in(tmp_path)
    key, _ = issuer.key_set()["keys"]
    assert jwt.get_unverified_header(token_of(issuer)) == {"typ": "at+jwt", "alg": "EdDSA", "kid": key["kid"]}


def test_a_token_says_who_for_whom_and_for_how_long(tmp_path: Path) -> None:
    issuer = made_in(tmp_path)
    now = datetime.now(UTC)
    token, _ = issuer.issue(MINA, now, now + timedelta(days=1))
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["iat"] == int(now.timestamp())
    assert claims["exp"] - claims["iat"] == issuer.lifetime == 300
    assert {name: claims[name] for name in ("iss", "aud", "sub", "sid", "name", "role")} == {
        "iss": "https://tidings.local",
        "aud": "tidings",
        "sub": str(MINA.user_id),
        "sid": str(MINA.session_id),
        "name": "미나",
        "role": "admin",
    }
    assert UUID(claims["jti"]).version == 7
    assert set(claims) == {"iss", "aud", "sub", "sid", "name", "role", "iat", "exp", "jti"}


def test_a_token_does_not_outlive_its_session(tmp_path: Path) -> None:
    """What has expired can no longer be ended, so nothing of it may still be good."""
    now = datetime.now(UTC)
    token, seconds = made_in(tmp_path).issue(MINA, now, now + timedelta(seconds=60))
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == seconds
    assert 58 <= seconds <= 60


def test_no_two_tokens_are_the_same(tmp_path: Path) -> None:
    issuer = made_in(tmp_path)
    assert len({token_of(issuer) for _ in range(20)}) == 20


async def test_a_token_is_believed_by_who_has_the_published_keys(tmp_path: Path) -> None:
    issuer = made_in(tmp_path)
    for kid, key in parse_key_set(issuer.key_set()).items():
        found = await issuer.find(kid)
        assert found
        assert found.public_bytes_raw() == key.public_bytes_raw()
    verifier = TokenVerifier(issuer, "https://tidings.local", "tidings", EndedSessions())
    assert await verifier.verify(token_of(issuer)) == MINA
    assert await issuer.find("another") is None


def test_the_published_keys_hold_nothing_private(tmp_path: Path) -> None:
    for key in made_in(tmp_path).key_set()["keys"]:
        assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}


async def test_keys_are_published_until_the_last_token_of_each_has_expired(tmp_path: Path) -> None:
    now = int(time.time())
    keep = SigningSettings(keys_file=tmp_path).keep_seconds
    retired, superseded, current = (new_key(now, active_from=now - age) for age in (9_000, keep + 20, keep - 20))
    following = new_key(now)
    issuer = made_in(tmp_path, Keyring((retired, superseded, current, following)))
    assert [key["kid"] for key in issuer.key_set()["keys"]] == [superseded.kid, current.kid, following.kid]


async def test_a_retired_keys_tokens_are_refused_though_they_say_that_they_are_good(tmp_path: Path) -> None:
    now = int(time.time())
    keep = SigningSettings(keys_file=tmp_path).keep_seconds
    for age, believed in ((keep - 20, True), (keep + 20, False)):
        old = new_key(now, active_from=now - 9_000)
        issuer = made_in(tmp_path, Keyring((old, new_key(now, active_from=now - age))))
        verifier = TokenVerifier(issuer, "https://tidings.local", "tidings", EndedSessions())
        token = Forge(old.private, old.kid, str(MINA.user_id), str(MINA.session_id)).token()
        if believed:
            await verifier.verify(token)
        else:
            with pytest.raises(NotAuthenticated, match="unknown key"):
                await verifier.verify(token)
