"""Tokens made by hand, good and bad: a library would refuse to make most of these."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15

STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
ORDER = 2**252 + 27742317777372353535851937790883648493
"""L, the order of Ed25519's group (RFC 8032)."""
IDENTITY = bytes([1, *[0] * 31])
"""The neutral point, which is of order 1: with it as key and as R, and S = 0, any text verifies."""
GONE = object()


def encoded(part: object) -> str:
    """Return base64url of bytes as they are, of anything else as JSON."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


@dataclass(frozen=True)
class Forge:
    """Signs whatever it is told to, with a key that is believed.

    Args:
        key: signs.
        kid: its name.
        subject: the `sub` of good tokens.
        session: their `sid`.
        issuer: their `iss`.
        audience: their `aud`.
    """

    key: Ed25519PrivateKey
    kid: str
    subject: str
    session: str
    issuer: str = "https://tidings.local"
    audience: str = "tidings"

    def header(self, **changed: object) -> dict[str, object]:
        """Return a good header with changes."""
        return _changed({"alg": "EdDSA", "typ": "at+jwt", "kid": self.kid}, changed)

    def claims(self, **changed: object) -> dict[str, object]:
        """Return good claims with changes."""
        now = int(time.time())
        good = {"iss": self.issuer, "aud": self.audience, "sub": self.subject, "sid": self.session, "name": "미나"}
        return _changed(good | {"role": "user", "iat": now, "exp": now + 300, "jti": "one"}, changed)

    def signed(self, head: object, body: object, key: Ed25519PrivateKey | None = None) -> str:
        """Return a token of these two as they stand."""
        return self.sealed(f"{encoded(head)}.{encoded(body)}", key)

    def sealed(self, signing_input: str, key: Ed25519PrivateKey | None = None) -> str:
        """Return the text with its signature."""
        return f"{signing_input}.{encoded((key or self.key).sign(signing_input.encode(errors='surrogatepass')))}"

    def token(self, **changed: object) -> str:
        """Return a good token with changed claims."""
        return self.signed(self.header(), self.claims(**changed))

    def headed(self, **changed: object) -> str:
        """Return a good token with a changed header."""
        return self.signed(self.header(**changed), self.claims())

    def public(self) -> bytes:
        """Return the public key."""
        return self.key.public_key().public_bytes_raw()


def _changed(good: dict[str, object], changed: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in (good | changed).items() if value is not GONE}


@dataclass(frozen=True)
class Case:
    """One token, and whether it is accepted."""

    name: str
    make: Callable[[Forge], str]
    accepted: bool = False


def now(seconds: float = 0) -> int:
    """Return the time that many seconds from now, as tokens say it."""
    return int(time.time() + seconds)


def _signature(token: str) -> bytes:
    return base64.urlsafe_b64decode(token.split(".")[2] + "==")


def _resigned(token: str, change: Callable[[bytes], bytes]) -> str:
    head, body, _ = token.split(".")
    return f"{head}.{body}.{encoded(change(_signature(token)))}"


def _s_plus_order(signature: bytes) -> bytes:
    s = int.from_bytes(signature[32:], "little") + ORDER
    return signature[:32] + s.to_bytes(32, "little")


def _last_bits(part: str) -> str:
    """Set bits that base64url leaves over: another spelling of the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return part[:-1] + alphabet[alphabet.index(part[-1]) + 1]


def _stray_bits(token: str) -> str:
    head, body, signature = token.split(".")
    return f"{head}.{body}.{_last_bits(signature)}"


def _padded(part: dict[str, object]) -> str:
    """Return base64url with its padding; spaces after the JSON see to it that there is some."""
    text = json.dumps(part)
    text += " " * (len(text) % 3 == 0)
    return base64.urlsafe_b64encode(text.encode()).decode()


def _json_of(value: dict[str, object]) -> str:
    return json.dumps(value)[1:-1]


def _twice(value: dict[str, object], extra: str) -> bytes:
    return f"{{{_json_of(value)}, {extra}}}".encode()


def _jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "x": encoded(key.public_key().public_bytes_raw())}


def _thumbprint(jwk: dict[str, str]) -> str:
    canonical = json.dumps(jwk, separators=(",", ":"), sort_keys=True)
    return encoded(hashlib.sha256(canonical.encode()).digest())


def _hs256(forge: Forge, secret: bytes, **changed: object) -> str:
    text = f"{encoded(forge.header(alg='HS256', **changed))}.{encoded(forge.claims())}"
    return f"{text}.{encoded(hmac.digest(secret, text.encode(), 'sha256'))}"


def _with(alg: str, sign: Callable[[bytes], bytes]) -> Callable[[Forge], str]:
    def make(forge: Forge) -> str:
        text = f"{encoded(forge.header(alg=alg))}.{encoded(forge.claims())}"
        return f"{text}.{encoded(sign(text.encode()))}"

    return make


def _rs256(text: bytes) -> bytes:
    return rsa.generate_private_key(65537, 2048).sign(text, PKCS1v15(), hashes.SHA256())


def _es256(text: bytes) -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).sign(text, ec.ECDSA(hashes.SHA256()))


def _accepted() -> list[Case]:
    makes: dict[str, Callable[[Forge], str]] = {
        "as auth makes it": lambda f: f.token(),
        "typ application/at+jwt": lambda f: f.headed(typ="application/at+jwt"),
        "typ in other case": lambda f: f.headed(typ="AT+JWT"),
        "role admin": lambda f: f.token(role="admin"),
        "expired within the clocks' skew": lambda f: f.token(exp=now(-2)),
        "iat ahead within the clocks' skew": lambda f: f.token(iat=now(3)),
        "iat long ago, within the longest lifetime": lambda f: f.token(iat=now(-3000)),
        "good for as long as can be": lambda f: f.token(iat=now(), exp=now() + 3600),
        "nbf in the past": lambda f: f.token(nbf=now(-10)),
        "a claim that nobody knows": lambda f: f.token(later={"deep": [1, 2.5, None]}),
        "white space inside the JSON": lambda f: f.signed(json.dumps(f.header(), indent=1).encode(), f.claims()),
        "name of 64 characters": lambda f: f.token(name="가" * 64),
    }
    return [Case(name, make, accepted=True) for name, make in makes.items()]


def _forms() -> dict[str, Callable[[Forge], str]]:
    return {
        "empty": lambda f: "",
        "one part": lambda f: "abc",
        "two parts": lambda f: f.token().rpartition(".")[0],
        "four parts": lambda f: f.token() + ".",
        "five parts, as encrypted": lambda f: f"{encoded({'alg': 'dir', 'enc': 'A256GCM'})}..AAAA.AAAA.AAAA",
        "five parts of a good token": lambda f: f.token() + ".AAAA.AAAA",
        "only dots": lambda f: "...",
        "only two dots": lambda f: "..",
        "no base64": lambda f: "!!!.???.***",
        "not ascii": lambda f: "한글.한글.한글",
        "lone surrogate": lambda f: "\ud800",
        "a NUL": lambda f: f.token() + "\0",
        "trailing data": lambda f: f.token() + "AAAA",
        "trailing comma and another token": lambda f: f"{f.token()},{f.token()}",
        "a line break inside": lambda f: f.sealed(f"{encoded(f.header())}.\n{encoded(f.claims())}"),
        "white space before": lambda f: "\t" + f.token(),
        "white space after": lambda f: f.token() + "\t",
        "white space in the signature": lambda f: f.token()[:-5] + " " + f.token()[-5:],
        "too long": lambda f: f.token(later="x" * 5_000),
        "JSON instead of compact form": lambda f: json.dumps({"payload": encoded(f.claims()), "signatures": []}),
        "padded signature": lambda f: f.token() + "==",
        "padded header": lambda f: f.sealed(f"{_padded(f.header())}.{encoded(f.claims())}"),
        "padded payload": lambda f: f.sealed(f"{encoded(f.header())}.{_padded(f.claims())}"),
        "plain base64 alphabet": lambda f: f.sealed(
            f"{encoded(f.header())}.{encoded(f.claims(later='?' * 9)).replace('_', '/').replace('-', '+')}"
        ),
        "stray bits at the signature's end": lambda f: _stray_bits(f.token()),
        "stray character in the payload": lambda f: f.sealed(f"{encoded(f.header())}.!{encoded(f.claims())}"),
        "header a list": lambda f: f.signed([], f.claims()),
        "header a number": lambda f: f.signed(1, f.claims()),
        "header no json": lambda f: f.signed(b"{", f.claims()),
        "header deep": lambda f: f.signed(b"[" * 2_500, f.claims()),
        "header not utf-8": lambda f: f.signed(b"\xff\xfe", f.claims()),
        "header in utf-16": lambda f: f.signed(json.dumps(f.header()).encode("utf-16"), f.claims()),
        "header with a byte order mark": lambda f: f.signed(
            b"\xef\xbb\xbf" + json.dumps(f.header()).encode(), f.claims()
        ),
        "header twice": lambda f: f.signed(json.dumps(f.header()).encode() * 2, f.claims()),
        "payload empty": lambda f: f.signed(f.header(), b""),
        "payload a list": lambda f: f.signed(f.header(), []),
        "payload text": lambda f: f.signed(f.header(), "claims"),
        "payload null": lambda f: f.signed(f.header(), None),
        "payload no json": lambda f: f.signed(f.header(), b"{"),
        "payload not utf-8": lambda f: f.signed(f.header(), b"\xff\xfe"),
        "payload in utf-16": lambda f: f.signed(f.header(), json.dumps(f.claims()).encode("utf-16")),
        "payload deep": lambda f: f.signed(f.header(), b"[" * 2_500),
        "payload deep in a claim": lambda f: f.signed(
            f.header(), _twice(f.claims(), '"x": ' + "[" * 1200 + "]" * 1200)
        ),
        "payload with more behind it": lambda f: f.signed(f.header(), json.dumps(f.claims()).encode() + b"{}"),
    }


def _headers() -> dict[str, Callable[[Forge], str]]:
    key = _jwk(STRANGER)
    return {
        "alg none": lambda f: f"{encoded(f.header(alg='none'))}.{encoded(f.claims())}.",
        "alg nOnE": lambda f: f"{encoded(f.header(alg='nOnE'))}.{encoded(f.claims())}.",
        "alg none, signed": lambda f: f.headed(alg="none"),
        "alg missing": lambda f: f.headed(alg=GONE),
        "alg null": lambda f: f.headed(alg=None),
        "alg a list": lambda f: f.headed(alg=["EdDSA"]),
        "alg in other case": lambda f: f.headed(alg="eddsa"),
        "alg with a space": lambda f: f.headed(alg="EdDSA "),
        "alg Ed25519": lambda f: f.headed(alg="Ed25519"),
        "alg ES256": _with("ES256", _es256),
        "alg RS256": _with("RS256", _rs256),
        "alg EdDSA by Ed448": _with("EdDSA", Ed448PrivateKey.generate().sign),
        "HS256 with the public key": lambda f: _hs256(f, f.public()),
        "HS256 with the public key as its JWK": lambda f: _hs256(f, json.dumps(_jwk(f.key)).encode()),
        "HS256 with an empty secret": lambda f: _hs256(f, b""),
        "alg twice": lambda f: f.signed(_twice(f.header(), '"alg": "EdDSA"'), f.claims()),
        "alg twice, none first": lambda f: f.signed(
            b'{"alg": "none", ' + _json_of(f.header()).encode() + b"}", f.claims()
        ),
        "kid twice": lambda f: f.signed(_twice(f.header(), f'"kid": "{f.kid}"'), f.claims()),
        "alg twice, one escaped": lambda f: f.signed(_twice(f.header(), '"\\u0061lg": "EdDSA"'), f.claims()),
        "typ missing": lambda f: f.headed(typ=GONE),
        "typ JWT": lambda f: f.headed(typ="JWT"),
        "typ empty": lambda f: f.headed(typ=""),
        "typ of an id token": lambda f: f.headed(typ="id_token+jwt"),
        "typ application/jwt": lambda f: f.headed(typ="application/jwt"),
        "typ with a parameter": lambda f: f.headed(typ="at+jwt; charset=utf-8"),
        "typ with a line break": lambda f: f.headed(typ="at+jwt\n"),
        "typ ending alike": lambda f: f.headed(typ="not-at+jwt"),
        "typ beginning alike": lambda f: f.headed(typ="at+jwt2"),
        "typ a number": lambda f: f.headed(typ=1),
        "typ a list": lambda f: f.headed(typ=["at+jwt"]),
        "kid missing": lambda f: f.headed(kid=GONE),
        "kid empty": lambda f: f.headed(kid=""),
        "kid unknown": lambda f: f.headed(kid="k2"),
        "kid in other case": lambda f: f.headed(kid=f.kid.swapcase()),
        "kid a number": lambda f: f.headed(kid=1),
        "kid a list": lambda f: f.headed(kid=[f.kid]),
        "kid an object": lambda f: f.headed(kid={"kid": f.kid}),
        "kid null": lambda f: f.headed(kid=None),
        "kid a path": lambda f: f.headed(kid="../../../../../../dev/null"),
        "kid a path, signed with nothing": lambda f: _hs256(f, b"", kid="/dev/null"),
        "kid SQL": lambda f: f.headed(kid="' UNION SELECT 'AA' -- "),
        "kid a command": lambda f: f.headed(kid="| sleep 5"),
        "kid an address": lambda f: f.headed(kid="https://attacker.example/keys"),
        "kid unicode": lambda f: f.headed(kid="키\u202e\u0000"),
        "kid a lone surrogate": lambda f: f.headed(kid="\ud800"),
        "kid huge": lambda f: f.headed(kid="k" * 2_000),
        "kid a name of Python's": lambda f: f.headed(kid="__class__"),
        "kid of a stranger's key": lambda f: f.signed(f.header(kid=_thumbprint(key)), f.claims(), STRANGER),
        "embedded jwk": lambda f: f.signed(f.header(jwk=key), f.claims(), STRANGER),
        "embedded jwk and its kid": lambda f: f.signed(f.header(jwk=key, kid=_thumbprint(key)), f.claims(), STRANGER),
        "embedded jwk, signed by a known key": lambda f: f.headed(jwk=_jwk(f.key)),
        "embedded jwk of small order": lambda f: _resigned(
            f.headed(jwk={"kty": "OKP", "crv": "Ed25519", "x": encoded(IDENTITY)}), lambda _: IDENTITY + bytes(32)
        ),
        "jku": lambda f: f.signed(f.header(jku="https://attacker.example/keys"), f.claims(), STRANGER),
        "jku, signed by a known key": lambda f: f.headed(jku="https://attacker.example/keys"),
        "x5u": lambda f: f.headed(x5u="https://attacker.example/chain.pem"),
        "x5c": lambda f: f.headed(x5c=["MIIB"]),
        "x5t": lambda f: f.headed(x5t="AAAA"),
        "crit": lambda f: f.headed(crit=["exp"]),
        "crit empty": lambda f: f.headed(crit=[]),
        "crit with b64": lambda f: f.headed(crit=["b64"], b64=False),
        "b64 false": lambda f: f.headed(b64=False),
        "b64 true": lambda f: f.headed(b64=True),
        "zip": lambda f: f.headed(zip="DEF"),
        "cty of a nested token": lambda f: f.headed(cty="JWT"),
        "enc": lambda f: f.headed(enc="A256GCM"),
    }


def _signatures() -> dict[str, Callable[[Forge], str]]:
    return {
        "no signature": lambda f: f.token().rpartition(".")[0] + ".",
        "half a signature": lambda f: f.token()[:-40],
        "signature longer by a byte": lambda f: _resigned(f.token(), lambda s: s + b"\0"),
        "other payload": lambda f: ".".join(
            [*f.token().split(".")[:1], encoded(f.claims(role="admin")), f.token().split(".")[2]]
        ),
        "other header": lambda f: ".".join([encoded(f.header(typ="AT+JWT")), *f.token().split(".")[1:]]),
        "signed by another key": lambda f: f.signed(f.header(), f.claims(), STRANGER),
        "signature all zero": lambda f: _resigned(f.token(), lambda _: bytes(64)),
        "signature all ones": lambda f: _resigned(f.token(), lambda _: b"\xff" * 64),
        "R of small order and S zero": lambda f: _resigned(f.token(), lambda _: IDENTITY + bytes(32)),
        "S plus the group's order": lambda f: _resigned(f.token(), _s_plus_order),
        "R with its sign turned": lambda f: _resigned(f.token(), lambda s: s[:31] + bytes([s[31] ^ 128]) + s[32:]),
        "halves exchanged": lambda f: _resigned(f.token(), lambda s: s[32:] + s[:32]),
        "of the payload alone": lambda f: (
            f"{encoded(f.header())}.{encoded(f.claims())}.{encoded(f.key.sign(json.dumps(f.claims()).encode()))}"
        ),
    }


def _times() -> dict[str, Callable[[Forge], str]]:
    return {
        "expired": lambda f: f.token(exp=now(-60)),
        "expired just beyond the clocks' skew": lambda f: f.token(exp=now(-7)),
        "exp text": lambda f: f.token(exp=str(now(60))),
        "exp a float": lambda f: f.token(exp=time.time() + 60),
        "exp a whole float": lambda f: f.token(exp=float(now(60))),
        "exp with an exponent": lambda f: f.signed(f.header(), _twice(f.claims(exp=GONE), '"exp": 2e9')),
        "exp true": lambda f: f.token(exp=True),
        "exp null": lambda f: f.token(exp=None),
        "exp a list": lambda f: f.token(exp=[now(60)]),
        "exp a date": lambda f: f.token(exp="2999-01-01T00:00:00Z"),
        "exp zero": lambda f: f.token(exp=0),
        "exp negative": lambda f: f.token(exp=-1),
        "exp in milliseconds": lambda f: f.token(exp=now(60) * 1000),
        "exp beyond the longest lifetime": lambda f: f.token(exp=now(3700)),
        "exp huge": lambda f: f.token(exp=10**300),
        "exp of very many digits": lambda f: f.signed(f.header(), _twice(f.claims(exp=GONE), f'"exp": {"9" * 2_000}')),
        "exp just too large": lambda f: f.token(exp=2**40),
        "exp infinite": lambda f: f.token(exp=float("inf")),
        "exp no number": lambda f: f.token(exp=float("nan")),
        "exp twice": lambda f: f.signed(f.header(), _twice(f.claims(exp=now(-60)), f'"exp": {now(60)}')),
        "iat in the future": lambda f: f.token(iat=now(60)),
        "iat text": lambda f: f.token(iat="now"),
        "iat a float": lambda f: f.token(iat=time.time() - 1),
        "iat true": lambda f: f.token(iat=True),
        "iat negative": lambda f: f.token(iat=-1),
        "iat zero: too long ago for its exp": lambda f: f.token(iat=0),
        "nbf in the future": lambda f: f.token(nbf=now(60)),
        "nbf infinite": lambda f: f.token(nbf=float("inf")),
        "nbf text": lambda f: f.token(nbf="0"),
        "nbf null": lambda f: f.token(nbf=None),
        "nbf true": lambda f: f.token(nbf=True),
    }


def _claims() -> dict[str, Callable[[Forge], str]]:
    wrong: dict[str, Any] = {"a number": 1, "null": None, "true": True, "a list": ["x"], "an object": {}, "empty": ""}
    required = ("iss", "aud", "sub", "sid", "name", "role", "iat", "exp", "jti")
    texts = ("iss", "aud", "sub", "sid", "name", "role", "jti")
    return {
        **{f"no {name}": lambda f, name=name: f.token(**{name: GONE}) for name in required},  # type: ignore[misc]
        **{
            f"{name} {kind}": lambda f, name=name, value=value: f.token(**{name: value})  # type: ignore[misc]
            for name in texts
            for kind, value in wrong.items()
        },
        "aud another": lambda f: f.token(aud="others"),
        "aud in other case": lambda f: f.token(aud=f.audience.upper()),
        "aud with a space": lambda f: f.token(aud=f.audience + " "),
        "aud a list of the right one": lambda f: f.token(aud=[f.audience]),
        "aud a list with another": lambda f: f.token(aud=[f.audience, "others"]),
        "iss another": lambda f: f.token(iss="https://elsewhere"),
        "iss with a slash": lambda f: f.token(iss=f.issuer + "/"),
        "iss in other case": lambda f: f.token(iss=f.issuer.upper()),
        "iss beginning alike": lambda f: f.token(iss=f.issuer + ".attacker.example"),
        "iss a list of the right one": lambda f: f.token(iss=[f.issuer]),
        "role unknown": lambda f: f.token(role="root"),
        "role in other case": lambda f: f.token(role="Admin"),
        "role twice": lambda f: f.signed(f.header(), _twice(f.claims(), '"role": "admin"')),
        "role twice, one escaped": lambda f: f.signed(f.header(), _twice(f.claims(), '"r\\u006fle": "admin"')),
        "a nested name twice": lambda f: f.signed(f.header(), _twice(f.claims(), '"x": {"a": 1, "a": 2}')),
        "an unknown claim no number": lambda f: f.token(later=float("nan")),
        "sub no uuid": lambda f: f.token(sub="mina"),
        "sub a uuid in braces": lambda f: f.token(sub=f"{{{f.subject}}}"),
        "sub a uuid without hyphens": lambda f: f.token(sub=f.subject.replace("-", "")),
        "sub a urn": lambda f: f.token(sub=f"urn:uuid:{f.subject}"),
        "sub in capitals": lambda f: f.token(sub="018F0000-0000-7000-8000-00000000000A"),
        "sub with a line break": lambda f: f.token(sub=f.subject + "\n"),
        "sub long": lambda f: f.token(sub="0" * 2_000),
        "sid no uuid": lambda f: f.token(sid="mina"),
        "name long": lambda f: f.token(name="x" * 65),
        "name a lone surrogate": lambda f: f.token(name="\ud800"),
        "jti long": lambda f: f.token(jti="x" * 65),
    }


CASES = [
    *_accepted(),
    *(
        Case(name, make)
        for group in (_forms(), _headers(), _signatures(), _times(), _claims())
        for name, make in group.items()
    ),
]
"""Every case; exactly those that say so are accepted (docs/security.md)."""
