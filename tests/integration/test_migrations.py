"""Migrations: up, down and up again on both databases, and afterwards the tables are those of the code."""

import asyncio
import re
import sys
import unicodedata
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from pydantic import SecretStr
from sqlalchemy import event, func, insert, inspect, select, text
from sqlalchemy.exc import IntegrityError, OperationalError, PendingRollbackError
from sqlalchemy.ext.asyncio import AsyncEngine

from support.servers import RealServers
from tidings.database.engine import create_engine
from tidings.database.migration_lock import MigrationLocked, migration_lock
from tidings.database.migrations import check_models, downgrade, upgrade
from tidings.database.moments import database_now
from tidings.database.schema import SchemaBehind, WrongSchema, location, require_head
from tidings.database.settings import DatabaseSettings
from tidings.database.spelling import ROWS_AT_ONCE
from tidings.events import uuid7
from tidings_auth import tables as auth
from tidings_auth.usernames import folded
from tidings_local.backends import Backends
from tidings_log_consumer.tables import entries
from tidings_messages import tables as messages

TESTS = Path(__file__).parents[1]
PACKAGES = ["tidings_auth", "tidings_messages", "tidings_log_consumer"]
HEAD = ScriptDirectory(str(location("tidings_messages"))).get_current_head()
"""The newest revision of the service that most tests take."""


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


async def test_former_usernames_are_compared_as_usernames_are(engine: AsyncEngine) -> None:
    await upgrade(engine, "tidings_auth")
    names = ["mina", "mína", "mina.", "x" * 255]
    rows = [{"username_folded": name, "deleted_at": database_now()} for name in names]
    async with engine.begin() as connection:
        for row in rows:
            await connection.execute(insert(auth.former_usernames).values(row))
    for row in rows:
        with pytest.raises(IntegrityError):
            async with engine.begin() as connection:
                await connection.execute(insert(auth.former_usernames).values(row))


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


async def test_a_new_installation_has_no_account(engine: AsyncEngine) -> None:
    await upgrade(engine, "tidings_auth")
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT COUNT(*) FROM users"))).scalar_one() == 0


async def at_revision(engine: AsyncEngine, revision: str) -> None:
    """Say that the database is at a revision, as another release's migration does."""
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


async def test_migrating_a_newer_database_changes_nothing(engine: AsyncEngine) -> None:
    await upgrade(engine, "tidings_messages")
    await at_revision(engine, "9999")
    line = await upgrade(engine, "tidings_messages")
    assert line == f"nothing to do: the database is at revision 9999, ahead of this release's {HEAD}"
    await require_head(engine, "tidings_messages")


@pytest.mark.parametrize("revision", ["head", "9999x", "0000", "ae1027a6acf"])
async def test_revision_of_unknown_origin_is_refused(engine: AsyncEngine, revision: str) -> None:
    await upgrade(engine, "tidings_messages")
    await at_revision(engine, revision)
    for use in (upgrade, require_head):
        with pytest.raises(WrongSchema, match=f"revision '{revision}', which tidings_messages never had"):
            await use(engine, "tidings_messages")


async def test_newer_database_of_another_service_is_refused(engine: AsyncEngine) -> None:
    await upgrade(engine, "tidings_auth")
    await at_revision(engine, "9999")
    for use in (upgrade, require_head):
        with pytest.raises(WrongSchema, match=r"ahead of this release's \d{4}, and lacks entries\."):
            await use(engine, "tidings_log_consumer")


async def test_newer_database_that_demands_a_new_column_is_refused(engine: AsyncEngine) -> None:
    await upgrade(engine, "tidings_messages")
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE newer (id INTEGER NOT NULL)"))
        await connection.execute(text("ALTER TABLE messages ADD COLUMN mood VARCHAR(9) NOT NULL DEFAULT 'calm'"))
    await at_revision(engine, "9999")
    await require_head(engine, "tidings_messages")
    async with engine.begin() as connection:
        await connection.execute(text("DROP TABLE messages"))
        await connection.execute(text(DEMANDING))
    for use in (upgrade, require_head):
        with pytest.raises(WrongSchema, match=r"ahead of this release's \d{4}, and demands messages\.mood: use the"):
            await use(engine, "tidings_messages")


DEMANDING = """CREATE TABLE messages (
    id INTEGER, author_id INTEGER, author TEXT, message TEXT, created_at INTEGER, event_sequence INTEGER,
    mood VARCHAR(9) NOT NULL
)"""
"""The table of a release that every insert has to give a mood."""


async def test_newer_database_that_numbers_rows_itself_is_accepted(engine: AsyncEngine) -> None:
    await upgrade(engine, "tidings_messages")
    numbered = "AUTO_INCREMENT PRIMARY KEY" if engine.dialect.name == "mysql" else "PRIMARY KEY AUTOINCREMENT"
    async with engine.begin() as connection:
        await connection.execute(text("DROP TABLE messages"))
        await connection.execute(
            text(DEMANDING.replace("mood VARCHAR(9) NOT NULL", f"number INTEGER NOT NULL {numbered}"))
        )
    await at_revision(engine, "9999")
    await require_head(engine, "tidings_messages")


async def test_database_with_other_tables_is_refused_after_migrating(engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE messages (id INTEGER PRIMARY KEY)"))
    with pytest.raises(
        (WrongSchema, OperationalError), match=r"lacks messages|already exists|Unknown column 'messages"
    ):
        await upgrade(engine, "tidings_messages")


async def test_three_migrations_at_once_all_succeed(backends: Backends) -> None:
    url = backends.database("shared")
    code = f"import asyncio; from support.system import migrate; print(asyncio.run(migrate('tidings_auth', {url!r})))"
    runs = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=PIPE, stderr=PIPE, cwd=TESTS)
        for _ in range(3)
    ]
    *idle, busy = sorted([out.decode() or err.decode() for out, err in [await run.communicate() for run in runs]])
    assert [run.returncode for run in runs] == [0, 0, 0], [*idle, busy]
    assert [line.partition(":")[0] for line in idle] == ["nothing to do"] * 2
    assert re.fullmatch(r"the database is now at revision \d{4}; it was empty\n", busy)


async def test_wait_for_another_migration_is_bounded(engine: AsyncEngine, backends: Backends) -> None:
    async with migration_lock(engine, 1):
        with pytest.raises(MigrationLocked, match=r"still runs after 0 s: wait for it.* and run this again"):
            await upgrade(engine, "tidings_messages", wait=0)
    assert await upgrade(engine, "tidings_messages") == f"the database is now at revision {HEAD}; it was empty"


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; fail after half a minute."""
    for _ in range(600):
        if condition():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it did not happen")


async def test_migration_waits_for_the_running_one(engine: AsyncEngine, caplog: pytest.LogCaptureFixture) -> None:
    async with migration_lock(engine, 1):
        waiting = asyncio.create_task(upgrade(engine, "tidings_messages"))
        await until(lambda: "another migration of this database runs" in caplog.text)
    assert await waiting == f"the database is now at revision {HEAD}; it was empty"


@pytest.mark.real
async def test_statement_of_killed_migration_keeps_the_lock(servers: RealServers) -> None:
    """MariaDB carries out what a killed process asked for; the next migration begins only after that."""
    servers.mariadb.create_database("killed")
    url = servers.mariadb.url("killed")
    engine = create_engine(DatabaseSettings(url=SecretStr(url)))
    try:
        await upgrade(engine, "tidings_messages", "0001")
        code = f"import asyncio; from support.system import migrate; asyncio.run(migrate('tidings_messages', {url!r}))"
        async with engine.connect() as reader:
            await reader.execute(text("SELECT COUNT(*) FROM messages"))
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=TESTS)
            async with engine.connect() as observer:
                while not (await observer.execute(text(BLOCKED))).scalar_one():
                    assert process.returncode is None
                    await observer.execute(text("DO SLEEP(0.05)"))
            process.kill()
            await process.wait()
            next_one = asyncio.create_task(upgrade(engine, "tidings_messages"))
            await asyncio.wait([next_one], timeout=0.2)
            assert not next_one.done()
            await reader.rollback()
        assert await next_one == f"the database is now at revision {HEAD}; it was at 0001"
        await check_models(engine, "tidings_messages")
    finally:
        await engine.dispose()


BLOCKED = """SELECT COUNT(*) FROM information_schema.processlist
    WHERE db = 'killed' AND state = 'Waiting for table metadata lock'"""


class Killed(BaseException):
    """Stands for the end of the process between two statements."""


@contextmanager
def killed_after(engine: AsyncEngine, count: int) -> Iterator[None]:
    """End whatever runs on `engine` after so many changes of the schema or of rows."""
    changes = iter(range(count))

    def end(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        reads = statement.lstrip().startswith(("SELECT", "SET", "SHOW", "DESCRIBE", "PRAGMA"))
        if not reads and next(changes, None) is None:
            raise Killed

    event.listen(engine.sync_engine, "before_cursor_execute", end)
    try:
        yield
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", end)


@pytest.mark.parametrize("package", PACKAGES)
async def test_killed_migration_is_finished_by_the_next(package: str, engine: AsyncEngine) -> None:
    count = 0
    while True:
        try:
            with killed_after(engine, count):
                await upgrade(engine, package)
        except (Killed, PendingRollbackError):  # the second is what Alembic's own tidying makes of the first
            await upgrade(engine, package)
            await check_models(engine, package)
            if "outbox" in await tables(engine):
                async with engine.connect() as connection:
                    leases = await connection.execute(text("SELECT name FROM outbox_lease"))
                    assert leases.scalars().all() == ["relay"]
            await downgrade(engine, package)
            count += 1
        else:
            break
    assert count >= 3
    await check_models(engine, package)


@pytest.mark.parametrize("package", PACKAGES)
def test_revisions_are_numbered_in_one_line(package: str) -> None:
    scripts = ScriptDirectory(str(location(package)))
    found = [(script.down_revision, script.revision) for script in scripts.walk_revisions()][::-1]
    numbers = [f"{number:04}" for number in range(1, len(found) + 1)]
    assert found == list(zip([None, *numbers[:-1]], numbers, strict=True))
