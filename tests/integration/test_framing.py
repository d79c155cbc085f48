"""Request framing: odd requests get their decided answer from both parsers, and hide no second request."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.types import Receive, Scope, Send

from support.bare import PARSERS, Recorder, serving
from support.connection import connection_to, request_bytes
from support.documents import api_documents, documented_problems, operations, problems_of
from tidings.connections import Parser
from tidings.http.settings import HttpSettings

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: tidings\r\n\r\n"


@dataclass(frozen=True)
class Odd:
    """A request with an oddity, and the status of its answer."""

    name: str
    status: int
    sent: bytes


def _post(fields: bytes, body: bytes = b"") -> bytes:
    return b"POST /odd HTTP/1.1\r\nHost: tidings\r\n" + fields + b"\r\n" + body


def _chunked(body: bytes) -> bytes:
    return _post(b"Transfer-Encoding: chunked\r\n", body)


def _get(line: bytes = b"GET /odd HTTP/1.1", host: bytes = b"Host: tidings\r\n", fields: bytes = b"") -> bytes:
    return line + b"\r\n" + host + fields + b"\r\n"


REFUSED = [
    Odd("length_and_coding", 400, _post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n")),
    Odd("coding_and_length", 400, _post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", b"0\r\n\r\n")),
    Odd("differing_lengths", 400, _post(b"Content-Length: 5\r\nContent-Length: 0\r\n", b"hello")),
    Odd("equal_lengths", 400, _post(b"Content-Length: 5\r\nContent-Length: 5\r\n", b"hello")),
    Odd("length_list", 400, _post(b"Content-Length: 5, 5\r\n", b"hello")),
    Odd("length_list_without_space", 400, _post(b"Content-Length: 5,5\r\n", b"hello")),
    Odd("length_with_plus", 400, _post(b"Content-Length: +5\r\n", b"hello")),
    Odd("length_negative", 400, _post(b"Content-Length: -5\r\n", b"hello")),
    Odd("length_hexadecimal", 400, _post(b"Content-Length: 0x5\r\n", b"hello")),
    Odd("length_with_underscore", 400, _post(b"Content-Length: 1_0\r\n", b"hello")),
    Odd("length_empty", 400, _post(b"Content-Length:\r\n", b"hello")),
    Odd("length_not_ascii", 400, _post("Content-Length: ５\r\n".encode(), b"hello")),
    Odd("length_huge", 400, _post(b"Content-Length: 18446744073709551621\r\n", b"hello")),
    Odd("coding_gzip", 400, _post(b"Transfer-Encoding: gzip\r\n", b"0\r\n\r\n")),
    Odd("coding_gzip_chunked", 400, _post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n")),
    Odd("coding_chunked_twice", 400, _post(b"Transfer-Encoding: chunked, chunked\r\n", b"0\r\n\r\n")),
    Odd("coding_identity", 400, _post(b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n")),
    Odd("coding_prefixed", 400, _post(b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n")),
    Odd("coding_quoted", 400, _post(b'Transfer-Encoding: "chunked"\r\n', b"0\r\n\r\n")),
    Odd("coding_with_parameter", 400, _post(b"Transfer-Encoding: chunked;q=1\r\n", b"0\r\n\r\n")),
    Odd("coding_with_vertical_tab", 400, _post(b"Transfer-Encoding: \x0bchunked\r\n", b"0\r\n\r\n")),
    Odd("coding_empty", 400, _post(b"Transfer-Encoding:\r\n", b"0\r\n\r\n")),
    Odd("two_codings", 400, _post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"0\r\n\r\n")),
    Odd("coding_in_http_1_0", 400, _chunked(b"0\r\n\r\n").replace(b"HTTP/1.1", b"HTTP/1.0")),
    Odd("chunk_size_with_0x", 400, _chunked(b"0x5\r\nhello\r\n0\r\n\r\n")),
    Odd("chunk_size_with_plus", 400, _chunked(b"+5\r\nhello\r\n0\r\n\r\n")),
    Odd("chunk_size_negative", 400, _chunked(b"-5\r\nhello\r\n0\r\n\r\n")),
    Odd("chunk_size_with_space_before", 400, _chunked(b" 5\r\nhello\r\n0\r\n\r\n")),
    Odd("chunk_size_with_space_after", 400, _chunked(b"5 \r\nhello\r\n0\r\n\r\n")),
    Odd("chunk_size_empty", 400, _chunked(b"\r\nhello\r\n0\r\n\r\n")),
    Odd("chunk_size_huge", 400, _chunked(b"100000005\r\nhello\r\n0\r\n\r\n")),
    Odd("chunk_size_that_overflows", 400, _chunked(b"10000000000000005\r\nhello\r\n0\r\n\r\n")),
    Odd("chunk_line_with_lone_lf", 400, _chunked(b"5\nhello\r\n0\r\n\r\n")),
    Odd("chunk_extension_with_lone_lf", 400, _chunked(b"5;a\nb\r\nhello\r\n0\r\n\r\n")),
    Odd("chunk_extension_without_end", 400, _chunked(b"5;" + b"a" * 300)),
    Odd("chunk_longer_than_its_size", 400, _chunked(b"3\r\nhello\r\n0\r\n\r\n")),
    Odd("chunk_ended_by_lone_lf", 400, _chunked(b"5\r\nhello\n0\r\n\r\n")),
    Odd("trailer_that_is_not_a_field", 400, _chunked(b"0\r\nnot a field\r\n\r\n")),
    Odd("trailer_with_lone_lf", 400, _chunked(b"0\r\nA: b\nC: d\r\n\r\n")),
    Odd("trailers_too_long", 431, _chunked(b"0\r\n" + b"A: " + b"b" * 17_000)),
    Odd("folded_line", 400, _post(b"Content-Length: 5\r\nX: a\r\n b\r\n", b"hello")),
    Odd("folded_coding", 400, _post(b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n")),
    Odd("folded_first_line", 400, b"GET /odd HTTP/1.1\r\n Host: tidings\r\n\r\n"),
    Odd("lone_lf_between_fields", 400, _get(fields=b"A: b\nC: d\r\n")),
    Odd("lone_lf_everywhere", 400, b"GET /odd HTTP/1.1\nHost: tidings\n\n"),
    Odd("lone_lf_at_the_end", 400, b"GET /odd HTTP/1.1\r\nHost: tidings\r\n\n"),
    Odd("lone_cr_in_a_value", 400, _get(fields=b"A: b\rc\r\n")),
    Odd("lone_cr_between_fields", 400, _get(fields=b"A: b\rTransfer-Encoding: chunked\r\n")),
    Odd("nul_in_a_value", 400, _get(fields=b"A: b\x00c\r\n")),
    Odd("delete_in_a_value", 400, _get(fields=b"A: b\x7fc\r\n")),
    Odd("control_character_in_a_value", 400, _get(fields=b"A: b\x01c\r\n")),
    Odd("space_before_colon", 400, _post(b"Content-Length : 5\r\n", b"hello")),
    Odd("tab_before_colon", 400, _post(b"Transfer-Encoding\t: chunked\r\n", b"0\r\n\r\n")),
    Odd("space_before_name", 400, _post(b"A: b\r\n Content-Length: 5\r\n", b"hello")),
    Odd("name_empty", 400, _get(fields=b": b\r\n")),
    Odd("name_with_space", 400, _get(fields=b"A b: c\r\n")),
    Odd("name_not_ascii", 400, _get(fields="Ä: c\r\n".encode())),
    Odd("field_without_colon", 400, _get(fields=b"A\r\n")),
    Odd("host_missing", 400, _get(host=b"")),
    Odd("host_empty", 400, _get(host=b"Host:\r\n")),
    Odd("host_twice", 400, _get(host=b"Host: tidings\r\nHost: tidings\r\n")),
    Odd("hosts_that_differ", 400, _get(host=b"Host: tidings\r\nHost: elsewhere\r\n")),
    Odd("host_list", 400, _get(host=b"Host: tidings, elsewhere\r\n")),
    Odd("host_with_path", 400, _get(host=b"Host: tidings/path\r\n")),
    Odd("host_with_user", 400, _get(host=b"Host: user@tidings\r\n")),
    Odd("host_twice_in_http_1_0", 400, _get(b"GET /odd HTTP/1.0", host=b"Host: a\r\nHost: b\r\n")),
    Odd("absolute_url_without_host", 400, _get(b"GET http:///odd HTTP/1.1")),
    Odd("absolute_url_with_two_hosts", 400, _get(b"GET http://tidings,elsewhere/odd HTTP/1.1")),
    Odd("absolute_url_and_no_host", 400, _get(b"GET http://tidings/odd HTTP/1.1", host=b"")),
    Odd("absolute_url_with_user", 400, _get(b"GET http://user@tidings/odd HTTP/1.1")),
    Odd("absolute_url_with_user_and_password", 400, _get(b"GET http://user:secret@tidings/odd HTTP/1.1")),
    Odd("absolute_url_with_empty_user", 400, _get(b"GET http://@tidings/odd HTTP/1.1")),
    Odd("absolute_url_with_port_and_no_host", 400, _get(b"GET http://:80/odd HTTP/1.1")),
    Odd("absolute_url_with_query_and_no_host", 400, _get(b"GET http://?odd HTTP/1.1")),
    *(
        Odd(f"{place}_with_{name}", 400, request % host)
        for place, request in (
            ("absolute_url", _get(b"GET http://%b/odd HTTP/1.1")),
            ("host", _get(host=b"Host: %b\r\n")),
        )
        for name, host in (
            ("port_above_65535", b"x:99999"),
            ("port_65536", b"x:65536"),
            ("port_0", b"x:0"),
            ("port_of_zeros", b"x:000"),
            ("port_of_six_digits", b"x:000080"),
            ("port_of_letters", b"x:http"),
            ("negative_port", b"x:-80"),
            ("signed_port", b"x:+80"),
            ("empty_port", b"x:"),
            ("two_ports", b"x:80:80"),
            ("port_of_ipv6_above_65535", b"[::1]:65536"),
            ("ipv6_that_is_none", b"[:::1]"),
            ("ipv6_of_too_many_groups", b"[1:2:3:4:5:6:7:8:9]"),
            ("ipv4_in_brackets", b"[127.0.0.1]"),
            ("nothing_in_brackets", b"[]"),
            ("ipv6_without_brackets", b"::1"),
            ("ipv6_and_more", b"[::1]x"),
            ("ipv6_with_zone", b"[fe80::1%eth0]"),
            ("ipv4_out_of_range", b"999.1.1.1"),
            ("escape", b"a%2Db"),
            ("broken_escape", b"a%zz"),
            ("label_of_64_characters", b"x" * 64),
            ("empty_label", b"a..b"),
        )
    ),
    Odd("absolute_url_of_another_scheme", 400, _get(b"GET file:///odd HTTP/1.1")),
    Odd("target_with_fragment", 400, _get(b"GET /odd#part HTTP/1.1")),
    Odd("target_with_space", 400, _get(b"GET /od d HTTP/1.1")),
    Odd("target_not_ascii", 400, _get("GET /ödd HTTP/1.1".encode())),
    Odd("target_without_slash", 400, _get(b"GET odd HTTP/1.1")),
    Odd("target_asterisk", 400, _get(b"OPTIONS * HTTP/1.1")),
    Odd("two_spaces", 400, _get(b"GET  /odd HTTP/1.1")),
    Odd("tab_in_request_line", 400, _get(b"GET\t/odd HTTP/1.1")),
    Odd("trailing_space_in_request_line", 400, _get(b"GET /odd HTTP/1.1 ")),
    Odd("version_missing", 400, b"GET /odd\r\n\r\n"),
    Odd("version_in_lower_case", 400, _get(b"GET /odd http/1.1")),
    Odd("version_with_two_digits", 400, _get(b"GET /odd HTTP/1.10")),
    Odd("version_0_9", 505, _get(b"GET /odd HTTP/0.9")),
    Odd("version_1_2", 505, _get(b"GET /odd HTTP/1.2")),
    Odd("version_2", 505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Odd("method_unknown", 501, _get(b"FETCH /odd HTTP/1.1")),
    Odd("method_in_lower_case", 501, _get(b"get /odd HTTP/1.1")),
    Odd("method_of_webdav", 501, _get(b"PROPFIND /odd HTTP/1.1")),
    Odd("method_connect", 400, _get(b"CONNECT tidings:80 HTTP/1.1", host=b"Host: tidings:80\r\n")),
    Odd("two_line_breaks_first", 400, b"\r\n\r\n" + _get()),
    Odd("space_first", 400, b" " + _get()),
    Odd("tls_handshake", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    Odd("too_many_fields", 431, _get(fields=b"A: b\r\n" * 101)),
    Odd("head_too_long", 431, _get(fields=b"A: " + b"b" * 17_000 + b"\r\n")),
    Odd("head_too_long_and_unfinished", 431, b"GET /odd HTTP/1.1\r\nA: " + b"b" * 17_000),
    Odd("target_too_long", 431, _get(b"GET /" + b"a" * 17_000 + b" HTTP/1.1")),
]

ACCEPTED = [
    ("plain", _get(), ("GET", "/odd", b"")),
    ("length", _post(b"Content-Length: 5\r\n", b"hello"), ("POST", "/odd", b"hello")),
    ("length_with_leading_zeros", _post(b"Content-Length: 005\r\n", b"hello"), ("POST", "/odd", b"hello")),
    ("length_with_spaces_around", _post(b"Content-Length: \t 5 \t\r\n", b"hello"), ("POST", "/odd", b"hello")),
    ("chunks", _chunked(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), ("POST", "/odd", b"hello")),
    ("chunk_size_with_leading_zeros", _chunked(b"0005\r\nhello\r\n000\r\n\r\n"), ("POST", "/odd", b"hello")),
    ("chunk_extension", _chunked(b'5;a="b"\r\nhello\r\n0;c\r\n\r\n'), ("POST", "/odd", b"hello")),
    ("coding_in_capitals", _post(b"Transfer-Encoding: CHUNKED\r\n", b"0\r\n\r\n"), ("POST", "/odd", b"")),
    ("absolute_url", _get(b"GET http://Tidings/odd?a=b HTTP/1.1"), ("GET", "/odd?a=b", b"")),
    ("absolute_url_of_another_host", _get(b"GET http://elsewhere:81/odd HTTP/1.1"), ("GET", "/odd", b"")),
    ("absolute_url_without_path", _get(b"GET http://tidings HTTP/1.1"), ("GET", "/", b"")),
    ("absolute_url_with_query_only", _get(b"GET http://tidings?a=b HTTP/1.1"), ("GET", "/?a=b", b"")),
    ("target_that_looks_like_a_host", _get(b"GET //elsewhere/odd HTTP/1.1"), ("GET", "//elsewhere/odd", b"")),
    ("target_with_every_character", _get(b"GET /!\"$%25&'()*+,-./:;<=>@[\\]^_`{|}~ HTTP/1.1"),
     ("GET", "/!\"$%&'()*+,-./:;<=>@[\\]^_`{|}~", b"")),
    ("line_break_first", b"\r\n" + _get(), ("GET", "/odd", b"")),
    ("value_not_ascii", _get(fields="A: ä\r\n".encode()), ("GET", "/odd", b"")),
    ("host_with_port", _get(host=b"Host: [::1]:8000\r\n"), ("GET", "/odd", b"")),
    ("host_with_dot_at_the_end", _get(host=b"Host: a_b.example.\r\n"), ("GET", "/odd", b"")),
    ("highest_port", _get(host=b"Host: tidings:65535\r\n"), ("GET", "/odd", b"")),
    ("port_with_leading_zeros", _get(b"GET http://tidings:00080/odd HTTP/1.1"), ("GET", "/odd", b"")),
    ("ipv4_in_ipv6", _get(b"GET http://[::ffff:192.0.2.1]/odd HTTP/1.1"), ("GET", "/odd", b"")),
    ("body_of_get", _get(fields=b"Content-Length: 5\r\n") + b"hello", ("GET", "/odd", b"hello")),
    ("body_before_100_continue", _post(b"Expect: 100-continue\r\nContent-Length: 1\r\n", b"a"), ("POST", "/odd", b"a")),
    ("unknown_expectation", _post(b"Expect: something\r\nContent-Length: 2\r\n", b"hi"), ("POST", "/odd", b"hi")),
]  # fmt: skip


class Waiting:
    """Answers a request once the test says so."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.released = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        self.reached.set()
        await self.released.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})


async def _exchange(url: str, sent: bytes, pause_at: int | None = None) -> bytes:
    """Send bytes, in two pieces when a place for a pause is given, and return all that the server sends."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        writer.write(sent[:pause_at])
        if pause_at is not None:
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(sent[pause_at:])
        async with asyncio.timeout(15):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize("parser", PARSERS)
async def test_odd_requests_are_refused_and_hide_no_second_one(parser: Parser) -> None:
    application = Recorder()
    wrong = {}
    async with serving(application, parser) as url:
        for odd in REFUSED:
            answer = await _exchange(url, odd.sent + SMUGGLED * 2)
            status = int(answer.split()[1]) if answer else None
            if status != odd.status or answer.count(b"HTTP/1.1 ") != 1 or b"connection: close" not in answer.lower():
                wrong[odd.name] = answer
    assert wrong == {}
    assert application.seen == []


@pytest.mark.parametrize("parser", PARSERS)
async def test_odd_requests_are_refused_after_a_good_one(parser: Parser) -> None:
    application = Recorder()
    first = _post(b"Content-Length: 5\r\n", b"first")
    wrong = {}
    async with serving(application, parser) as url:
        for odd in REFUSED:
            answer = await _exchange(url, first + odd.sent + SMUGGLED)
            statuses = [int(part.split()[0]) for part in answer.split(b"HTTP/1.1 ")[1:]]
            if statuses != [200, odd.status]:
                wrong[odd.name] = answer
    assert wrong == {}
    assert application.seen == [("POST", "/odd", b"first")] * len(REFUSED)


@pytest.mark.parametrize("parser", PARSERS)
async def test_allowed_oddities_are_answered_and_the_connection_kept(parser: Parser) -> None:
    application = Recorder()
    async with serving(application, parser) as url:
        for name, sent, _ in ACCEPTED:
            answer = await _exchange(url, sent + _get(b"GET /next HTTP/1.1", fields=b"Connection: close\r\n"))
            assert answer.count(b"HTTP/1.1 200") == 2, (name, answer)
    assert application.seen[::2] == [request for _, _, request in ACCEPTED]
    assert set(application.seen[1::2]) == {("GET", "/next", b"")}


@pytest.mark.parametrize("parser", PARSERS)
async def test_http_1_0_is_answered_once_and_closed(parser: Parser) -> None:
    application = Recorder()
    async with serving(application, parser) as url:
        sent = b"POST /odd HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello"
        answer = await _exchange(url, sent + SMUGGLED)
    assert answer.startswith(b"HTTP/1.1 200")
    assert application.seen == [("POST", "/odd", b"hello")]


@pytest.mark.parametrize("parser", PARSERS)
async def test_host_of_a_whole_url_replaces_the_header(parser: Parser) -> None:
    application = Recorder()
    async with serving(application, parser) as url:
        await _exchange(url, _get(b"GET http://elsewhere:81/odd HTTP/1.1", fields=b"Connection: close\r\n"))
    assert [value for name, value in application.headers[0] if name == b"host"] == [b"elsewhere:81"]


@pytest.mark.parametrize("parser", PARSERS)
async def test_trailer_fields_never_become_header_fields(parser: Parser) -> None:
    application = Recorder()
    async with serving(application, parser) as url:
        sent = _chunked(b"5\r\nhello\r\n0\r\nAuthorization: Bearer forged\r\n\r\n")
        await _exchange(url, sent + _get(fields=b"Connection: close\r\n"))
    assert [dict(headers).get(b"authorization") for headers in application.headers] == [None, None]


@pytest.mark.parametrize("parser", PARSERS)
async def test_refusal_is_a_problem_with_security_headers(parser: Parser) -> None:
    async with serving(Recorder(), parser) as url:
        answer = await _exchange(url, _post(b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"))
    head, body = answer.split(b"\r\n\r\n", 1)
    fields = dict(line.split(": ", 1) for line in head.decode().lower().split("\r\n")[1:])
    assert json.loads(body) == {
        "type": "urn:tidings:problem:malformed-request",
        "title": "Bad Request",
        "status": 400,
        "detail": "A request has Content-Length or Transfer-Encoding, not both.",
        "instance": "/odd",
    }
    assert fields["content-type"] == "application/problem+json"
    assert fields["content-length"] == str(len(body))
    assert fields["x-content-type-options"] == "nosniff"
    assert {"date", "x-request-id", "cache-control"} <= set(fields)


async def provoke_timeout(url: str) -> bytes:
    """Begin a request, and return what a server with short limits answers."""
    return await _exchange(url, b"GET /odd HT")


async def provoke_full_server(url: str, application: Waiting) -> bytes:
    """Keep the one connection that the server allows busy, and return what it answers to another one."""
    async with connection_to(url) as busy:
        busy.writer.write(_get())
        await application.reached.wait()
        answer = await _exchange(url, _get())
        application.released.set()
        await busy.answer()
    return answer


@pytest.mark.parametrize("parser", PARSERS)
async def test_every_refusal_before_routing_is_documented(parser: Parser, tmp_path: Path) -> None:
    application = Waiting()
    async with serving(application, parser, HttpSettings(header_seconds=0.2)) as url:
        answers = [await _exchange(url, odd.sent) for odd in REFUSED] + [await provoke_timeout(url)]
    async with serving(application, parser, HttpSettings(max_connections=1)) as url:
        answers.append(await provoke_full_server(url, application))
    problems = [(int(answer.split()[1]), json.loads(answer.partition(b"\r\n\r\n")[2])) for answer in answers]
    seen = {(status, problem["type"]) for status, problem in problems}
    assert seen == {
        (400, "urn:tidings:problem:malformed-request"),
        (408, "urn:tidings:problem:request-timeout"),
        (431, "urn:tidings:problem:header-fields-too-large"),
        (501, "urn:tidings:problem:method-not-implemented"),
        (503, "urn:tidings:problem:too-many-connections"),
        (505, "urn:tidings:problem:http-version-not-supported"),
    }
    of_no_operation = {(501, "urn:tidings:problem:method-not-implemented")}
    for name, document in api_documents(tmp_path).items():
        assert seen <= documented_problems(document), name
        for method, path, operation in operations(document):
            found = set().union(*map(problems_of, operation["responses"].values()))
            assert seen - of_no_operation <= found, (method, path)


@pytest.mark.parametrize("parser", PARSERS)
@pytest.mark.parametrize("upgrade", ["h2c", "websocket"])
async def test_request_that_offers_an_upgrade_keeps_its_body(parser: Parser, upgrade: str) -> None:
    application = Recorder()
    offer = {"Upgrade": upgrade, "Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AAEAAEAAAAIAAAAB"}
    async with serving(application, parser) as url, connection_to(url) as connection:
        connection.writer.write(request_bytes("POST", "/first", offer, b"body")[:-2])
        await connection.writer.drain()
        connection.writer.write(b"dy")
        assert (await connection.answer()).body == b"POST /first"
        assert (await connection.ask("POST", "/second", {}, b"another")).body == b"POST /second"
    assert application.seen == [("POST", "/first", b"body"), ("POST", "/second", b"another")]


@pytest.mark.parametrize("parser", PARSERS)
async def test_pipelined_requests_are_answered_in_order(parser: Parser) -> None:
    application = Recorder()
    async with serving(application, parser) as url, connection_to(url) as connection:
        connection.writer.write(b"".join(request_bytes("POST", f"/{n}", {}, b"x" * n * 100) for n in range(50)))
        answers = [await connection.answer() for _ in range(50)]
    assert [answer.body for answer in answers] == [f"POST /{number}".encode() for number in range(50)]
    assert [len(body) for _, _, body in application.seen] == [number * 100 for number in range(50)]
