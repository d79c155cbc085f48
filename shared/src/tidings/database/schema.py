"""The schema that a release needs, and whether a database has it.

Revisions are numbered, `0001` and on, each after the one before, and each one's file begins with its number. So a
database that a newer release has migrated is told from one that is not this service's, and whether it suits this
release is looked up in its columns. Alembic is not imported here: a service that serves does not need it.
"""

import re
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path

from sqlalchemy import Connection, MetaData, inspect, text
from sqlalchemy.engine.interfaces import ReflectedColumn
from sqlalchemy.ext.asyncio import AsyncEngine

REVISION = re.compile(r"[0-9]{4}")


class WrongSchema(Exception):
    """The database's schema does not suit this release; the message says why, and what to do."""


class SchemaBehind(WrongSchema):
    """The database lacks a migration; the message names the missing revision."""


def location(package: str) -> Path:
    """Return the folder of `package`'s migrations: inside an installed wheel, beside `src/` in a checkout."""
    inside = Path(str(files(package))) / "migrations"
    return inside if inside.is_dir() else inside.parents[2] / "migrations"


@cache
def revisions(package: str) -> tuple[str, ...]:
    """Return the revisions that this release of `package` knows, the oldest first."""
    versions = location(package) / "versions"
    return tuple(sorted(file.name[:4] for file in versions.glob("*.py") if REVISION.match(file.name)))


def head(package: str) -> str:
    """Return the newest revision that this release of `package` knows."""
    return revisions(package)[-1]


def current_revision(connection: Connection) -> str | None:
    """Return the revision of the database, `None` when it was never migrated."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


async def require_head(engine: AsyncEngine, package: str) -> None:
    """Check that the database has every migration of `package`; one that is ahead is fine when it suits this release.

    Raises:
        SchemaBehind: naming the revision that is missing.
        WrongSchema: the database is another service's, or does not suit this release.
    """
    newest = head(package)

    def check(connection: Connection) -> None:
        current = current_revision(connection)
        if current != newest and not is_ahead(connection, package):
            missing = f"the database is at revision {current}, {newest} is missing"
            raise SchemaBehind(f"{missing}: run python -m {package} migrate")

    async with engine.connect() as connection, connection.begin():
        await connection.run_sync(check)


def is_ahead(connection: Connection, package: str) -> bool:
    """Return whether a newer release has migrated the database.

    Raises:
        WrongSchema: the database is another service's, or does not suit this release.
    """
    current = current_revision(connection)
    if current is None or current in revisions(package):
        return False
    if not REVISION.fullmatch(current) or current < head(package):
        raise WrongSchema(
            f"the database is at revision {current!r}, which {package} never had: is it another's database?"
        )
    if lacks := unsuitable(connection, package):
        ahead = f"the database is at revision {current}, ahead of this release's {head(package)}, and {lacks}"
        raise WrongSchema(f"{ahead}: use the release that migrated it, or this service's own database")
    return True


def unsuitable(connection: Connection, package: str) -> str | None:
    """Return what this release needs and the database lacks, or demands and this release does not give; else `None`."""
    metadata: MetaData = import_module(f"{package}.tables").metadata
    present = {
        table: {column["name"]: column for column in columns}
        for (_, table), columns in inspect(connection).get_multi_columns().items()
    }
    tables = metadata.sorted_tables
    lacking = [str(column) for table in tables for column in table.c if column.name not in present.get(table.name, {})]
    if lacking:
        return f"lacks {', '.join(lacking)}"
    demanded = [
        f"{table.name}.{name}"
        for table in tables
        for name, column in present[table.name].items()
        if name not in table.c and not _fills_itself(column)
    ]
    return f"demands {', '.join(demanded)}" if demanded else None


def _fills_itself(column: ReflectedColumn) -> bool:
    """Return whether an INSERT need not give the column a value; SQLite numbers a primary key itself."""
    numbered = column.get("autoincrement") is True or bool(column.get("primary_key"))
    return column["nullable"] or column["default"] is not None or numbered
