"""Rebalances: a member gives its partitions away only after the batch in hand, or after a while without it."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

from aiokafka import TopicPartition
from aiokafka.abc import ConsumerRebalanceListener

HAND_OVER_SECONDS = 5.0
"""How long a rebalance waits for the batch in hand; less than the group's session timeout of ten seconds."""


class HandOver(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Holds a rebalance back until the batch in hand is stored and committed.

    A batch that takes longer is not lost: whoever gets the partition reads it again, and storing is idempotent.
    """

    def __init__(self) -> None:
        self._hands_free = asyncio.Event()
        self._hands_free.set()
        self.wanted = asyncio.Event()
        """Set while the group waits for this member: a batch that cannot be stored now should be let go."""
        self.rebalances = 0
        """How many there have been: positions read before one say nothing after it."""
        self.new: frozenset[TopicPartition] = frozenset()
        """Partitions of the last rebalance, until reading begins at their stored positions."""

    @contextlib.contextmanager
    def batch_in_hand(self) -> Iterator[None]:
        """Say that a batch is being stored until the block ends."""
        self._hands_free.clear()
        try:
            yield
        finally:
            self._hands_free.set()

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Wait for the batch in hand; called by aiokafka before it joins the group again."""
        self.wanted.set()
        self.rebalances += 1
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hands_free.wait(), HAND_OVER_SECONDS)

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Go on; called by aiokafka when the member has its new partitions."""
        self.new = frozenset(assigned)
        self.wanted.clear()
