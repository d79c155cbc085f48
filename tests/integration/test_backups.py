"""Backups as docs/backup.md has them made and restored: what the store lost is read from Kafka again."""

import secrets
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.instance import Instance, running_instance
from support.tab import Tab, newcomer
from support.topic import ends_of, records_of
from tidings_local.backends import Backends

pytestmark = [pytest.mark.real, pytest.mark.parametrize("backends", ["real"], indirect=True)]


def run_client(program: str, backends: Backends, database: str, *options: str, sql: bytes | None = None) -> bytes:
    """Run a MariaDB program on a service's database, and return what it prints."""
    address = urlsplit(backends.database(database))
    place = ["--host=127.0.0.1", f"--port={address.port}", f"--user={address.username}"]
    command = [program, "--no-defaults", *place, *options, address.path.removeprefix("/")]
    return subprocess.run(command, input=sql, capture_output=True, check=True, timeout=60).stdout


def dumped(backends: Backends, database: str) -> bytes:
    """Return a dump, as docs/backup.md has it made."""
    return run_client("mariadb-dump", backends, database, "--single-transaction", "--skip-ssl")


def restore(backends: Backends, database: str, dump: bytes) -> None:
    name = urlsplit(backends.database(database)).path.removeprefix("/")
    run_client(
        "mariadb", backends, database, "--skip-ssl", sql=f"DROP DATABASE {name}; CREATE DATABASE {name}".encode()
    )
    run_client("mariadb", backends, database, "--skip-ssl", sql=dump)


async def post(instance: Instance, me: dict[str, str], texts: list[str]) -> list[str]:
    """Post messages and return the ids of their events."""
    answers = [await instance.http.post("/api/messages", json={"message": text}, headers=me) for text in texts]
    assert [answer.status_code for answer in answers] == [201] * len(texts)
    return [answer.json()["event_id"] for answer in answers]


async def logged(instance: Instance, me: dict[str, str], count: int) -> list[str]:
    entries = await instance.until("/api/logs?type=message.created&limit=100", me, count, seconds=30)
    return [entry["event_id"] for entry in entries]


async def test_restored_log_reads_again_what_it_lost(backends: Backends, tmp_path: Path) -> None:
    name = f"tester-{secrets.token_hex(4)}"  # sees the own entries only: the topics have those of other tests
    async with running_instance(backends, tmp_path) as instance:
        me = await instance.person(name)
        before = await post(instance, me, [f"before the dump, {number}" for number in range(5)])
        assert set(await logged(instance, me, 5)) == set(before)
        dump = dumped(backends, "logs")
        after = await post(instance, me, [f"after the dump, {number}" for number in range(8)])
        assert set(await logged(instance, me, 13)) == {*before, *after}
    restore(backends, "logs", dump)
    async with running_instance(backends, tmp_path) as instance:
        me = await instance.sign_in(name)
        late = await post(instance, me, ["after the restore"])
        entries = await logged(instance, me, 14)
        assert sorted(entries) == sorted([*before, *after, *late])


async def test_log_restored_from_a_release_without_positions_lacks_nothing(backends: Backends, tmp_path: Path) -> None:
    name = f"tester-{secrets.token_hex(4)}"
    async with running_instance(backends, tmp_path) as instance:
        me = await instance.person(name)
        before = await post(instance, me, [f"before the dump, {number}" for number in range(3)])
        assert set(await logged(instance, me, 3)) == set(before)
        positions = f"{urlsplit(backends.database('logs')).path.removeprefix('/')}.positions"
        older = run_client(
            "mariadb-dump", backends, "logs", "--single-transaction", "--skip-ssl", f"--ignore-table={positions}"
        )
        older += b"UPDATE alembic_version SET version_num = '0002';"
        after = await post(instance, me, [f"after the dump, {number}" for number in range(5)])
        assert set(await logged(instance, me, 8)) == {*before, *after}
    restore(backends, "logs", older)
    async with running_instance(backends, tmp_path) as instance:
        me = await instance.sign_in(name)
        assert sorted(await logged(instance, me, 8)) == sorted([*before, *after])


async def test_account_or_session_made_after_the_dump_is_refused(backends: Backends, tmp_path: Path) -> None:
    async with running_instance(backends, tmp_path) as instance:
        known = await newcomer(instance.http)
        older = known.cookie
        dump = dumped(backends, "auth")
        await known.sign_in()
        later = known.cookie
        unknown = await newcomer(instance.http)
        unknown_cookie = unknown.cookie
    restore(backends, "auth", dump)
    async with running_instance(backends, tmp_path) as instance:
        tab = Tab(instance.http, unknown.username)
        assert (await tab.sign_in()).status_code == 401
        for cookie in (later, unknown_cookie):
            answer = await tab.refresh(cookie)
            assert (answer.status_code, answer.json()["type"]) == (401, "urn:tidings:problem:session-over"), answer.text
        assert (await tab.refresh(older)).status_code == 200


async def test_event_numbers_are_not_given_twice_after_the_documented_step(backends: Backends, tmp_path: Path) -> None:
    async with running_instance(backends, tmp_path) as instance:
        since = await ends_of(backends.kafka, "tidings.auth.v1")
        me = await newcomer(instance.http)
        dump = dumped(backends, "auth")
        for _ in range(3):
            await me.sign_in()
    restore(backends, "auth", dump)
    run_client("mariadb", backends, "auth", "--skip-ssl", sql=documented_step().encode())
    async with running_instance(backends, tmp_path) as instance:
        again = Tab(instance.http, me.username)
        await again.sign_in()
        records = await records_of(backends.kafka, "tidings.auth.v1", first_about(me.username), 5, since)
    numbers = [dict(record.headers)["ce_sequence"] for record in records]
    assert len(numbers) == len(set(numbers)) == 5


def first_about(username: str) -> Callable[[Any], bool]:
    """Return what tells whether a record is about the user's session, and the first of its event.

    An event that waited in the outbox when it was dumped is published again after the restore.
    """
    seen: set[bytes] = set()

    def wanted(record: Any) -> bool:
        headers = dict(record.headers)
        event_id = headers.get("ce_id", b"")
        about_user = username.encode() in (record.value or b"")
        if not about_user or b"session.started" not in headers.get("ce_type", b"") or event_id in seen:
            return False
        seen.add(event_id)
        return True

    return wanted


def documented_step() -> str:
    """Return the SQL statement of docs/backup.md."""
    page = (Path(__file__).parents[2] / "docs" / "backup.md").read_text()
    return page.partition("```sql\n")[2].partition("```")[0]
