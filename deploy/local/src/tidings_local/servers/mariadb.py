"""The launcher's MariaDB: one private server with real durability and small memory."""

import os
import re
import shutil
import socket
from collections.abc import Sequence
from pathlib import Path

from tidings_local.servers.command import run
from tidings_local.servers.ports import LOOPBACK
from tidings_local.servers.programs import program
from tidings_local.servers.server import Server

_CHARSET = "utf8mb4"
# Compares trailing spaces too, as SQLite and Python do.
_COLLATION = "utf8mb4_nopad_bin"
_MAX_CONNECTIONS = 300

# Relative to the data folder, in which server and client run: a Unix socket's path may have
# 107 bytes only, and a test's folder is often deeper.
_SOCKET = "mariadb.sock"

_PROTOCOL_VERSION = 10
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")


class MariaDB(Server):
    """A private MariaDB; root has no password and comes over the loopback address only."""

    kind = "MariaDB"

    @property
    def data(self) -> Path:
        """The folder of MariaDB's own files."""
        return self.folder / "data"

    def url(self, database: str) -> str:
        """The SQLAlchemy URL of a database, for the aiomysql driver."""
        return f"mysql+aiomysql://root@{LOOPBACK}:{self.port}/{database}?charset={_CHARSET}"

    def create_database(self, name: str) -> None:
        """Create a database (utf8mb4, binary collation without padding) unless it exists.

        Raises:
            ValueError: the name has other characters than ASCII letters, digits and underscores.
            ServerFailed: the server refused.
        """
        self._execute(f"CREATE DATABASE IF NOT EXISTS {_quoted(name)} CHARACTER SET {_CHARSET} COLLATE {_COLLATION}")

    def drop_database(self, name: str) -> None:
        """Drop a database and all it holds, if it exists. Raises as `create_database` does."""
        self._execute(f"DROP DATABASE IF EXISTS {_quoted(name)}")

    def _execute(self, statement: str) -> None:
        client = [program("mariadb"), "--no-defaults", "--protocol=socket", f"--socket={_SOCKET}"]
        run(f"{self.name}: {statement}", [*client, "--user=root", "-e", statement], self.data)

    def _prepare(self) -> None:
        if self.data.exists():
            return
        # Built aside and renamed: an interrupted installation is never taken for a whole one.
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        install = [
            program("mariadb-install-db"),
            "--no-defaults",
            f"--datadir={unfinished}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        ]
        run("mariadb-install-db", [*install, *_as_root()])
        unfinished.rename(self.data)

    def _command(self) -> Sequence[str]:
        return [
            program("mariadbd"),
            "--no-defaults",
            *_as_root(),
            f"--datadir={self.data}",
            f"--socket={_SOCKET}",
            f"--pid-file={self.folder / 'mariadb.pid'}",
            f"--bind-address={LOOPBACK}",
            f"--port={self.port}",
            "--skip-name-resolve",
            f"--max-connections={_MAX_CONNECTIONS}",
            f"--character-set-server={_CHARSET}",
            f"--collation-server={_COLLATION}",
            "--innodb-flush-log-at-trx-commit=1",
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=32M",
        ]

    def _answers(self) -> bool:
        # The greeting's fifth byte is the protocol version; an error packet has 0xFF there.
        with self._connect() as connection:
            return connection.recv(5, socket.MSG_WAITALL)[4:] == bytes([_PROTOCOL_VERSION])


def _quoted(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a database name: {name!r}")
    return f"`{name}`"


def _as_root() -> list[str]:
    # MariaDB refuses to run as root unless told so.
    return ["--user=root"] if os.geteuid() == 0 else []
