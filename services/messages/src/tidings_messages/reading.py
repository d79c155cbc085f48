"""Reading: pages of the board, newest first."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from opentelemetry.trace import Tracer
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.database.transactions import Database
from tidings.telemetry import names
from tidings_messages.tables import messages


class Reading:
    """Reads messages.

    Args:
        database: of the messages service.
        tracer: makes the business span.
    """

    def __init__(self, database: Database, tracer: Tracer) -> None:
        self._database = database
        self._tracer = tracer

    async def newest(self, limit: int, before: UUID | None = None) -> tuple[Sequence[Row[Any]], UUID | None]:
        """Return up to `limit` messages older than `before`, and where the next page starts, if there is one.

        A page reads `limit` + 1 rows of the primary key, however deep it is (keyset paging).
        """
        statement = select(messages).order_by(messages.c.id.desc()).limit(limit + 1)
        if before:
            statement = statement.where(messages.c.id < before)

        async def read(connection: AsyncConnection) -> Sequence[Row[Any]]:
            return (await connection.execute(statement)).all()

        with self._tracer.start_as_current_span(names.SPAN_LIST_MESSAGES):
            rows = await self._database.read(read)
        page = rows[:limit]
        return page, page[-1].id if len(rows) > limit else None
