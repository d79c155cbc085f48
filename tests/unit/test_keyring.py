"""The keyring: which key signs when, and which documents are keyrings."""

import base64
import json
from typing import Any

import pytest

from support.tokens import encoded
from tidings_auth.keyring import Keyring, new_key, new_keyring, read_keyring

# RFC 8037 appendix A.1 to A.3
RFC_PRIVATE = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
RFC_PUBLIC = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
RFC_THUMBPRINT = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
RFC_KEY = {"kty": "OKP", "crv": "Ed25519", "d": RFC_PRIVATE, "x": RFC_PUBLIC, "created": 1, "active_from": 1}
NOW = 1_000_000


def document(*entries: Any) -> bytes:
    return json.dumps({"keys": entries}).encode()


def test_a_key_is_named_by_the_thumbprint_of_rfc_8037() -> None:
    (key,) = read_keyring(document(RFC_KEY)).keys
    assert key.kid == RFC_THUMBPRINT
    assert key.public_jwk == {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": RFC_PUBLIC,
        "kid": RFC_THUMBPRINT,
        "use": "sig",
        "alg": "EdDSA",
    }


def test_what_is_written_is_read() -> None:
    ring = new_keyring(NOW)
    again = read_keyring(ring.document().encode())
    assert [(key.kid, key.created, key.active_from) for key in again.keys] == [
        (key.kid, key.created, key.active_from) for key in ring.keys
    ]
    signed = again.keys[0].private.sign(b"text")
    ring.keys[0].public.verify(signed, b"text")


def test_two_installations_have_different_keys() -> None:
    assert len({key.kid for _ in range(2) for key in new_keyring(NOW).keys}) == 4


def test_the_latest_key_signs_whose_time_has_come() -> None:
    first, second, third = (new_key(NOW, active_from=time) for time in (NOW, NOW + 10, NOW + 20))
    waiting = new_key(NOW)
    ring = Keyring((waiting, third, first, second))
    assert [ring.current(NOW + later) for later in (0, 9, 10, 19, 20, 10**6)] == [
        first,
        first,
        second,
        second,
        third,
        third,
    ]
    assert [ring.next(NOW), ring.next(NOW + 10), ring.next(NOW + 20)] == [second, third, waiting]


def test_a_clock_that_was_set_back_stops_nobody_from_signing() -> None:
    ring = new_keyring(NOW)
    assert ring.current(NOW - 1) is ring.keys[0]
    assert not ring.is_active(NOW - 1)


def test_a_key_is_known_until_some_time_after_another_signs_in_its_place() -> None:
    first, second = new_key(NOW, active_from=NOW), new_key(NOW, active_from=NOW + 100)
    ring = Keyring((first, second))
    assert first in ring.known(NOW + 129, 30).keys
    assert ring.known(NOW + 130, 30).keys == (second,)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "JSON"),
        (b"\xff\xfe", "UTF-16"),
        (b'{"keys": [', "JSON"),
        (b"[" * 10_000, "JSON"),
        (b"[]", "object"),
        (b"{}", "keys: "),
        (document(), "keys: "),
        (document("text"), "keys.0: "),
        (document({}), "keys.0.kty: "),
        (document(RFC_KEY | {"kty": "RSA"}), "keys.0.kty: "),
        (document(RFC_KEY | {"crv": "Ed448"}), "keys.0.crv: "),
        (document({name: value for name, value in RFC_KEY.items() if name != "d"}), "keys.0.d: "),
        (document(RFC_KEY | {"d": "AAAA"}), "keys.0.d: "),
        (document(RFC_KEY | {"d": "한글"}), "keys.0.d: "),
        (document(RFC_KEY | {"x": encoded(bytes(32))}), "keys.0.x: "),
        (document(RFC_KEY | {"kid": "another"}), f"keys.0.kid: not its thumbprint, {RFC_THUMBPRINT}"),
        (document(RFC_KEY | {"created": "1"}), "keys.0.created: "),
        (document(RFC_KEY | {"created": True}), "keys.0.created: "),
        (document(RFC_KEY | {"active_from": -1}), "keys.0.active_from: "),
        (document(RFC_KEY | {"active_from": 1.5}), "keys.0.active_from: "),
        (document({name: value for name, value in RFC_KEY.items() if name != "active_from"}), "keys.0.active_from: "),
        (document(RFC_KEY, RFC_KEY), "twice"),
    ],
)
def test_what_is_no_keyring_is_refused_without_showing_what_is_secret(content: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        read_keyring(content)
    assert RFC_PRIVATE not in str(caught.value)
    assert caught.value.__cause__ is None


def test_nothing_private_is_in_what_python_shows_of_a_key() -> None:
    ring = read_keyring(document(RFC_KEY))
    assert RFC_PRIVATE not in repr(ring)
    assert base64.urlsafe_b64decode(RFC_PRIVATE + "=").hex() not in repr(ring)
