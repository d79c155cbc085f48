"""The proxy: what each of its modes does to a connection."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from faults.proxy import LATENCY_SECONDS, Mode, Proxy, open_proxies


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back what it gets; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=[connection], daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


@pytest.fixture
def proxy(echo: int) -> Iterator[Proxy]:
    with open_proxies() as proxies:
        yield proxies.to(echo)


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with connected(proxy) as client:
        yield client


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=1)


def echoed(client: socket.socket, data: bytes) -> bytes:
    client.sendall(data)
    return received(client, len(data))


def received(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += client.recv(count - len(data)) or pytest.fail(f"the connection ended after {len(data)} bytes")
    return data


def test_it_forwards_both_ways_without_changing_a_byte(client: socket.socket) -> None:
    data = bytes(range(256)) * 4096
    threading.Thread(target=client.sendall, args=[data], daemon=True).start()
    assert received(client, len(data)) == data


def test_latency_delays_what_the_client_sends_and_keeps_its_order(proxy: Proxy, client: socket.socket) -> None:
    proxy.become(Mode.LATENCY)
    started = time.monotonic()
    client.sendall(b"first ")
    assert echoed(client, b"second") == b"first "
    proxy.become(Mode.FORWARD)
    assert received(client, 6) == b"second"
    assert time.monotonic() - started >= LATENCY_SECONDS


def test_a_reset_ends_open_connections_and_new_ones_until_the_heal(proxy: Proxy, client: socket.socket) -> None:
    assert echoed(client, b"before") == b"before"
    proxy.become(Mode.RESET)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionResetError), connected(proxy) as another:
        another.recv(1)
    proxy.become(Mode.FORWARD)
    with connected(proxy) as healed:
        assert echoed(healed, b"after") == b"after"


def test_a_black_hole_takes_everything_and_answers_nothing(proxy: Proxy, client: socket.socket) -> None:
    with connected(proxy) as idle:
        assert echoed(idle, b"before") == b"before"
        proxy.become(Mode.BLACK_HOLE)
        with pytest.raises(TimeoutError):
            echoed(client, b"lost")
        with connected(proxy) as new:
            new.sendall(b"lost too")
            with pytest.raises(TimeoutError):
                new.recv(1)
            proxy.become(Mode.FORWARD)
            for dead in (client, new):
                with pytest.raises(TimeoutError):
                    echoed(dead, b"never")
        assert echoed(idle, b"lost nothing") == b"lost nothing"


def test_the_end_of_a_connection_does_not_leave_a_black_hole_before_the_heal(proxy: Proxy, echo: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    proxy.upstream = listener.getsockname()[1]
    with listener, connected(proxy) as client:
        server, _ = listener.accept()
        server.settimeout(0.5)
        proxy.become(Mode.BLACK_HOLE)
        client.close()
        with server:
            with pytest.raises(TimeoutError):
                server.recv(1)
            proxy.become(Mode.FORWARD)
            assert server.recv(1) == b""


def test_a_server_that_is_gone_resets_at_once(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy.upstream = listener.getsockname()[1]
    with pytest.raises(ConnectionResetError), connected(proxy) as client:
        client.recv(1)
