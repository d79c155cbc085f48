"""The engine: one pool of connections for each service, prepared for its kind of database."""

from typing import Any

from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer
from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from tidings.database.settings import DatabaseSettings
from tidings.telemetry.setup import Telemetry

WRITES = "tidings_writes"
"""Execution option of a connection whose transaction will write."""

BUSY_SECONDS = 0.5
"""How long SQLite waits for another writer: in a thread that nothing can stop. To wait longer, begin again."""


def create_engine(
    settings: DatabaseSettings, telemetry: Telemetry | None = None, statement_seconds: float | None = None
) -> AsyncEngine:
    """Return an engine for `settings.url`; it connects on first use.

    With `telemetry` every statement makes a span of that service. The tracer is attached to this engine alone, because
    OpenTelemetry's instrumentor is one for the whole process and refuses this SQLAlchemy.

    Args:
        settings: of the database.
        telemetry: of the service, if statements make spans.
        statement_seconds: how long one statement may take, when that is not the settings' deadline.
    """
    url = make_url(settings.url.get_secret_value())
    if url.get_backend_name() == "sqlite":
        engine = create_async_engine(url, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
    else:
        limit = statement_seconds or settings.deadline_seconds
        engine = create_async_engine(
            url.update_query_dict({"charset": "utf8mb4"}),
            hide_parameters=True,
            isolation_level="READ COMMITTED",
            pool_size=settings.pool_size,
            max_overflow=0,
            pool_timeout=settings.deadline_seconds,
            pool_pre_ping=True,
            # Every unit of work ends its transaction itself, within its deadline. A rollback by the pool would come
            # after it, where SQLAlchemy lets no cancellation through: on a dead connection it would never end.
            pool_reset_on_return=None,
            pool_recycle=900,
            connect_args={
                "connect_timeout": settings.deadline_seconds,
                # The server ends a statement that nobody waits for any more.
                "init_command": f"SET SESSION max_statement_time={limit}, time_zone='+00:00'",
            },
        )
    if telemetry:
        usage = telemetry.meter.create_up_down_counter("db.client.connection.count")
        EngineTracer(telemetry.tracer, engine.sync_engine, usage)  # type: ignore[no-untyped-call]
    return engine


def is_locked(error: DBAPIError) -> bool:
    """Return whether SQLite refuses because another connection writes."""
    return "database is locked" in str(error.orig)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; _begin_sqlite does
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at the start of a transaction that writes: taken later, it may be refused at once."""
    writes = connection.get_execution_options().get(WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
