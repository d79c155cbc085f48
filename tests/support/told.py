"""What is told of accounts and sessions: the events of some people on the wire, once the outbox is empty."""

import asyncio
import json
from collections.abc import Collection
from typing import Any

from sqlalchemy import func, select

from support.instance import Instance
from support.topic import records_of
from tidings.events.topics import AUTH
from tidings_auth.tables import outbox


async def events_of(instance: Instance, kafka: str, usernames: Collection[str], type_: str) -> list[dict[str, Any]]:
    """Return the data of all events of a type, e.g. `session.ended`, that name one of these people.

    Args:
        instance: whose outbox has to be empty first.
        kafka: the brokers' addresses.
        usernames: of these people.
        type_: without prefix and version.
    """
    await _published(instance)
    name = f"tidings.{type_}.v1".encode()
    records = await records_of(kafka, AUTH, lambda record: ("ce_type", name) in record.headers)
    found: list[dict[str, Any]] = [json.loads(record.value) for record in records]
    return [data for data in found if data["username"] in usernames]


async def _published(instance: Instance) -> None:
    async def waiting(connection: Any) -> int:
        return int((await connection.execute(select(func.count()).select_from(outbox))).scalar_one())

    database = instance.states["auth"]["accounts"]._database
    async with asyncio.timeout(30):
        while await database.read(waiting):  # noqa: ASYNC110  # an empty table sets no event
            await asyncio.sleep(0.05)
