"""Commands: what an operator sees of an outbox, and does about rows that Kafka refused."""

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Row, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.database.transactions import Database, Transaction
from tidings.outbox.parking import park, unpark
from tidings.outbox.progress import progress
from tidings.terminal import Listing

SHOWN = 50
PIECE = 500
"""How many rows one transaction changes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `list`, `show`, `park` and `retry`."""
    commands = parser.add_subparsers(dest="outbox_command", required=True)
    listing = commands.add_parser("list", help=f"the oldest {SHOWN} rows that are not published yet")
    listing.add_argument("--parked", action="store_true", help="only rows that Kafka refused")
    commands.add_parser("show", help="one row, whole").add_argument("position", type=position)
    park_help = "set a row aside; the later ones of its key wait"
    commands.add_parser("park", help=park_help).add_argument("position", type=position)
    _add_retry(commands.add_parser("retry", help="publish parked rows again, and then the later ones of their keys"))


def position(text: str) -> int:
    """Return a position; argparse reports the `ValueError` of a number that no database has a place for."""
    number = int(text)
    if not 0 <= number < 2**63:
        raise ValueError
    return number


def condition(text: str) -> str:
    """Return what rows must be like; an empty one, as of an unset shell variable, would mean all of them.

    Raises:
        ArgumentTypeError: it is empty.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; leave the option out if it is not meant to choose")
    return text


def _add_retry(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "positions", type=position, nargs="*", default=[], metavar="position", help="as `list` shows them"
    )
    which.add_argument("--all", action="store_true", help="every parked row")
    parser.add_argument("--reason", type=condition, help="only rows whose reason has this text, in capitals or not")
    parser.add_argument("--topic", type=condition, help="only rows for this topic")
    parser.add_argument("--dry-run", action="store_true", help="only say how many rows these are")


async def run(arguments: argparse.Namespace, database: Database, table: Table) -> str:
    """Carry out one command and return what to print.

    Raises:
        LookupError: there is no row at this position.
        DatabaseUnavailable: the database does not answer.
    """
    if arguments.outbox_command == "list":
        return await _list(database, table, parked=arguments.parked)
    if arguments.outbox_command == "retry":
        return await _retry(database, table, arguments)
    row = await _row(database, table, arguments.position)
    if arguments.outbox_command == "show":
        return Listing(json.dumps(_whole(row), indent=2, ensure_ascii=False))
    await database.run_in_transaction(partial(park, table=table, position=row.position, reason="parked by an operator"))
    return f"row {row.position} is parked"


async def _list(database: Database, table: Table, *, parked: bool) -> str:
    statement = select(table).order_by(table.c.position).limit(SHOWN)
    if parked:
        statement = statement.where(table.c.parked_at.is_not(None))

    async def read(connection: AsyncConnection) -> list[str]:
        return [_line(row) for row in (await connection.execute(statement)).all()]

    lines = await database.read(read)
    return Listing("\n".join(lines) or "nothing waits")


async def _row(database: Database, table: Table, position: int) -> Row[Any]:
    async def read(connection: AsyncConnection) -> Row[Any] | None:
        return (await connection.execute(select(table).where(table.c.position == position))).first()

    row = await database.read(read)
    if row is None:
        raise LookupError(f"there is no row {position}: it is published, or never was")
    return row


async def _retry(database: Database, table: Table, arguments: argparse.Namespace) -> str:
    """Let the chosen rows be published, a piece at a time, and show how far that is."""
    chosen = await _chosen(database, table, arguments)

    async def count(connection: AsyncConnection) -> int:
        return (await connection.execute(select(func.count()).select_from(table).where(*chosen))).scalar_one()

    total = await database.read(count)
    if arguments.dry_run:
        return f"{_rows(total)} parked and would be published next; nothing is changed"
    done = last = 0
    with progress(total, "rows") as show:
        while positions := await database.run_in_transaction(partial(_unpark, table=table, chosen=chosen, after=last)):
            last = positions[-1]
            done += len(positions)
            show(done)
    return f"{_rows(done)} published next" if done else "no parked row is like this; nothing is changed"


async def _chosen(database: Database, table: Table, arguments: argparse.Namespace) -> Sequence[ColumnElement[bool]]:
    """Return the conditions that the rows to retry have to meet.

    Raises:
        LookupError: a row that was named by its position is not there; nothing is changed.
    """
    chosen: list[ColumnElement[bool]] = [table.c.parked_at.is_not(None)]
    if arguments.positions:
        await _require(database, table, arguments.positions)
        chosen.append(table.c.position.in_(arguments.positions))
    if arguments.reason:
        reason = func.lower(table.c.parked_reason)
        chosen.append(reason.contains(arguments.reason.lower(), autoescape=True))
    if arguments.topic:
        chosen.append(table.c.topic == arguments.topic)
    return chosen


async def _require(database: Database, table: Table, positions: Sequence[int]) -> None:
    """Raise `LookupError` when there are not rows at all of these positions."""
    statement = select(table.c.position).where(table.c.position.in_(positions))

    async def read(connection: AsyncConnection) -> set[int]:
        return set((await connection.execute(statement)).scalars())

    if missing := sorted(set(positions) - await database.read(read)):
        raise LookupError(f"there is no row {', '.join(map(str, missing))}: it is published, or never was")


async def _unpark(
    transaction: Transaction, table: Table, chosen: Sequence[ColumnElement[bool]], after: int
) -> Sequence[int]:
    """Let the next chosen rows be published, and return their positions; none when there are no more."""
    following = select(table.c.position).where(*chosen, table.c.position > after).order_by(table.c.position)
    positions = (await transaction.execute(following.limit(PIECE))).scalars().all()
    if positions:
        await transaction.execute(unpark(table).where(table.c.position.in_(positions)))
    return positions


def _rows(count: int) -> str:
    return "1 row is" if count == 1 else f"{count} rows are"


def _line(row: Row[Any]) -> str:
    age = (datetime.now(UTC) - row.recorded_at).total_seconds()
    kind = dict(json.loads(row.headers)).get("ce_type", "")
    state = f"parked: {row.parked_reason}" if row.parked_at else "waits"
    return f"{row.position:>8}  {kind:<32}  {row.key:<36}  {age:>8.0f} s  {state}"


def _whole(row: Row[Any]) -> dict[str, Any]:
    return {
        "position": row.position,
        "topic": row.topic,
        "key": row.key,
        "headers": dict(json.loads(row.headers)),
        "value": json.loads(row.value),
        "trace_context": json.loads(row.trace_context),
        "recorded_at": row.recorded_at.isoformat(),
        "parked_at": row.parked_at.isoformat() if row.parked_at else None,
        "parked_reason": row.parked_reason,
    }
