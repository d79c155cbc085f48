"""Migrations: up, down and up again on both databases, and afterwards the tables are those of the code."""

import unicodedata
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from alembic.util import CommandError
from pydantic import SecretStr
from sqlalchemy import func, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from tidings.database.engine import create_engine
from tidings.database.migrations import SchemaBehind, check_models, downgrade, require_head, upgrade
from tidings.database.settings import DatabaseSettings
from tidings.database.spelling import ROWS_AT_ONCE
from tidings.events import uuid7
from tidings_auth import tables as auth
from tidings_auth.usernames import folded
from tidings_local.backends import Backends
from tidings_log_consumer.tables import entries
from tidings_messages import tables as messages

PACKAGES = ["tidings_auth", "tidings_messages", "tidings_log_consumer"]


@pytest.fixture
async def engine(backends: Backends) -> AsyncIterator[AsyncEngine]:
    engine = create_engine(DatabaseSettings(url=SecretStr(backends.database("migrated"))))
    yield engine
    await engine.dispose()


async def tables(engine: AsyncEngine) -> set[str]:
    async with engine.connect() as connection:
        names = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    return set(names) - {"sqlite_sequence"}


@pytest.mark.parametrize("package", PACKAGES)
async def test_up_down_up_leaves_the_tables_of_the_code(package: str, engine: AsyncEngine) -> None:
    await upgrade(engine, package)
    await check_models(engine, package)
    await downgrade(engine, package)
    assert await tables(engine) == {"alembic_version"}
    await upgrade(engine, package)
    await upgrade(engine, package)
    await check_models(engine, package)
    await require_head(engine, package)


TYPED = ["ㅋㅋㅋ", "ㅠㅠ민ㄳ", "mina", "MINA", "ミナコ", "김미나", "José"]
OLD_SYLLABLE = "\u1112\u119e\u11ab글"
"""An old Hangul syllable of conjoining jamo, which is drawn as one."""


async def test_stored_usernames_are_shown_as_typed_after_the_upgrade(engine: AsyncEngine) -> None:
    names = [*TYPED, OLD_SYLLABLE]
    await upgrade(engine, "tidings_auth", "0004")
    rows = [
        {
            "id": uuid7(),
            "username": unicodedata.normalize("NFKC", name),
            "username_folded": str(number),
            "password_hash": "",
            "role": "user",
            "created_at": datetime.now(UTC),
        }
        for number, name in enumerate(names)
    ]
    async with engine.begin() as connection:
        await connection.execute(insert(auth.users), rows)
    await upgrade(engine, "tidings_auth")
    async with engine.connect() as connection:
        stored = (await connection.execute(select(auth.users).order_by(auth.users.c.id))).all()
    assert [row.username for row in stored] == names
    assert [row.username_folded for row in stored] == [str(number) for number in range(len(names))]
    assert [folded(row.username) for row in stored] == [folded(name) for name in names]


async def test_stored_authors_are_shown_as_typed_after_the_upgrade(engine: AsyncEngine) -> None:
    await upgrade(engine, "tidings_messages", "0003")
    row = {"author_id": uuid7(), "message": "\u110f stays", "created_at": datetime.now(UTC)}
    names = ["\u110f" * 3, "mina"] * (ROWS_AT_ONCE + 1)
    async with engine.begin() as connection:
        await connection.execute(insert(messages.messages), [{**row, "id": uuid7(), "author": name} for name in names])
    await upgrade(engine, "tidings_messages")
    async with engine.connect() as connection:
        stored = (await connection.execute(select(messages.messages).order_by(messages.messages.c.id))).all()
    assert [found.author for found in stored] == ["ㅋㅋㅋ", "mina"] * (ROWS_AT_ONCE + 1)
    assert {found.message for found in stored} == {row["message"]}


def old_entry(number: int, event_id: UUID, **other: Any) -> dict[str, Any]:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678_901, UTC)
    times = {"occurred_at": moment, "published_at": moment, "stored_at": moment}
    place = {"topic": "tidings.activity.v1", "partition": 0, "offset": number}
    said = {"type": "api.request", "service": "미나 \U0001f600", "username": None, "data": '{"status":200}'}
    return {"event_id": event_id, **times, **place, **said, **other}


async def test_entries_survive_the_change_of_their_key_and_back(engine: AsyncEngine) -> None:
    ids = [UUID(int=number) for number in (3, 1, 2)]
    columns = [column for column in entries.c if column.name != "number"]
    await upgrade(engine, "tidings_log_consumer", "0001")
    async with engine.begin() as connection:
        await connection.execute(insert(entries), [old_entry(offset, id_) for offset, id_ in enumerate(ids)])
        before = set(await connection.execute(select(*columns)))

    await upgrade(engine, "tidings_log_consumer")
    await check_models(engine, "tidings_log_consumer")
    async with engine.begin() as connection:
        assert set(await connection.execute(select(*columns))) == before
        numbers = (await connection.execute(select(entries.c.number))).scalars().all()
        assert sorted(numbers) == [1, 2, 3]
        again = [old_entry(8, ids[0], service="other"), old_entry(9, ids[0], topic="tidings.auth.v1")]
        await connection.execute(insert(entries), again)
        assert (await connection.execute(select(func.max(entries.c.number)))).scalar_one() == 5
    async with engine.begin() as connection:
        with pytest.raises(IntegrityError):
            await connection.execute(insert(entries), [old_entry(10, ids[0])])

    await downgrade(engine, "tidings_log_consumer", "0001")
    async with engine.connect() as connection:
        assert set(await connection.execute(select(*columns))) == before
    await upgrade(engine, "tidings_log_consumer")
    await check_models(engine, "tidings_log_consumer")
    async with engine.connect() as connection:
        assert set(await connection.execute(select(*columns))) == before


async def test_the_check_sees_a_table_that_the_code_does_not_have(engine: AsyncEngine) -> None:
    await upgrade(engine, "tidings_messages")
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE stray (id INTEGER PRIMARY KEY)"))
    with pytest.raises(CommandError, match="stray"):
        await check_models(engine, "tidings_messages")


async def test_a_database_without_migrations_is_named_by_the_missing_revision(engine: AsyncEngine) -> None:
    with pytest.raises(SchemaBehind, match="0004 is missing: run python -m tidings_messages migrate"):
        await require_head(engine, "tidings_messages")


async def test_a_database_that_is_ahead_is_accepted(engine: AsyncEngine) -> None:
    await upgrade(engine, "tidings_messages")
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    await require_head(engine, "tidings_messages")


async def test_a_new_installation_has_no_account(engine: AsyncEngine) -> None:
    await upgrade(engine, "tidings_auth")
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT COUNT(*) FROM users"))).scalar_one() == 0
