"""Writes: whether the database takes them, or is a replica or a server that is being moved."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine


class ReadOnlyDatabase(Exception):
    """The database answers, and takes no writes."""


async def require_writes(engine: AsyncEngine) -> None:
    """Check that the database takes writes.

    A user with the privilege READ_ONLY ADMIN could write all the same, but no service should have it.

    Raises:
        ReadOnlyDatabase: it does not.
    """
    if engine.dialect.name == "sqlite":
        return
    async with engine.connect() as connection, connection.begin():
        if str((await connection.execute(text("SELECT @@GLOBAL.read_only"))).scalar_one()) not in ("0", "OFF"):
            raise ReadOnlyDatabase("the database is read-only (read_only); use the server that takes writes")
