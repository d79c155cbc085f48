"""Settings of a service's database."""

import os
from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from tidings.settings import Group

DRIVERS = ("mysql+aiomysql", "sqlite+aiosqlite")


class DatabaseSettings(Group):
    """Where the service keeps its rows, and how long it waits for them."""

    url: SecretStr = Field(
        description="mysql+aiomysql://user:password@host:3306/name or sqlite+aiosqlite:///path/file.db"
    )
    pool_size: int = Field(default=10, ge=1, le=200, description="connections kept open")
    deadline_seconds: float = Field(default=1.5, gt=0, le=60, description="longest time for one unit of work")

    @field_validator("url")
    @classmethod
    def _known_driver(cls, url: SecretStr) -> SecretStr:
        try:
            parsed = make_url(url.get_secret_value())
        except (ArgumentError, ValueError):
            raise ValueError("is no database URL") from None
        if parsed.drivername not in DRIVERS:
            raise ValueError(f"must start with {' or '.join(f'{driver}://' for driver in DRIVERS)}")
        if not parsed.database:
            raise ValueError("names no database")
        if parsed.get_backend_name() == "sqlite":
            _check_file(Path(parsed.database))
        return url


def _check_file(path: Path) -> None:
    """Raise `ValueError` when SQLite could not open `path`."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a file")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ValueError(f"there is no folder {path.parent} that can be written")
