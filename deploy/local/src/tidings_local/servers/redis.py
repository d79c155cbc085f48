"""The launcher's Redis: one private server that keeps what it is told."""

from collections.abc import Sequence

from tidings_local.servers.ports import LOOPBACK
from tidings_local.servers.programs import program
from tidings_local.servers.server import Server

_PING, _PONG = b"PING\r\n", b"+PONG\r\n"


class Redis(Server):
    """A private Redis with an append-only file: a killed server forgets nothing it confirmed."""

    kind = "Redis"

    @property
    def url(self) -> str:
        """The URL of database 0."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def _command(self) -> Sequence[str]:
        options = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
        }
        flags = [part for key, value in options.items() for part in (f"--{key}", value)]
        return [program("redis-server"), *flags]

    def _answers(self) -> bool:
        # While it reads its file it answers -LOADING.
        with self._connect() as connection:
            connection.sendall(_PING)
            return connection.recv(64) == _PONG
