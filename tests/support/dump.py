"""Everything that a database holds, as text."""

from sqlalchemy import Connection, MetaData, select
from sqlalchemy.ext.asyncio import AsyncEngine


async def everything_in(engine: AsyncEngine) -> str:
    """Return every column of every row of every table."""

    def read(connection: Connection) -> str:
        metadata = MetaData()
        metadata.reflect(connection)
        return "\n".join(
            str(tuple(row)) for table in metadata.sorted_tables for row in connection.execute(select(table))
        )

    async with engine.connect() as connection:
        return await connection.run_sync(read)
