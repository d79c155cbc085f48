"""Posting: the rules of a message, its row and its event, in one transaction."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from opentelemetry.trace import Tracer
from sqlalchemy import insert

from tidings.database.transactions import Transaction
from tidings.events import MessageCreated, uuid7
from tidings.idempotency.key import IdempotencyKey
from tidings.idempotency.once import Idempotency
from tidings.outbox.record import Outbox
from tidings.principal import Principal
from tidings.telemetry import names
from tidings.telemetry.propagation import current_trace_id
from tidings.text import SHOWS_NOTHING, shows_something
from tidings_messages.tables import messages

MAX_LENGTH = 10_000
MAX_GIVEN = 2 * MAX_LENGTH
"""Characters with the spaces at its ends, which are removed."""
PATTERN = rf"^[{SHOWS_NOTHING}]*[^\x00{SHOWS_NOTHING}][^\x00]*$"
"""A text that shows something, and has no NUL."""


@dataclass(frozen=True)
class Message:
    """A message, as its row has it."""

    id: UUID
    author_id: UUID
    author: str
    message: str
    created_at: datetime


@dataclass(frozen=True)
class Posted:
    """A message just posted, with what finds its trail."""

    message: Message
    event_id: UUID
    trace_id: str | None


def normalised(text: str) -> str:
    """Return `text` without the spaces at its ends; raise `ValueError`, with the remedy, when it is not a message.

    Invisible characters stay wherever they are, also at the ends: one at the end may belong to the emoji before it.
    """
    trimmed = text.strip()
    if "\0" in trimmed:
        raise ValueError("a message must not contain the NUL character")
    if not shows_something(trimmed):
        raise ValueError("a message needs at least one character that can be seen")
    if len(trimmed) > MAX_LENGTH:
        raise ValueError(f"a message has at most {MAX_LENGTH:,} characters; this one has {len(trimmed):,}")
    if len(text) > MAX_GIVEN:
        raise ValueError(f"a message has at most {MAX_GIVEN:,} characters with the spaces at its ends")
    return trimmed


class Posting:
    """Posts messages.

    Args:
        idempotency: runs each post in a transaction of the messages service, once for its key.
        outbox: takes the event of each message.
        tracer: makes the business span.
    """

    def __init__(self, idempotency: Idempotency, outbox: Outbox, tracer: Tracer) -> None:
        self._idempotency = idempotency
        self._outbox = outbox
        self._tracer = tracer

    async def post(self, author: Principal, text: str, key: IdempotencyKey | None = None) -> Posted:
        """Write a message and its `message.created` event, both or neither.

        Args:
            author: the signed-in caller.
            text: as `normalised` returns it.
            key: a post with the key of an earlier one writes nothing, and returns what that one did.

        Raises:
            IdempotencyKeyInUse, IdempotencyKeyReused: nothing was written.
            DatabaseUnavailable: nothing is known to be written.
        """
        message = Message(uuid7(), author.user_id, author.username, text, datetime.now(UTC))
        created = MessageCreated(
            message_id=message.id, author_id=message.author_id, author=message.author, length=len(text)
        )

        async def write(transaction: Transaction) -> Posted:
            await transaction.execute(insert(messages).values(vars(message)))
            event = await self._outbox.record(transaction, created)
            return Posted(message, event.id, current_trace_id())

        with self._tracer.start_as_current_span(names.SPAN_POST_MESSAGE) as span:
            span.set_attributes({names.USER_ID: str(author.user_id), names.MESSAGE_LENGTH: len(text)})
            return await self._idempotency.run(key, write, Posted)
