"""A crowd of clients that send little or nothing: slow heads, slow bodies and silent connections."""

import resource
import select
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

SLOW_HEAD = b"GET /slow-head HTTP/1.1\r\nHost: tidings\r\n"
SLOW_BODY = (
    "POST {path} HTTP/1.1\r\nHost: tidings\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{{"
)
BODY_BYTES = 1000
BYTE_SECONDS = 1.0
"""How long a slow body takes for each byte, so a body never ends during a test; the server's own limit ends it."""


class Crowd:
    """The slow bodies of a crowd; the other connections need no care.

    Args:
        bodies: connections on which a body has begun.
    """

    def __init__(self, bodies: Sequence[socket.socket]) -> None:
        self._bodies = bodies

    def send_on(self, ending: threading.Event) -> None:
        """Send another byte of each body every second, until the event is set."""
        while not ending.wait(BYTE_SECONDS):
            for connection in self._bodies:
                with suppress(OSError):  # the server has ended it
                    connection.sendall(b" ")

    def bodies_under_way(self) -> int:
        """Return how many slow bodies the server still waits for: it has neither answered nor closed them."""
        ended = select.poll()
        for connection in self._bodies:
            ended.register(connection, select.POLLIN)
        return len(self._bodies) - len(ended.poll(0))


@contextmanager
def crowd(port: int, *, path: str, heads: int, bodies: int, silent: int) -> Iterator[Crowd]:
    """Keep so many connections of each kind open, as far as the server lets them, until the block ends.

    Args:
        port: of the server.
        path: takes a JSON body by `POST`; whatever answers before it has read the body is no slow body.
        heads: how many send half of their header fields.
        bodies: how many send their body byte by byte.
        silent: how many send nothing.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        _connect(stack, port, SLOW_HEAD, heads)
        slow = Crowd(_connect(stack, port, SLOW_BODY.format(path=path, length=BODY_BYTES).encode(), bodies))
        _connect(stack, port, b"", silent)
        ending = threading.Event()
        sender = threading.Thread(target=slow.send_on, args=[ending], name="slow bodies")
        sender.start()
        stack.callback(sender.join)
        stack.callback(ending.set)
        yield slow


def _connect(stack: ExitStack, port: int, sent: bytes, count: int) -> list[socket.socket]:
    connections = []
    for _ in range(count):
        connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=30))
        with suppress(OSError):  # the server may have closed it to make room
            connection.sendall(sent)
        connections.append(connection)
    return connections
