"""Addresses in settings: an address that parses otherwise than it was meant is refused, without showing any of it.

The parsers of the libraries guess: a password with an `@`, `/`, `?` or `#` becomes part of the host, and error messages
show the host. So each address is checked here first, by one strict reading of RFC 3986. Every error is a `ValueError`
whose text holds nothing of the address.
"""

import ipaddress
import re
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import unquote

ENCODE = "percent-encode it, e.g. @ as %40, : as %3A, / as %2F, ? as %3F, # as %23, % as %25"

OWN_PORTS = {"http": 80, "https": 443}

_ALLOWED = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")
_WRONG_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_HOST_AND_PORT = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[^:]*))?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
"""The last part of a host that is an IPv4 address, in any of the spellings that resolvers read."""
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")


@dataclass(frozen=True)
class Address:
    """The parts of an address, as they are written in it."""

    scheme: str
    username: str | None
    password: str | None
    host: str
    """Without the brackets of an IPv6 address."""
    port: int | None
    path: str
    """Empty, or from the first slash on."""
    query: str | None


def parse(text: str, schemes: Collection[str]) -> Address:
    """Return the parts of an address that has a host.

    Args:
        text: the address.
        schemes: one of these must be its scheme, e.g. `redis`; their case matters to the libraries.

    Raises:
        ValueError: the text is not an address, or the libraries could read it in another way.
    """
    rest = after_scheme(text, schemes)
    if not _ALLOWED.fullmatch(rest):
        raise ValueError("has a space or another character that must be percent-encoded")
    require_escapes(rest)
    authority, path, query = _split(rest)
    userinfo, at, place = authority.rpartition("@")
    if "@" in userinfo + path + (query or ""):
        raise ValueError(f"has an @, /, ? or # in its user name or password; {ENCODE}")
    username, colon, password = userinfo.partition(":")
    if any(bracket in userinfo for bracket in "[]"):
        raise ValueError(f"has a bracket in its user name or password; {ENCODE}")
    host, port = host_and_port(place)
    return Address(
        scheme=text.partition("://")[0],
        username=username if at else None,
        password=password if colon else None,
        host=host,
        port=port,
        path=path,
        query=query,
    )


def http_address(text: str) -> Address:
    """Return the parts of an `http` or `https` address, which must hold no user name, password or fragment.

    Raises:
        ValueError: it is not such an address.
    """
    address = parse(text, ("http", "https"))
    if address.username is not None:
        raise ValueError("must not hold a user name or password")
    return address


def base_address(text: str) -> str:
    """Return an `http` or `https` address to which paths are appended: without a slash at its end.

    Raises:
        ValueError: it is not such an address, or it has a query.
    """
    if http_address(text).query is not None:
        raise ValueError("must not have a query")
    return text.rstrip("/")


def origin(text: str) -> str:
    """Return an `http` or `https` address without a path, as browsers write it in the header `Origin`.

    That is in small letters, with the shortest spelling of an IPv6 address, and without the scheme's own port.

    Raises:
        ValueError: it is not such an address, or it has a path or a query.
    """
    address = http_address(base_address(text))
    if address.path:
        raise ValueError("must not have a path; the services answer at the root of their origin")
    host = address.host.lower()
    port = "" if address.port in (None, OWN_PORTS[address.scheme]) else f":{address.port}"
    return f"{address.scheme}://{in_url(_in_hexadecimal(host) if ':' in host else host)}{port}"


def _in_hexadecimal(address: str) -> str:
    """Return an IPv6 address in hexadecimal groups; Python 3.13 writes some with an IPv4 address at the end."""
    mapped = ipaddress.IPv6Address(address).ipv4_mapped
    if mapped is None:
        return address
    return f"::ffff:{int(mapped) >> 16:x}:{int(mapped) & 0xFFFF:x}"


def host(text: str) -> str:
    """Return a host name or an IP address; an IPv6 address may be in brackets and is returned without them.

    Raises:
        ValueError: it is neither.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if ":" in bare:
        try:
            return str(ipaddress.IPv6Address(bare))
        except ValueError:
            raise ValueError("is not an IPv6 address") from None
    if bare != text:
        raise ValueError("has brackets, which are for IPv6 addresses")
    labels = bare.removesuffix(".").split(".")
    if len(bare) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("is neither a host name nor an IP address")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            ipaddress.IPv4Address(bare)
        except ValueError:
            raise ValueError("is neither a host name nor an IP address") from None
    return bare


def host_and_port(text: str) -> tuple[str, int | None]:
    """Return host and port of `host`, `host:port` or `[IPv6]:port`.

    Raises:
        ValueError: it is none of these.
    """
    found = _HOST_AND_PORT.fullmatch(text)
    if not found:
        raise ValueError("has a host that is neither a name nor an IP address; IPv6 addresses go in brackets")
    if not found["host"]:
        raise ValueError("names no host")
    try:
        name = host(found["host"])
    except ValueError as error:
        raise ValueError(f"has a host that {error}") from None
    digits = found["port"]
    if digits is None:
        return name, None
    if not re.fullmatch(r"[0-9]{1,5}", digits) or not 1 <= int(digits) <= 65535:
        raise ValueError(f"has a port that is not a number from 1 to 65535; if that is a password, {ENCODE}")
    return name, int(digits)


def in_url(host: str) -> str:
    """Return a host as it is written in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def after_scheme(text: str, schemes: Collection[str]) -> str:
    """Return what follows `scheme://`.

    Raises:
        ValueError: the address has none of these schemes.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in schemes:
        raise ValueError(f"must start with {' or '.join(f'{known}://' for known in schemes)}")
    return rest


def require_escapes(text: str) -> None:
    """Raise `ValueError` unless every percent escape is one, and all of them together make a text of one line."""
    if _WRONG_ESCAPE.search(text):
        raise ValueError("has a % that is not followed by two hexadecimal digits; a % itself is written %25")
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("has percent escapes that are not UTF-8") from None
    if not decoded.isprintable():
        raise ValueError("has a control character in it")


def _split(rest: str) -> tuple[str, str, str | None]:
    """Return authority, path and query of what follows the scheme."""
    end = re.search(r"[/?#]|$", rest)
    assert end
    authority, rest = rest[: end.start()], rest[end.start() :]
    before, fragment, after = rest.partition("#")
    if fragment:
        hint = f"; if it is part of a password, {ENCODE}" if "@" in after else ""
        raise ValueError(f"has a #, which an address cannot have here{hint}")
    path, question, query = before.partition("?")
    return authority, path, query if question else None
