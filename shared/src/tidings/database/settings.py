"""Settings of a service's database."""

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
    deadline_seconds: float = Field(default=2.0, gt=0, le=60, description="longest time for one unit of work")

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
        if parsed.get_backend_name() == "sqlite" and not Path(parsed.database).parent.is_dir():
            raise ValueError(f"there is no folder {Path(parsed.database).parent}")
        return url
