"""Positions: where reading goes on in each partition, kept in the store beside what was read.

A record and the position after it are stored in one transaction. So a store that was restored from a backup reads again
what it lost, whatever Kafka knows about the group.
"""

from collections.abc import Mapping

from aiokafka import TopicPartition
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.database.statements import insert_or_replace
from tidings.database.transactions import Database, DatabaseUnavailable, Transaction
from tidings.kafka.consumer import RetryLater
from tidings_log_consumer.tables import positions


class StoredPositions:
    """The positions of one consumer group.

    Args:
        database: of the log consumer.
        group: the consumer group.
    """

    def __init__(self, database: Database, group: str) -> None:
        self._database = database
        self._group = group
        self._replace = insert_or_replace(positions, database.dialect)

    async def all(self) -> Mapping[TopicPartition, int]:
        """Return the offset of the next record to read, of each partition that the group has read.

        Raises:
            RetryLater: the database does not answer.
        """
        of_group = select(positions).where(positions.c.consumer_group == self._group)

        async def read(connection: AsyncConnection) -> dict[TopicPartition, int]:
            rows = await connection.execute(of_group)
            return {TopicPartition(row.topic, row.partition): row.next_offset for row in rows}

        try:
            return await self._database.read(read)
        except DatabaseUnavailable as error:
            raise RetryLater(str(error)) from error

    async def advance(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Store the offsets of the next records to read.

        Raises:
            RetryLater: the database does not answer.
        """

        async def write(transaction: Transaction) -> None:
            await self.advance_in(transaction, offsets)

        try:
            await self._database.run_in_transaction(write)
        except DatabaseUnavailable as error:
            raise RetryLater(str(error)) from error

    async def advance_in(self, transaction: Transaction, offsets: Mapping[TopicPartition, int]) -> None:
        """Store the offsets of the next records to read, in a transaction that stores the ones before."""
        rows = [
            {"consumer_group": self._group, "topic": topic, "partition": partition, "next_offset": offset}
            for (topic, partition), offset in sorted(offsets.items())  # in one order, so that members do not deadlock
        ]
        await transaction.execute(self._replace, rows)
