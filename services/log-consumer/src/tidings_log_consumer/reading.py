"""Reading the log: pages, newest first, of what the caller may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from opentelemetry.trace import Tracer
from sqlalchemy import Row, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.database.transactions import Database
from tidings.principal import Principal
from tidings.telemetry import names
from tidings_log_consumer.tables import entries

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KEY_LENGTH = 16


@dataclass(frozen=True)
class Position:
    """Where an entry is in the log: by when it happened, then by its number, for ids are not unique in the log."""

    occurred_at: datetime
    number: int

    def to_bytes(self) -> bytes:
        """Return the position as the key of a cursor."""
        microseconds = (self.occurred_at - EPOCH) // timedelta(microseconds=1)
        return microseconds.to_bytes(8, "big", signed=True) + self.number.to_bytes(8, "big", signed=True)

    @classmethod
    def from_bytes(cls, key: bytes) -> "Position":
        """Return the position in a cursor's key; raises `OverflowError` when it is none."""
        microseconds = int.from_bytes(key[:8], "big", signed=True)
        number = int.from_bytes(key[8:], "big", signed=True)  # signed, as the column is: no number is too large for it
        return cls(EPOCH + timedelta(microseconds=microseconds), number)


@dataclass(frozen=True)
class Filter:
    """Which entries are asked for."""

    trace_id: str | None = None
    type: str | None = None


class Reading:
    """Reads the log.

    Args:
        database: of the log consumer.
        tracer: makes the business span.
    """

    def __init__(self, database: Database, tracer: Tracer) -> None:
        self._database = database
        self._tracer = tracer

    async def newest(
        self, viewer: Principal, wanted: Filter, limit: int, before: Position | None = None
    ) -> tuple[Sequence[Row[Any]], Position | None]:
        """Return up to `limit` entries before `before`, and where the next page starts, if there is one.

        A user sees its own entries, an admin all.
        """
        statement = select(entries).order_by(entries.c.occurred_at.desc(), entries.c.number.desc()).limit(limit + 1)
        if not viewer.is_admin:
            statement = statement.where(entries.c.user_id == viewer.user_id)
        if wanted.trace_id:
            statement = statement.where(entries.c.trace_id == wanted.trace_id)
        if wanted.type:
            statement = statement.where(entries.c.type == wanted.type)
        if before:
            earlier = entries.c.occurred_at < before.occurred_at
            same_time = and_(entries.c.occurred_at == before.occurred_at, entries.c.number < before.number)
            statement = statement.where(entries.c.occurred_at <= before.occurred_at, or_(earlier, same_time))

        async def read(connection: AsyncConnection) -> Sequence[Row[Any]]:
            return (await connection.execute(statement)).all()

        with self._tracer.start_as_current_span(names.SPAN_LIST_LOG):
            rows = await self._database.read(read)
        page = rows[:limit]
        return page, Position(page[-1].occurred_at, page[-1].number) if len(rows) > limit else None
