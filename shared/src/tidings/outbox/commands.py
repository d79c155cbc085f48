"""Commands: what an operator sees of an outbox, and does about rows that Kafka refused."""

import argparse
import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, Table, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.database.transactions import Database, Transaction
from tidings.outbox.relay import park
from tidings.terminal import Listing

SHOWN = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `list`, `show`, `retry` and `park`."""
    commands = parser.add_subparsers(dest="outbox_command", required=True)
    listing = commands.add_parser("list", help=f"the oldest {SHOWN} rows that are not published yet")
    listing.add_argument("--parked", action="store_true", help="only rows that Kafka refused")
    for name, help_text in (
        ("show", "one row, whole"),
        ("retry", "publish a parked row again, and then the later ones of its key"),
        ("park", "set a row aside; the later ones of its key wait"),
    ):
        commands.add_parser(name, help=help_text).add_argument("position", type=position)


def position(text: str) -> int:
    """Return a position; argparse reports the `ValueError` of a number that no database has a place for."""
    number = int(text)
    if not 0 <= number < 2**63:
        raise ValueError
    return number


async def run(arguments: argparse.Namespace, database: Database, table: Table) -> str:
    """Carry out one command and return what to print.

    Raises:
        LookupError: there is no row at this position.
        DatabaseUnavailable: the database does not answer.
    """
    if arguments.outbox_command == "list":
        return await _list(database, table, parked=arguments.parked)
    row = await _row(database, table, arguments.position)
    if arguments.outbox_command == "show":
        return Listing(json.dumps(_whole(row), indent=2, ensure_ascii=False))
    await _change(database, table, row.position, parks=arguments.outbox_command == "park")
    return f"row {row.position} is {'parked' if arguments.outbox_command == 'park' else 'published next'}"


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


async def _change(database: Database, table: Table, position: int, *, parks: bool) -> None:
    async def write(transaction: Transaction) -> None:
        if parks:
            await park(transaction, table, position, "parked by an operator")
        else:
            values = {"parked_at": None, "parked_reason": None}
            await transaction.execute(update(table).where(table.c.position == position).values(values))

    await database.run_in_transaction(write)


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
