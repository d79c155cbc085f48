"""The launcher's question to Kafka: which brokers does this one know to be ready?"""

import socket
import struct
from typing import BinaryIO

# Kafka protocol, Metadata (key 3) version 1 for no topic at all, with request header version 1:
# key, version, correlation, client (null), number of topics; before it the length of all this.
_REQUEST = struct.pack(">ihhihi", 14, 3, 1, 0, -1, 0)


def ready_brokers(connection: socket.socket) -> set[int]:
    """The ids of the brokers that take clients, as the connected broker sees its cluster.

    A broker that has started but is still fenced answers, and is not among them.

    Raises:
        OSError: the broker does not answer, or not in full.
    """
    connection.sendall(_REQUEST)
    with connection.makefile("rb") as reply:
        _length, _correlation, count = _integer(reply), _integer(reply), _integer(reply)
        return {_broker(reply) for _ in range(count)}


def _broker(reply: BinaryIO) -> int:
    node = _integer(reply)
    _skip_string(reply)  # the host
    _integer(reply)  # the port
    _skip_string(reply)  # the rack
    return node


def _integer(reply: BinaryIO) -> int:
    return int.from_bytes(_exactly(reply, 4), signed=True)


def _skip_string(reply: BinaryIO) -> None:
    # The length -1 stands for null.
    length = int.from_bytes(_exactly(reply, 2), signed=True)
    _exactly(reply, max(length, 0))


def _exactly(reply: BinaryIO, count: int) -> bytes:
    data = reply.read(count)
    if len(data) < count:
        raise ConnectionError("the reply ended early")
    return data
