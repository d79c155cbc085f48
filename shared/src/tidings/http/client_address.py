"""The client's address: who called, as far as the configured number of proxies can be believed.

Each proxy adds the address that called it at the right end of `X-Forwarded-For`; whatever is left of what trusted
proxies added is the client's own to invent.
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from starlette.datastructures import Headers
from starlette.types import Scope

Address = IPv4Address | IPv6Address


def client_address(scope: Scope, trusted_hops: int) -> str | None:
    """Return the address of the client that sent a request, in canonical text form, or `None` when it has none.

    When proxies are missing, or the entry that counts is no address, it is that of the peer.

    Args:
        scope: of the request.
        trusted_hops: how many proxies of ours each request comes through; with 0 the header is not looked at.
    """
    peer = _parsed(scope["client"][0]) if scope.get("client") else None
    entries = _forwarded(scope) if trusted_hops else ()
    named = _parsed(_without_port(entries[-trusted_hops])) if len(entries) >= trusted_hops > 0 else None
    address = named or peer
    return str(address) if address else None


def _forwarded(scope: Scope) -> Sequence[str]:
    """Return the entries of all the headers in order; empty ones do not count (RFC 9110, section 5.6.1)."""
    values = ",".join(Headers(scope=scope).getlist("x-forwarded-for"))
    return [entry for part in values.split(",") if (entry := part.strip())]


def _without_port(entry: str) -> str:
    """Return the address of `192.0.2.1:80`, `[2001:db8::1]:80` and `[2001:db8::1]`; any other entry as it is."""
    if entry.startswith("["):
        inside, closed, _ = entry[1:].partition("]")
        return inside if closed else entry
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or IPv6Address(address.packed)  # an interface's name is no part of who called
