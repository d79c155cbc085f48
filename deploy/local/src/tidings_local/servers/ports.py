"""The launcher's ports: free ones on the loopback address that stay free while a server is down.

`TIDINGS_LOCAL_PORTS=20000-20999` keeps to a part of them, so that two launchers on one machine take no port of each
other's.
"""

import os
import random
import socket
from typing import NamedTuple, Self

LOOPBACK = "127.0.0.1"

# Below the range from which the usual kernels take the source ports of outgoing connections.
# A port inside that range could be taken by any client while its server is stopped, even by the
# client that tries to reconnect to it: on loopback such a socket connects to itself.
_PORTS = "20000-32000"
_TRIES = 200

_given: set[int] = set()


class BrokerPorts(NamedTuple):
    """The ports of a Kafka broker: for clients, for the controllers' quorum, and for the other brokers."""

    client: int
    controller: int
    internal: int
    advertised: int
    """What clients are told: `client`, or the port of a proxy in front of it."""

    @classmethod
    def free(cls) -> Self:
        """Free ports."""
        client = free_port()
        return cls(client, free_port(), free_port(), advertised=client)


def free_port() -> int:
    """A port on which nothing listens now and that this process has not handed out before.

    Raises:
        OSError: no free port was found.
    """
    first, last = map(int, os.environ.get("TIDINGS_LOCAL_PORTS", _PORTS).split("-"))
    for _ in range(_TRIES):
        port = random.randint(first, last)
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise OSError(f"no free port between {first} and {last}")


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of the loopback address now."""
    with socket.socket() as probe:
        # As servers do: connections of a stopped server still in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
