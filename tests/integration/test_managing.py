"""Managing at the command line: what it prints, its exit codes, and what it leaves in the database."""

import asyncio
import contextlib
import getpass
import io
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlalchemy import Executable, insert, select, update

from support.system import migrate
from tidings.commands import main
from tidings.database.engine import create_engine
from tidings.database.settings import DatabaseSettings
from tidings.events import uuid7
from tidings_auth.app import PACKAGE, create_app
from tidings_auth.managing import COMMANDS
from tidings_auth.passwords import Passwords, Verdict
from tidings_auth.settings import AuthSettings
from tidings_auth.tables import former_usernames, outbox, sessions, users
from tidings_local.backends import Backends

GOOD = "a password that nobody else has"
SOON = timedelta(days=1)


@dataclass
class Console:
    """A terminal."""

    url: str
    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch
    stdin: type[io.TextIOWrapper] = io.TextIOWrapper

    def run(self, *words: str, typed: str | bytes = "") -> tuple[int, str, str]:
        """Run a command; return its exit code, and what it printed and complained."""
        octets = typed if isinstance(typed, bytes) else typed.encode()
        self.patch.setattr(sys, "stdin", self.stdin(io.BytesIO(octets), encoding="ascii"))
        try:
            code = main(PACKAGE, AuthSettings, create_app, words, outbox=outbox, commands=COMMANDS)
        except SystemExit as end:  # argparse's
            code = int(str(end.code))
        printed = self.capture.readouterr()
        assert GOOD not in printed.out + printed.err
        return code, printed.out.strip(), printed.err.strip()

    def all(self, statement: Executable) -> list[Any]:
        """Run a statement, and return its rows if it has any."""

        async def run() -> list[Any]:
            engine = create_engine(DatabaseSettings(url=SecretStr(self.url)))
            async with engine.begin() as connection:
                result = await connection.execute(statement)
                rows = list(result) if result.returns_rows else []
            await engine.dispose()
            return rows

        return asyncio.run(run())

    def events(self) -> list[str]:
        """The types of what waits in the outbox, oldest first."""
        rows = self.all(select(outbox.c.headers).order_by(outbox.c.position))
        types = [dict(json.loads(row.headers))["ce_type"] for row in rows]
        return [str(type_).removeprefix("tidings.").removesuffix(".v1") for type_ in types]


@pytest.fixture
def console(
    backends: Backends, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Console]:
    """A terminal on an auth service's machine, with a database that has its schema; logging is as before afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setenv("TIDINGS_DATABASE_URL", backends.database("auth"))
    asyncio.run(migrate(PACKAGE, backends.database("auth")))
    yield Console(backends.database("auth"), capsys, monkeypatch)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def admin(console: Console) -> str:
    """The name of an admin."""
    code, printed, _ = console.run("create-admin", "boss", "--password-file", "-", typed=f"{GOOD}\n")
    assert (code, printed) == (0, "boss is an admin now")
    return "boss"


def user(console: Console, name: str = "mina") -> UUID:
    """Somebody without the role."""
    console.run("create-admin", name, "--password-file", "-", typed=GOOD)
    console.all(update(users).where(users.c.username == name).values(role="user"))
    found: UUID = console.all(select(users.c.id).where(users.c.username == name))[0].id
    return found


def signed_in(console: Console, user_id: UUID, device: str = "a phone") -> UUID:
    """A live session, as signing in makes it."""
    now = datetime.now(UTC)
    row = {
        "id": uuid7(),
        "user_id": user_id,
        "token_family": "0" * 64,
        "created_at": now,
        "last_seen_at": now,
        "expires_at": now + SOON,
    }
    console.all(insert(sessions).values(row | {"device": device, "address": "192.0.2.7"}))
    id_ = row["id"]
    assert isinstance(id_, UUID)
    return id_


def test_an_admin_is_made_with_a_password_from_a_file(console: Console, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{GOOD}\r\n", encoding="utf-8")
    assert console.run("create-admin", "Böss", "--password-file", str(file)) == (0, "Böss is an admin now", "")
    assert [row.role for row in console.all(select(users))] == ["admin"]
    assert console.events() == ["user.registered", "user.role_changed"]


def test_to_make_an_admin_again_is_no_error_and_changes_nothing(console: Console, admin: str) -> None:
    before = console.all(select(users))
    again = console.run("create-admin", admin.upper(), "--password-file", "-", typed="quite another password")
    assert again == (0, "boss is an admin already; the password stays as it is", "")
    assert console.run("create-admin", admin, "--promote")[0] == 0
    assert console.all(select(users)) == before
    assert console.events() == ["user.registered", "user.role_changed"]


def test_an_account_becomes_an_admin_only_when_that_is_meant(console: Console) -> None:
    session_id = signed_in(console, user(console))
    code, printed, complained = console.run("create-admin", "mina", "--password-file", "-", typed=GOOD)
    assert (code, printed) == (1, "")
    assert complained == "mina is an account without the role; to give it the role, add --promote"
    assert console.run("create-admin", "mina", "--promote") == (0, "mina is an admin now; its sessions have ended", "")
    assert console.events()[2:] == ["user.role_changed", "session.ended"]
    assert console.all(select(sessions.c.ended_at).where(sessions.c.id == session_id))[0].ended_at is not None


def test_whom_nobody_knows_cannot_be_promoted(console: Console) -> None:
    assert console.run("create-admin", "nobody", "--promote") == (1, "", "There is no account named nobody.")


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("short", "a password has 8 to 256 characters"),
        ("xX-boss-Xx", "a password must not contain the username"),
        ("password123", "this password is one of the most common; choose another"),
    ],
)
def test_a_weak_password_is_refused(console: Console, password: str, reason: str) -> None:
    ended = console.run("create-admin", "boss", "--password-file", "-", typed=password)
    assert ended == (1, "", f"the password cannot be taken: {reason}")
    assert console.all(select(users)) == []


def test_name_of_a_deleted_account_is_given_to_no_admin(console: Console) -> None:
    former = {"username_folded": "mina", "deleted_at": datetime.now(UTC)}
    console.all(insert(former_usernames).values(former))
    ended = console.run("create-admin", "Mina", "--password-file", "-", typed=GOOD)
    assert ended == (1, "", "Mina is the name of a deleted account and stays taken; choose another.")
    assert console.all(select(users)) == []


MARK = b"\xef\xbb\xbf"
HANGUL = "비밀 번호 e\u0301 é ☂ \u200d "


@pytest.mark.parametrize(
    ("octets", "password"),
    [
        (HANGUL.encode(), HANGUL),
        (HANGUL.encode() + b"\n", HANGUL),
        (HANGUL.encode() + b"\r\n", HANGUL),
        (HANGUL.encode() + b"\r", HANGUL),
        (MARK + HANGUL.encode() + b"\r\n", HANGUL),
        (b"  " + GOOD.encode() + b" \n", f"  {GOOD} "),
    ],
)
@pytest.mark.parametrize("source", ["file", "-"])
async def test_a_password_is_kept_exactly_without_mark_and_line_end(
    console: Console, tmp_path: Path, source: str, octets: bytes, password: str
) -> None:
    file = tmp_path / "password"
    file.write_bytes(octets)
    given = str(file) if source == "file" else source
    ended = await asyncio.to_thread(console.run, "create-admin", "boss", "--password-file", given, typed=octets)
    assert ended == (0, "boss is an admin now", "")
    (row,) = await asyncio.to_thread(console.all, select(users.c.password_hash))
    with contextlib.closing(Passwords()) as passwords:
        assert await passwords.verify(row.password_hash, password) is Verdict.RIGHT


@pytest.mark.parametrize(
    ("octets", "problem"),
    [
        (b"", "it is empty"),
        (MARK + b"\r\n", "it is empty"),
        (HANGUL.encode("utf-16"), "it is UTF-16; save it as UTF-8"),
        (b"\xfe\xff" + GOOD.encode("utf-16-be"), "it is UTF-16; save it as UTF-8"),
        (GOOD.encode("utf-16-le"), "it has NUL bytes"),
        ("비밀번호비밀번호".encode("euc-kr"), "it is not UTF-8; save it as UTF-8"),
        (f"{GOOD}\n\n".encode(), "it has more than one line"),
        (f"\n{GOOD}".encode(), "it has more than one line"),
        (f"{GOOD}\r\nand another\n".encode(), "it has more than one line"),
        (GOOD.encode() * 1_000, "it has more than one line, or a very long one; put the password there alone"),
        (bytes(range(1, 256)), "it is not UTF-8"),
        (MARK + MARK + GOOD.encode(), "it begins with two byte order marks; save it as UTF-8 without any"),
        *(
            (text.encode(), "it has a control character, line separator or byte order mark in it; remove that")
            for stray in "\x01\t\v\f\x1b\x7f\x85\x9b\u2028\u2029\ufeff"
            for text in (f"{GOOD}{stray}", f"{GOOD}{stray}\n", f"{stray}{GOOD}", f"a{stray}{GOOD}")
            if not text.startswith("\ufeff")  # that is the one mark that is cut off
        ),
    ],
)
@pytest.mark.parametrize("source", ["file", "-"])
def test_a_file_that_is_not_one_line_of_text_is_refused(
    console: Console, tmp_path: Path, source: str, octets: bytes, problem: str
) -> None:
    file = tmp_path / "password"
    file.write_bytes(octets)
    given, name = (str(file), str(file)) if source == "file" else (source, "standard input")
    code, printed, complained = console.run("create-admin", "boss", "--password-file", given, typed=octets)
    assert (code, printed) == (1, "")
    assert complained.startswith(f"the password cannot be taken: {name}: {problem}")
    assert len(complained.splitlines()) == 1
    assert console.all(select(users)) == []


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        ("nowhere", "No such file or directory"),
        (".", "Is a directory"),
        ("/proc/self/mem", "Input/output error"),  # whoever runs the tests, this cannot be read
        ("/dev/zero", "it has NUL bytes"),
        ("\x1b[2J", "No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(console: Console, tmp_path: Path, file: str, problem: str) -> None:
    path = str(tmp_path / file)
    code, printed, complained = console.run("create-admin", "boss", "--password-file", path)
    assert (code, printed) == (1, "")
    assert complained.startswith(f"the password cannot be taken: {path.replace(chr(27), ' ')}: {problem}")


ODD = ["", "\x1b[2Jmina", "mi\nna", " ", "\u3164\u3164\u3164", "x" * 100_000]


@pytest.mark.parametrize("name", ODD, ids=lambda name: ascii(name[:9]))
@pytest.mark.parametrize("words", [["create-admin", "--promote"], ["disable"], ["enable"], ["sessions"]], ids=" ".join)
def test_an_odd_name_is_refused_in_one_harmless_line(console: Console, words: list[str], name: str) -> None:
    code, printed, complained = console.run(*words, name)
    assert (code, printed) == (1, "")
    assert complained.isprintable()
    assert not complained.startswith(":")
    assert "named ." not in complained


def test_without_a_terminal_nobody_is_asked(console: Console) -> None:
    complaint = "the password cannot be taken: there is nobody to ask; give --password-file"
    assert console.run("create-admin", "boss", typed=GOOD) == (1, "", complaint)


class Terminal(io.TextIOWrapper):
    """A standard input that is one."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("answers", "ended"),
    [
        ([GOOD, GOOD], (0, "boss is an admin now", "")),
        ([GOOD, GOOD + "!"], (1, "", "the password cannot be taken: the two are not the same")),
        ([], (1, "", "the password cannot be taken: it was not given")),
    ],
    ids=["twice the same", "two that differ", "Ctrl-D"],
)
def test_at_a_terminal_the_password_is_asked_for_twice(
    console: Console, monkeypatch: pytest.MonkeyPatch, answers: list[str], ended: tuple[int, str, str]
) -> None:
    left = iter(answers)

    def ask(prompt: str) -> str:
        try:
            return next(left)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(getpass, "getpass", ask)
    console.stdin = Terminal
    assert console.run("create-admin", "boss") == ended


@pytest.mark.parametrize("name", ["ab", "a b", "mina" * 17, "...", "a/b"])
def test_a_name_that_is_none_is_refused_before_the_password_is_read(console: Console, name: str) -> None:
    code, printed, complained = console.run("create-admin", name, "--password-file", "/nowhere")
    assert (code, printed) == (1, "")
    assert complained.startswith(f"{name}: a username has ")


def test_a_disabled_account_is_signed_out_and_can_be_enabled(console: Console, admin: str) -> None:
    session_id = signed_in(console, user(console))
    for _ in range(2):  # the second time changes nothing
        assert console.run("disable", "MINA") == (0, "mina is disabled, and its sessions have ended", "")
    assert console.run("sessions", "mina") == (0, "mina is signed in nowhere", "")
    for _ in range(2):
        assert console.run("enable", "mina") == (0, "mina may sign in", "")
    assert console.events()[4:] == ["user.disabled", "session.ended", "user.enabled"]
    assert console.all(select(sessions.c.device, sessions.c.address).where(sessions.c.id == session_id)) == [
        (None, None)
    ]


def test_the_only_admin_stays(console: Console, admin: str) -> None:
    assert console.run("disable", admin) == (1, "", "This is the only admin; make another one first.")


def test_an_admin_who_is_disabled_is_no_admin_that_anybody_may_count_on(console: Console, admin: str) -> None:
    console.run("create-admin", "deputy", "--password-file", "-", typed=GOOD)
    assert console.run("disable", admin)[0] == 0
    code, printed, complained = console.run("create-admin", admin, "--password-file", "-", typed=GOOD)
    assert (code, printed) == (1, "")
    assert complained == "boss is an admin, and disabled; to let it sign in: enable boss"


def test_respell_shows_the_name_as_given(console: Console, admin: str) -> None:
    mina = user(console, "MINA")
    for _ in range(2):  # the second time changes nothing
        ended = console.run("respell", "Ｍina")
        assert ended == (0, "Ｍina is shown like this from the next sign-in or refresh on", "")
    (row,) = console.all(select(users).where(users.c.id == mina))
    assert (row.username, row.username_folded) == ("Ｍina", "mina")
    assert console.events()[4:] == ["user.renamed"]
    (event,) = console.all(select(outbox.c.value).order_by(outbox.c.position.desc()).limit(1))
    assert json.loads(event.value) == {"user_id": str(mina), "username": "Ｍina"}


def test_respell_refuses_what_is_not_a_username(console: Console) -> None:
    code, printed, complained = console.run("respell", "mina\u3164")
    assert (code, printed) == (1, "")
    assert complained.endswith(": a username has letters of any script, digits and . _ - only")


@pytest.mark.parametrize("spelling", ["ㅋㅋㅋ", "\u110f" * 3, "\uffbb" * 3], ids=ascii)
def test_every_spelling_of_a_name_finds_the_account(console: Console, admin: str, spelling: str) -> None:
    user(console, "ㅋㅋㅋ")
    assert console.run("disable", spelling) == (0, "ㅋㅋㅋ is disabled, and its sessions have ended", "")
    assert console.run("sessions", spelling) == (0, "ㅋㅋㅋ is signed in nowhere", "")
    assert console.run("enable", spelling) == (0, "ㅋㅋㅋ may sign in", "")
    assert console.run("create-admin", spelling, "--promote")[1] == "ㅋㅋㅋ is an admin now; its sessions have ended"


@pytest.mark.parametrize("command", ["disable", "enable", "respell", "sessions"])
def test_an_account_that_nobody_knows_is_named(console: Console, command: str) -> None:
    assert console.run(command, "nobody") == (1, "", "There is no account named nobody.")


def test_sessions_are_listed_newest_first_in_words_that_harm_no_terminal(console: Console) -> None:
    mina = user(console)
    first, second = signed_in(console, mina), signed_in(console, mina, "a \x1b[2Jlaptop\x9b\n")
    code, printed, _ = console.run("sessions", "mina")
    now = f"{datetime.now(UTC):%Y-%m-%d }"
    assert code == 0
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines] == [str(second), str(first)]
    assert lines[1].startswith(f"{first}  signed in {now}")
    assert lines[1].endswith(" UTC  192.0.2.7  a phone")
    assert lines[0].endswith("  a [2Jlaptop")


def test_one_session_ends_or_all(console: Console) -> None:
    mina, other = user(console), user(console, "minsu")
    first, _, _ = (signed_in(console, mina) for _ in range(3))
    strange = signed_in(console, other)
    assert console.run("sessions", "mina", "--end", str(first)) == (0, "1 session ended", "")
    for id_ in (first, strange, uuid7()):
        ended = console.run("sessions", "mina", "--end", str(id_))
        assert ended == (1, "", f"mina has no live session {id_}")
    assert console.run("sessions", "mina", "--end-all") == (0, "2 sessions ended", "")
    assert console.run("sessions", "mina", "--end-all") == (0, "0 sessions ended", "")
    assert len(console.run("sessions", "minsu")[1].splitlines()) == 1
    assert console.events()[4:] == ["session.ended"] * 3


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["sessions", "mina", "--end", "7"], "argument --end: invalid UUID value: '7'"),
        (["sessions", "mina", "--end", str(UUID(int=7)), "--end-all"], "not allowed with argument --end"),
        (["create-admin"], "the following arguments are required: username"),
        (["create-admin", "boss", "--password", GOOD[:5]], "unrecognized arguments"),
        (["disable"], "the following arguments are required: username"),
    ],
)
def test_wrong_words_end_with_2_and_say_which(console: Console, words: list[str], complaint: str) -> None:
    code, _, complained = console.run(*words)
    assert code == 2
    assert complaint in complained


@pytest.mark.parametrize("command", ["create-admin", "disable", "enable", "respell", "sessions"])
def test_help_says_what_it_does(console: Console, command: str) -> None:
    code, printed, _ = console.run(command, "--help")
    assert code == 0
    assert next(one.help for one in COMMANDS if one.name == command) in printed.replace("\n", " ")


@pytest.mark.parametrize("command", ["create-admin", "disable", "enable", "respell", "sessions"])
def test_without_a_database_the_setting_is_named(
    console: Console, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.delenv("TIDINGS_DATABASE_URL")
    code, printed, complained = console.run(command, "mina")
    assert (code, printed) == (2, "")
    assert "TIDINGS_DATABASE_URL: is not set" in complained


def test_a_database_that_is_not_there_is_a_failure_in_one_line(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDINGS_DATABASE_URL", "mysql+aiomysql://nobody:canary@127.0.0.1:9/tidings")
    code, printed, complained = console.run("disable", "mina")
    assert (code, printed, len(complained.splitlines())) == (1, "", 1)
    assert complained.startswith("the database ")
    assert "canary" not in complained


def test_of_two_that_make_the_same_admin_neither_fails(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a job runs twice at the same time: the other one comes first while this one still hashes."""
    hashed = Passwords.hash

    async def hash_late(self: Passwords, password: str) -> str:
        row = {"id": uuid7(), "username": "boss", "username_folded": "boss", "role": "admin", "password_hash": "x"}
        await asyncio.to_thread(console.all, insert(users).values(row | {"created_at": datetime.now(UTC)}))
        return await hashed(self, password)

    monkeypatch.setattr(Passwords, "hash", hash_late)
    ended = console.run("create-admin", "boss", "--password-file", "-", typed=GOOD)
    assert ended == (0, "boss is an admin already; the password stays as it is", "")
