"""The client's address: what the trusted proxies say, and nothing that the client says."""

from typing import Any

import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Scope

from tidings.http.client_address import client_address
from tidings.http.middleware import Identity
from unit.fakes import client

PEER = "10.0.0.1"
CLIENT = "203.0.113.9"
FORGED = "198.51.100.66"


def scope(*forwarded: str | bytes, peer: Any = (PEER, 4711)) -> Scope:
    values = [value.encode("latin-1") if isinstance(value, str) else value for value in forwarded]
    return {"type": "http", "client": peer, "headers": [(b"x-forwarded-for", value) for value in values]}


@pytest.mark.parametrize("forwarded", [(), (CLIENT,), (FORGED, CLIENT), (f"{FORGED}, {CLIENT}",), ("",)])
def test_without_trusted_proxies_the_header_says_nothing(forwarded: tuple[str, ...]) -> None:
    assert client_address(scope(*forwarded), 0) == PEER


@pytest.mark.parametrize(
    ("hops", "forwarded", "found"),
    [
        (1, [CLIENT], CLIENT),
        (1, [f"{FORGED}, {CLIENT}"], CLIENT),
        (1, [f"{FORGED},{FORGED},{CLIENT}"], CLIENT),
        (1, [FORGED, CLIENT], CLIENT),
        (1, [FORGED, f"{FORGED}, {CLIENT}"], CLIENT),
        (2, [f"{CLIENT}, 10.0.0.2"], CLIENT),
        (2, [CLIENT, "10.0.0.2"], CLIENT),
        (2, [f"{FORGED}, {CLIENT}, 10.0.0.2"], CLIENT),
        (3, [f"{FORGED}, {CLIENT}", "10.0.0.3, 10.0.0.2"], CLIENT),
        (10, [", ".join([FORGED, CLIENT, *["10.0.0.2"] * 9])], CLIENT),
    ],
)
def test_entries_are_counted_from_the_right_over_all_headers_in_order(
    hops: int, forwarded: list[str], found: str
) -> None:
    assert client_address(scope(*forwarded), hops) == found


@pytest.mark.parametrize(
    ("hops", "forwarded"), [(1, []), (1, [""]), (1, [" , ,"]), (2, [CLIENT]), (2, [f",,{CLIENT},"]), (10, [CLIENT] * 9)]
)
def test_with_fewer_entries_than_proxies_it_is_the_peer(hops: int, forwarded: list[str]) -> None:
    assert client_address(scope(*forwarded), hops) == PEER


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        (f"{CLIENT}:4711", CLIENT),
        (f"  {CLIENT}\t", CLIENT),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        (f"::ffff:{CLIENT}", CLIENT),
        (f"[::ffff:{CLIENT}]:443", CLIENT),
        ("::ffff:cb00:7109", CLIENT),
        ("fe80::1%eth0", "fe80::1"),
        ("::1", "::1"),
    ],
)
def test_an_address_is_found_however_a_proxy_writes_it(entry: str, found: str) -> None:
    assert client_address(scope(entry), 1) == found
    assert client_address(scope(f"{FORGED}, {entry}"), 1) == found


@pytest.mark.parametrize(
    "entry",
    [
        "unknown",
        "_hidden",
        "garbage",
        "203.0.113",
        "203.0.113.009",
        "203.0.113.256",
        "203.0.113.9/24",
        "3405803785",
        "0x7f000001",
        "2001:db8::1]:443",
        "[2001:db8::1",
        "[]",
        "2001:db8::1::2",
        ":443",
        '"203.0.113.9"',
        "for=203.0.113.9",
        "203.0.113.9;x",
        b"\xff\xfe",
        "²03.0.113.9",
        "9" * 60_000,
    ],
    ids=lambda entry: repr(entry)[:30],
)
def test_an_entry_that_is_no_address_is_passed_over_for_the_peer(entry: str | bytes) -> None:
    assert client_address(scope(entry), 1) == PEER


@pytest.mark.parametrize(
    ("peer", "found"),
    [
        ((CLIENT, 1), CLIENT),
        ((f"::ffff:{CLIENT}", 1), CLIENT),
        (("2001:db8::1", 1), "2001:db8::1"),
        (("", 0), None),
        (("/run/service.sock", 0), None),
        (None, None),
    ],
)
def test_the_peers_own_address_is_read_in_the_same_way(peer: Any, found: str | None) -> None:
    assert client_address(scope(peer=peer), 0) == found
    assert client_address(scope(peer=peer), 1) == found


def test_behind_a_socket_file_the_proxys_word_is_all_there_is() -> None:
    assert client_address(scope(CLIENT, peer=None), 1) == CLIENT


@given(st.binary(max_size=200))
def test_whatever_a_client_puts_first_changes_nothing(forged: bytes) -> None:
    assert client_address(scope(forged, CLIENT), 1) == CLIENT
    assert client_address(scope(forged + b"," + CLIENT.encode()), 1) == CLIENT


async def test_each_request_carries_its_clients_address() -> None:
    app = FastAPI()

    @app.get("/")
    async def address(request: Request) -> str:
        return str(request.scope["tidings.client"])

    for hops, found in ((0, "203.0.113.7"), (1, "192.0.2.1")):
        async with client(Identity(app, "test", hops)) as http:
            assert (await http.get("/", headers={"X-Forwarded-For": f"{FORGED}, 192.0.2.1"})).json() == found
