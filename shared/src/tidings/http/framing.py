"""Framing: where each request of a connection begins and ends, read so strictly that there is one answer.

A proxy and a server that disagree about the end of a request let a client hide a second request in the first (request
smuggling, RFC 9112 section 11.2). Parsers forgive different things, so no parser sees what a client sent. This module
accepts or refuses it first, and hands on each accepted request in one spelling. `docs/http.md` lists what is refused.
"""

import re
from collections.abc import Callable

from tidings.addresses import host_and_port
from tidings.http.refusals import HTTP_VERSION_NOT_SUPPORTED, METHOD_NOT_IMPLEMENTED, Refused, malformed, too_large

MAX_HEAD = 16 * 1024
"""Most bytes of a request line with its header fields, and of the trailer fields of a body."""
MAX_FIELDS = 100
MAX_CHUNK_LINE = 256

METHODS = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"QUERY"})

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_VISIBLE = rb"[\x21-\x7e\x80-\xff]"
_REQUEST_LINE = re.compile(rb"(%b) ([\x21\x22\x24-\x7e]++) HTTP/([0-9]\.[0-9])\r\n" % _TOKEN)
_FIELD = re.compile(rb"(%b):[ \t]*+(%b*+(?:[ \t]++%b++)*+)[ \t]*+\r\n" % (_TOKEN, _VISIBLE, _VISIBLE))
_TOKEN_BYTE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]")
_LONE_CR_OR_LF = re.compile(rb"(?<!\r)\n|\r(?=[^\n])")
_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:;[\t\x20-\x7e]*)?\r\n")


class Framing:
    """Reads the requests of one connection, one after the other, from bytes that arrive in any pieces.

    `take` returns what the parser may have of the current request. It returns nothing of the next request until
    `next_request` is called.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._remaining = 0
        self.next_request()

    def next_request(self) -> None:
        """Start with the next request; the current one is complete."""
        self._step: Callable[[], bytes | None] = self._head
        self._line_break_skipped = False
        self.in_head = True
        """Whether the header fields are not complete yet."""
        self.complete = False
        """Whether the whole request has been taken."""
        self.method = b""
        self.path = b""

    @property
    def held(self) -> int:
        """How many bytes wait to be taken."""
        return len(self._buffer)

    @property
    def begun(self) -> bool:
        """Whether something of the current request has arrived; a line break before it does not count."""
        return not self.in_head or (bool(self._buffer) and self._buffer != b"\r")

    def feed(self, data: bytes) -> None:
        """Add bytes that arrived."""
        self._buffer += data

    def take(self) -> bytes:
        """Return the next bytes of the current request in their one spelling; none when more has to arrive.

        Raises:
            Refused: the request is malformed or too large. Nothing of what arrived with the fault is returned.
        """
        pieces = []
        while not self.complete:
            piece = self._step()
            if piece is None:
                break
            pieces.append(piece)
        return b"".join(pieces)

    def _cut(self, count: int) -> bytes:
        piece = bytes(self._buffer[:count])
        del self._buffer[:count]
        return piece

    def _head(self) -> bytes | None:
        if self._buffer.startswith(b"\r\n") and not self._line_break_skipped:
            # Some old clients end a body with a line break that they do not count (RFC 9112 section 2.2).
            self._line_break_skipped = True
            del self._buffer[:2]
        end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEAD)
        if end < 0:
            self._check_part_of_head()
            return None
        head = self._cut(end + 4)
        line = _REQUEST_LINE.match(head)
        if not line:
            raise malformed("The request line is not `METHOD TARGET HTTP/1.1`.")
        self.method = line[1]
        fields = _fields(head, line.end())
        return self._accept(line[2], line[3], fields)

    def _check_part_of_head(self) -> None:
        """Refuse what cannot become a head, so that nobody waits for the end of it."""
        buffer = self._buffer
        if buffer and not _TOKEN_BYTE.match(buffer) and buffer != b"\r":
            raise malformed("A request begins with its method.")
        if len(buffer) >= MAX_HEAD:
            raise too_large(f"The request line and header fields are longer than {MAX_HEAD} bytes.")
        if _LONE_CR_OR_LF.search(buffer):
            raise malformed("Each line of the header ends with CR LF.")

    def _accept(self, target: bytes, version: bytes, fields: list[tuple[bytes, bytes]]) -> bytes:
        """Return the head as the parser gets it, and remember how the body ends."""
        named: dict[bytes, list[bytes]] = {}
        for name, value in fields:
            named.setdefault(name.lower(), []).append(value)
        if version not in (b"1.0", b"1.1"):
            raise Refused(HTTP_VERSION_NOT_SUPPORTED)
        _check_host(named.get(b"host", []), version)
        self.path, host = _origin_form(target)
        if self.method not in METHODS:
            raise Refused(METHOD_NOT_IMPLEMENTED)
        self._expect_body(named.get(b"content-length", []), named.get(b"transfer-encoding", []), version)
        # No protocol is offered to upgrade to, and one of the parsers would drop the body of a request that asks for
        # it. HTTP/1.0 does not know `Expect`, but the same parser would answer it.
        dropped = {b"upgrade"} if version == b"1.1" else {b"upgrade", b"expect"}
        first = b""
        if host:  # the host of a whole URL counts, and not `Host` beside it (RFC 9112 section 3.2.2)
            dropped.add(b"host")
            first = b"Host: %b\r\n" % host
        rest = b"".join([b"%b: %b\r\n" % field for field in fields if field[0].lower() not in dropped])
        return b"%b %b HTTP/%b\r\n%b%b\r\n" % (self.method, self.path, version, first, rest)

    def _expect_body(self, lengths: list[bytes], codings: list[bytes], version: bytes) -> None:
        if codings and lengths:
            raise malformed("A request has Content-Length or Transfer-Encoding, not both.")
        if codings and (len(codings) > 1 or codings[0].lower() != b"chunked" or version == b"1.0"):
            raise malformed("Transfer-Encoding must be `chunked`, once, in HTTP/1.1.")
        if lengths and (len(lengths) > 1 or not _LENGTH.fullmatch(lengths[0])):
            raise malformed("Content-Length must be one decimal number, once.")
        self.in_head = False
        self._remaining = int(lengths[0]) if lengths else 0
        self._step = self._chunk_line if codings else self._body
        self.complete = not codings and not self._remaining

    def _body(self) -> bytes | None:
        piece = self._data()
        self.complete = not self._remaining
        return piece

    def _data(self) -> bytes | None:
        if not self._buffer:
            return None
        piece = self._cut(self._remaining)
        self._remaining -= len(piece)
        return piece

    def _chunk_line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n", 0, MAX_CHUNK_LINE)
        if end < 0:
            if len(self._buffer) >= MAX_CHUNK_LINE or _LONE_CR_OR_LF.search(self._buffer):
                raise malformed("A chunk begins with its size in hexadecimal, and CR LF.")
            return None
        line = _CHUNK_LINE.fullmatch(self._cut(end + 2))
        if not line:
            raise malformed("A chunk begins with its size in hexadecimal, and CR LF.")
        self._remaining = int(line[1], 16)
        self._step = self._chunk if self._remaining else self._trailers
        return b"%x\r\n" % self._remaining if self._remaining else b""  # extensions are ignored (RFC 9112, 7.1.1)

    def _chunk(self) -> bytes | None:
        piece = self._data()
        if not self._remaining:
            self._step = self._chunk_end
        return piece

    def _chunk_end(self) -> bytes | None:
        if not b"\r\n".startswith(self._buffer[:2]):
            raise malformed("A chunk is not as long as it says.")
        if len(self._buffer) < 2:
            return None
        self._step = self._chunk_line
        return self._cut(2)

    def _trailers(self) -> bytes | None:
        """Skip the trailer fields: nothing reads them, and one of the parsers would take them for header fields."""
        if self._buffer.startswith(b"\r\n"):
            section = self._cut(2)
        else:
            end = self._buffer.find(b"\r\n\r\n", 0, MAX_HEAD)
            if end < 0:
                if len(self._buffer) >= MAX_HEAD:
                    raise too_large(f"The trailer fields are longer than {MAX_HEAD} bytes.")
                if _LONE_CR_OR_LF.search(self._buffer):
                    raise malformed("Each trailer field ends with CR LF.")
                return None
            section = self._cut(end + 4)
        _fields(section, 0)
        self.complete = True
        return b"0\r\n\r\n"


def _fields(section: bytes, position: int) -> list[tuple[bytes, bytes]]:
    """Return names and values of the field lines from `position` to the empty line that ends the section."""
    fields = []
    while field := _FIELD.match(section, position):
        fields.append((field[1], field[2]))
        position = field.end()
    if section[position:] != b"\r\n":
        raise malformed("A header field is not `Name: value` on one line, without control characters.")
    if len(fields) > MAX_FIELDS:
        raise too_large(f"There are more than {MAX_FIELDS} header fields.")
    return fields


def _check_host(hosts: list[bytes], version: bytes) -> None:
    if not hosts and version == b"1.0":
        return
    if len(hosts) != 1 or not _is_host(hosts[0]):
        raise malformed("A request has exactly one Host: a name or an address, with or without a possible port.")


def _origin_form(target: bytes) -> tuple[bytes, bytes]:
    """Return path and query of the target, and its host if the target is a whole URL."""
    if target.startswith(b"/"):
        return target, b""
    url = _ABSOLUTE.fullmatch(target)
    if not url or not _is_host(url[1]):
        raise malformed("The target of a request is a path, or a URL with a host, a possible port and no user.")
    host, rest = url.groups()
    return rest if rest.startswith(b"/") else b"/" + rest, host


def _is_host(text: bytes) -> bool:
    """Return whether `text` is a name or an IP address, with or without a port that can be connected to."""
    try:
        host_and_port(text.decode("ascii"))
    except ValueError:
        return False
    return b"%" not in text  # an IPv6 zone means something on one machine only
