"""Listeners: stop to listen without losing a connection that the kernel has already made.

The kernel makes connections by itself. When a listening socket is closed, it resets those that nobody has accepted yet.
Their clients may have sent requests by then.
"""

import asyncio
import ctypes
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress

SO_ATTACH_FILTER = 26  # Linux; Python's `socket` does not name it

_DROP_FIRST_PACKETS = [  # code, jump if true, jump if false, operand; the packet begins with the TCP header
    (0x30, 0, 0, 13),  # load the byte of the flags
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # drop the packet
    (0x06, 0, 0, 0xFFFF_FFFF),  # take the packet
]


def stop_handshakes(servers: Iterable[asyncio.Server]) -> None:
    """Have the kernel begin no new connection, and complete those that it has begun.

    A client's kernel tries again after a second, and is refused then, or reaches the next process. Does nothing where
    the system has no such filter.
    """
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_FIRST_PACKETS)
    instructions = ctypes.create_string_buffer(program)
    pointer = struct.pack("HP", len(_DROP_FIRST_PACKETS), ctypes.addressof(instructions))
    for server in servers:
        for listener in server.sockets:
            with suppress(OSError):
                listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, pointer)


def close_listeners(servers: Iterable[asyncio.Server]) -> list[socket.socket]:
    """Stop to listen, and return the connections that nobody had accepted yet.

    asyncio's sockets are closed while duplicates listen on. Each of these is closed as soon as nothing waits at it.
    """
    waiting = []
    for server in servers:
        duplicates = [listener.dup() for listener in server.sockets]
        server.close()
        for listener in duplicates:
            with listener, suppress(BlockingIOError):
                listener.setblocking(False)
                while True:
                    connection, _ = listener.accept()
                    connection.setblocking(False)
                    waiting.append(connection)
    return waiting
