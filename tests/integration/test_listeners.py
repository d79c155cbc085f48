"""The end of listening: what the kernel has accepted is served, what it has not is refused."""

import asyncio
import socket

import pytest

from tidings.listeners import close_listeners, stop_handshakes


async def listening() -> tuple[asyncio.Server, int]:
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    return server, port


async def test_waiting_connections_are_returned_with_what_they_sent() -> None:
    server, port = await listening()
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]  # asyncio has no turn to accept them
    for client in clients:
        client.sendall(b"request")
    waiting = close_listeners([server])
    assert len(waiting) == 5
    for connection, client in zip(waiting, clients, strict=True):
        connection.setblocking(True)
        assert connection.recv(100) == b"request"
        connection.sendall(b"answer")
        assert client.recv(100) == b"answer"
        connection.close()
        client.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


async def test_no_connection_begins_after_handshakes_stop() -> None:
    server, port = await listening()
    with socket.create_connection(("127.0.0.1", port)) as before:
        stop_handshakes([server])
        with pytest.raises(TimeoutError):
            socket.create_connection(("127.0.0.1", port), timeout=0.2)
        (accepted,) = close_listeners([server])
        accepted.close()
        assert before.recv(1) == b""
