"""Access tokens: the key, its name, and what a token says."""

import base64
import stat
import time
from pathlib import Path
from uuid import UUID

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from tidings.http.bearer import TokenVerifier, parse_key_set
from tidings.principal import Principal
from tidings.settings import SettingsError
from tidings_auth.settings import SigningSettings
from tidings_auth.tokens import SigningKey, TokenIssuer
from unit.fakes import EndedSessions

MINA = Principal(UUID(int=1), "미나", "admin", UUID(int=2))

# RFC 8037 appendix A.1 to A.3
RFC_PRIVATE = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
RFC_PUBLIC = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
RFC_THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def made_in(folder: Path) -> SigningSettings:
    return SigningSettings(key_file=folder / "key.pem", generate=True)


def test_a_key_is_named_by_the_thumbprint_of_rfc_8037() -> None:
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(RFC_PRIVATE + "=")))
    assert key.kid == RFC_THUMBPRINT
    assert key.public_jwk == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": RFC_PUBLIC,
        "kid": RFC_THUMBPRINT,
        "use": "sig",
        "alg": "EdDSA",
    }


def test_the_header_says_type_algorithm_and_key(tmp_path: Path) -> None:
    issuer = TokenIssuer(made_in(tmp_path))
    (key,) = issuer.key_set()["keys"]
    assert jwt.get_unverified_header(issuer.issue(MINA)) == {"typ": "at+jwt", "alg": "EdDSA", "kid": key["kid"]}


def test_a_token_says_who_for_whom_and_for_how_long(tmp_path: Path) -> None:
    issuer = TokenIssuer(made_in(tmp_path))
    claims = jwt.decode(issuer.issue(MINA), options={"verify_signature": False})
    assert abs(claims["iat"] - time.time()) < 5
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


def test_no_two_tokens_are_the_same(tmp_path: Path) -> None:
    issuer = TokenIssuer(made_in(tmp_path))
    assert len({issuer.issue(MINA) for _ in range(20)}) == 20


async def test_a_token_is_believed_by_who_has_the_published_keys(tmp_path: Path) -> None:
    issuer = TokenIssuer(made_in(tmp_path))
    for kid, key in parse_key_set(issuer.key_set()).items():
        found = await issuer.find(kid)
        assert found.public_bytes_raw() == key.public_bytes_raw()
    verifier = TokenVerifier(issuer, "https://tidings.local", "tidings", EndedSessions())
    assert await verifier.verify(issuer.issue(MINA)) == MINA
    assert await issuer.find("another") is None


def test_the_published_keys_hold_nothing_private(tmp_path: Path) -> None:
    (key,) = TokenIssuer(made_in(tmp_path)).key_set()["keys"]
    assert set(key) == {"kty", "crv", "x", "kid", "use", "alg"}


def test_a_key_that_is_made_is_for_this_user_only_and_is_kept(tmp_path: Path) -> None:
    first = TokenIssuer(made_in(tmp_path)).key_set()
    path = tmp_path / "key.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = path.read_bytes()
    assert TokenIssuer(made_in(tmp_path)).key_set() == first
    assert path.read_bytes() == content


def test_two_installations_have_different_keys(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = (TokenIssuer(made_in(tmp_path / name)).key_set() for name in ("one", "two"))
    assert one != two


def pem(key: PrivateKeyTypes, password: bytes | None = None) -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"\xff\xfe\x00",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        pem(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(ed448.Ed448PrivateKey.generate()),
        pem(Ed25519PrivateKey.generate(), b"password"),
    ],
    ids=["empty", "garbage", "binary", "cut", "rsa", "ec", "ed448", "encrypted"],
)
def test_a_file_without_a_usable_key_is_refused_by_its_variable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match="TIDINGS_SIGNING_KEY_FILE: ") as caught:
        TokenIssuer(SigningSettings(key_file=path, generate=True))
    assert str(path) in str(caught.value)
    assert path.read_bytes() == content


def test_a_key_file_that_went_away_is_refused_by_its_variable(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(b"there")
    settings = SigningSettings(key_file=path)
    path.unlink()
    with pytest.raises(SettingsError, match="TIDINGS_SIGNING_KEY_FILE: "):
        TokenIssuer(settings)
    assert not path.exists()


def test_a_key_file_in_a_folder_that_is_not_there_is_refused_by_its_variable(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="TIDINGS_SIGNING_KEY_FILE: "):
        TokenIssuer(SigningSettings(key_file=tmp_path / "none" / "key", generate=True))
    assert not (tmp_path / "none").exists()
