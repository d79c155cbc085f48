"""Posting: the rules of a message, its row and its event, in one transaction."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from opentelemetry.trace import Tracer
from sqlalchemy import insert

from tidings.database.transactions import Database, Transaction
from tidings.events import Event, EventData, MessageCreated, uuid7
from tidings.outbox.record import Outbox
from tidings.principal import Principal
from tidings.telemetry import names
from tidings_messages.tables import messages

MAX_LENGTH = 10_000


@dataclass(frozen=True)
class Message:
    """A message, as its row has it."""

    id: UUID
    author_id: UUID
    author: str
    message: str
    created_at: datetime


def normalised(text: str) -> str:
    """Return `text` trimmed; raise `ValueError`, saying what to change, when it is no message."""
    trimmed = text.strip()
    if not trimmed:
        raise ValueError("a message needs at least one character that is not a space")
    if len(trimmed) > MAX_LENGTH:
        raise ValueError(f"a message has at most {MAX_LENGTH:,} characters; this one has {len(trimmed):,}")
    if "\0" in trimmed:
        raise ValueError("a message must not contain the NUL character")
    return trimmed


class Posting:
    """Posts messages.

    Args:
        database: of the messages service.
        outbox: takes the event of each message.
        tracer: makes the business span.
    """

    def __init__(self, database: Database, outbox: Outbox, tracer: Tracer) -> None:
        self._database = database
        self._outbox = outbox
        self._tracer = tracer

    async def post(self, author: Principal, text: str) -> tuple[Message, Event[EventData]]:
        """Write a message and its `message.created` event, both or neither, and return both.

        Args:
            author: the signed-in caller.
            text: as `normalised` returns it.

        Raises:
            DatabaseUnavailable: nothing is known to be written.
        """
        message = Message(uuid7(), author.user_id, author.username, text, datetime.now(UTC))
        created = MessageCreated(
            message_id=message.id, author_id=message.author_id, author=message.author, length=len(text)
        )

        async def write(transaction: Transaction) -> Event[EventData]:
            await transaction.execute(insert(messages).values(vars(message)))
            return await self._outbox.record(transaction, created)

        with self._tracer.start_as_current_span(names.SPAN_POST_MESSAGE) as span:
            span.set_attributes({names.USER_ID: str(author.user_id), names.MESSAGE_LENGTH: len(text)})
            return message, await self._database.run_in_transaction(write)
