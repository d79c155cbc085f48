"""The launcher's programs: which are installed, and what to install for the others."""

import os
import shutil

from tidings_local.servers.errors import ServerMissing
from tidings_local.servers.kafka_jars import jars_are_cached

# The programs of each server, and the Debian package that brings each of them.
_PACKAGES = {
    "MariaDB": {
        "mariadbd": "mariadb-server",
        "mariadb-install-db": "mariadb-server",
        "mariadb": "mariadb-client",
    },
    "Redis": {"redis-server": "redis-server"},
    "Kafka": {"java": "default-jre-headless", "mvn": "maven"},
    "kcat": {"kcat": "kcat"},
    "Node.js": {"node": "nodejs", "npm": "npm"},
    "faketime": {"faketime": "faketime"},
}

# Debian keeps servers here, and leaves it out of the PATH of everyone but root.
_SERVER_FOLDER = "/usr/sbin"


def find(program: str) -> str | None:
    """The path of an installed program, or None."""
    path = os.environ.get("PATH", os.defpath)
    return shutil.which(program, path=os.pathsep.join([path, _SERVER_FOLDER]))


def program(name: str) -> str:
    """The path of a program.

    Raises:
        ServerMissing: it is not installed.
    """
    found = find(name)
    if found is None:
        raise ServerMissing(f"{name} is not installed")
    return found


def missing() -> dict[str, str]:
    """What cannot run here: the server's name, and one line that says what to install.

    The names are those of the servers; kcat, which is the command-line client of Kafka; Node.js, on which the tests
    run a TypeScript client; and faketime, which moves the clock of one process.
    """
    packages = {server: packages_for(server) for server in _PACKAGES}
    return {server: _line(server, needed) for server, needed in packages.items() if needed}


def packages_for(server: str) -> list[str]:
    """The Debian packages this server lacks here."""
    lacking = {
        package
        for name, package in _PACKAGES[server].items()
        if not find(name) and not (name == "mvn" and jars_are_cached())
    }
    return sorted(lacking)


def require(server: str) -> None:
    """Check that all programs of a server are there.

    Raises:
        ServerMissing: one is not installed.
    """
    if needed := packages_for(server):
        raise ServerMissing(_line(server, needed))


def _line(server: str, packages: list[str]) -> str:
    return f"{server} is not installed: apt-get install {' '.join(packages)}"
