"""Recording: the one door through which a service writes a fact into its outbox."""

import json
from collections.abc import Callable

from sqlalchemy import Table, insert

from tidings.database.transactions import Transaction
from tidings.events import Event, EventData, encode
from tidings.telemetry.propagation import current_carrier


class Outbox:
    """The outbox of one service.

    Args:
        table: made by `outbox_table`.
        source: the `ce_source` of its events.
    """

    def __init__(self, table: Table, source: str) -> None:
        self.table = table
        self._source = source
        self._wake: Callable[[], None] = lambda: None

    def wakes(self, wake: Callable[[], None]) -> None:
        """Have `wake` called after each commit that recorded something."""
        self._wake = wake

    async def record(self, transaction: Transaction, data: EventData, sequence: int = 1) -> Event[EventData]:
        """Write `data` as an event into `transaction`, with the current trace context; never commits.

        Args:
            transaction: of the change that the event tells of.
            data: the event's data.
            sequence: number of the event within its key, taken under the lock of the aggregate's row, so that the order
                of numbers is the order of commits; 1 for the event that begins the aggregate.

        Returns:
            The event, whose id the caller may give to its client.
        """
        event: Event[EventData] = Event(source=self._source, data=data, sequence=sequence)
        wire = encode(event)
        await transaction.execute(
            insert(self.table).values(
                event_id=event.id,
                topic=wire.topic,
                key=wire.key.decode(),
                headers=json.dumps(wire.headers),
                value=wire.value,
                trace_context=json.dumps(current_carrier()),
                recorded_at=event.time,
            )
        )
        transaction.after_commit(self._wake)
        return event
