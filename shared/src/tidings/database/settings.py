"""Settings of a service's database."""

import os
import re
from pathlib import Path
from urllib.parse import unquote

from pydantic import Field, SecretStr, field_validator

from tidings import addresses
from tidings.settings import Group

MARIADB, SQLITE = "mysql+aiomysql", "sqlite+aiosqlite"
CHARSET = "charset=utf8mb4"


class DatabaseSettings(Group):
    """Where the service keeps its rows, and how long it waits for them."""

    url: SecretStr = Field(
        description="mysql+aiomysql://user:password@host:3306/name or sqlite+aiosqlite:///path/file.db"
    )
    pool_size: int = Field(default=10, ge=1, le=200, description="connections kept open")
    deadline_seconds: float = Field(
        default=1.5, ge=0.05, le=60, allow_inf_nan=False, description="longest time for one unit of work"
    )
    max_clock_difference_seconds: float = Field(
        default=2.0,
        ge=0.1,
        le=60,
        allow_inf_nan=False,
        description="how far this host's clock and the database's may differ; more: not ready",
    )

    @field_validator("url")
    @classmethod
    def _parses_as_it_is_meant(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        rest = addresses.after_scheme(text, (MARIADB, SQLITE))
        if text.startswith(f"{SQLITE}://"):
            _check_file(_sqlite_path(rest))
            return url
        address = addresses.parse(text, (MARIADB,))
        if not address.username:
            raise ValueError("names no user")
        if not re.fullmatch(r"/[^/]+", address.path):
            raise ValueError("names no database" if len(address.path) < 2 else "has a database name with a slash in it")
        if address.query not in (None, CHARSET):
            raise ValueError(f"takes no parameters but {CHARSET}")
        return url


def _sqlite_path(rest: str) -> Path:
    """Return the file that `sqlite+aiosqlite://` and `rest` name."""
    if not rest.startswith("/"):
        raise ValueError(f"names no file; write {SQLITE}:///file.db, or with four slashes {SQLITE}:////folder/file.db")
    path = rest[1:]
    if "?" in path or "#" in path:
        raise ValueError("has a ? or # in it, which the address of a file cannot have; rename the folder or the file")
    addresses.require_escapes(path)
    if path in ("", ":memory:"):
        raise ValueError("names no file")
    return Path(unquote(path))


def _check_file(path: Path) -> None:
    """Raise `ValueError` when SQLite could not open `path`; its text shows nothing of it, which may be a password."""
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ValueError("the folder of the file does not exist or cannot be written")
    try:
        is_folder = path.is_dir()
    except OSError:
        raise ValueError("the name of the file is too long") from None
    if is_folder:
        raise ValueError("names a folder, not a file")
