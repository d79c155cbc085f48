"""A crowd of clients that send little or nothing: slow heads, slow bodies and silent connections."""

import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

SLOW_HEAD = b"GET /slow-head HTTP/1.1\r\nHost: tidings\r\n"
SLOW_BODY = b"POST /slow-body HTTP/1.1\r\nHost: tidings\r\nContent-Length: 100\r\n\r\nx"


@contextmanager
def crowd(port: int, *, heads: int, bodies: int, silent: int) -> Iterator[None]:
    """Keep so many connections of each kind open, as far as the server lets them, until the block ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        for sent, count in ((SLOW_HEAD, heads), (SLOW_BODY, bodies), (b"", silent)):
            for _ in range(count):
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
                with suppress(OSError):  # the server may have closed it to make room
                    connection.sendall(sent)
        yield
