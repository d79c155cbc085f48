"""Column types: what goes in comes out, in the same order, and never without a zone."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.exc import StatementError
from sqlalchemy.schema import CreateTable

from tidings.database.columns import MARIADB, Id, Moment, ascii_text, new_metadata

METADATA = new_metadata()
THINGS = sa.Table(
    "things",
    METADATA,
    sa.Column("id", Id, primary_key=True),
    sa.Column("other", Id),
    sa.Column("at", Moment),
    sa.Column("name", ascii_text(20), unique=True),
    **MARIADB,
)
MOMENTS = st.datetimes(
    datetime(1, 1, 2),  # noqa: DTZ001  # zones are drawn
    datetime(9999, 12, 30),  # noqa: DTZ001  # as above
    timezones=st.integers(min_value=-720, max_value=720).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)


@pytest.fixture(scope="module")
def engine() -> Iterator[sa.Engine]:
    engine = sa.create_engine("sqlite://")
    METADATA.create_all(engine)
    yield engine
    engine.dispose()


def stored(engine: sa.Engine, row: dict[str, Any]) -> Any:
    with engine.connect() as connection:
        connection.execute(sa.insert(THINGS).values(row))
        return connection.execute(sa.select(THINGS).where(THINGS.c.id == row["id"])).one()


@given(identifier=st.uuids(), at=MOMENTS)
def test_ids_and_moments_survive_the_database(engine: sa.Engine, identifier: UUID, at: datetime) -> None:
    row = stored(engine, {"id": identifier, "other": identifier, "at": at})
    assert (row.id, row.other, row.at) == (identifier, identifier, at)
    assert row.at.tzinfo is UTC


def test_nothing_survives_as_nothing(engine: sa.Engine) -> None:
    row = stored(engine, {"id": UUID(int=1), "other": None, "at": None})
    assert (row.other, row.at) == (None, None)


@given(st.sets(st.uuids(), min_size=2, max_size=10))
def test_ids_are_ordered_as_their_bytes(engine: sa.Engine, identifiers: set[UUID]) -> None:
    with engine.connect() as connection:
        connection.execute(sa.insert(THINGS), [{"id": identifier} for identifier in identifiers])
        found = connection.execute(sa.select(THINGS.c.id).order_by(THINGS.c.id)).scalars().all()
    assert list(found) == sorted(identifiers)


def test_a_moment_without_zone_is_refused(engine: sa.Engine) -> None:
    with pytest.raises(StatementError, match="needs a time zone"):
        stored(engine, {"id": UUID(int=1), "at": datetime(2026, 1, 1)})  # noqa: DTZ001  # the point


def test_an_id_takes_sixteen_bytes() -> None:
    with sqlite3.connect(":memory:") as connection:
        value = Id().process_bind_param(UUID(int=1), sqlite.dialect())
        assert connection.execute("SELECT length(?), typeof(?)", (value, value)).fetchone() == (16, "blob")
    connection.close()


def test_mariadb_gets_microseconds_bytes_and_collations_of_its_own() -> None:
    dialect = mysql.dialect()
    ddl = str(CreateTable(THINGS).compile(dialect=dialect))
    assert "`at` DATETIME(6)" in ddl or "at DATETIME(6)" in ddl
    assert "id BINARY(16) NOT NULL" in ddl
    assert "VARCHAR(20) CHARACTER SET ascii COLLATE ascii_bin" in ddl
    assert "COLLATE utf8mb4_nopad_bin" in ddl
    assert "ENGINE=InnoDB" in ddl


def test_every_constraint_has_a_name_so_that_a_migration_can_change_it() -> None:
    ddl = str(CreateTable(THINGS).compile(dialect=sqlite.dialect()))
    assert "CONSTRAINT pk_things PRIMARY KEY" in ddl
    assert "CONSTRAINT uq_things_name UNIQUE" in ddl
