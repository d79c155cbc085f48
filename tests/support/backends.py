"""Backends for one test: embedded ones in its folder, or databases of its own on the real servers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from support.servers import RealServers
from tidings_local.backends import Backends, embedded_backends


@contextmanager
def fresh_backends(folder: Path, servers: RealServers | None) -> Iterator[Backends]:
    """Open backends; the real ones when there are `servers`, else embedded in `folder`."""
    if servers is None:
        with embedded_backends(folder) as backends:
            yield backends
        return
    unique = uuid4().hex[:8]
    mariadb = servers.mariadb
    made: list[str] = []

    def database(name: str) -> str:
        full = f"tidings_{name}_{unique}"
        mariadb.create_database(full)
        made.append(full)
        return mariadb.url(full)

    yield Backends(database=database, redis=servers.redis.url, kafka=servers.kafka.bootstrap, described="real servers")
    for full in made:
        mariadb.drop_database(full)
