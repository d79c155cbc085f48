"""Commands: what a person sees when a service cannot start, and that a migration can be run twice."""

import argparse
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from alembic.script import ScriptDirectory

from tidings.commands import Command, CommandFailed, main
from tidings.database.schema import head, location, revisions
from tidings.settings import Settings
from tidings_auth.app import create_app as create_auth
from tidings_auth.settings import AuthSettings
from tidings_messages.settings import MessagesSettings
from tidings_messages.tables import outbox

HEAD = ScriptDirectory(str(location("tidings_messages"))).get_current_head()


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def no_app(_: MessagesSettings) -> NoReturn:
    raise AssertionError("the application is not built for this")


def greet(arguments: argparse.Namespace, settings: Settings) -> str:
    if arguments.name == "nobody":
        raise CommandFailed("nobody is there to be greeted")
    return f"{settings.environment} greets {arguments.name}"


def whom(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name")


GREET = Command("greet", "say hello", Settings, greet, whom)


def run(*argv: str) -> int:
    return main("tidings_messages", MessagesSettings, no_app, argv, outbox=outbox, commands=[GREET])


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "messages.db"
    for name, value in {
        "TIDINGS_DATABASE_URL": f"sqlite+aiosqlite:///{path}",
        "TIDINGS_KAFKA_BOOTSTRAP_SERVERS": "unused:9092",
        "TIDINGS_REDIS_URL": "redis://unused:6379/0",
        "TIDINGS_TOKENS_JWKS_URL": "http://unused/keys",
        "TIDINGS_ACTIVITY_ADDRESS_KEY": "0123456789abcdef",
    }.items():
        monkeypatch.setenv(name, value)
    return path


def test_wrong_settings_are_told_on_standard_error_and_nothing_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("serve") == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "TIDINGS_DATABASE_URL: is not set" in told.err
    assert "Traceback" not in told.err


def test_a_migration_makes_the_schema_and_can_be_run_again(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("migrate") == 0
    assert run("migrate") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"the database is now at revision {HEAD}; it was empty",
        f"nothing to do: the database is at revision {HEAD}",
    ]
    with sqlite3.connect(database) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    assert {"messages", "outbox", "alembic_version"} <= tables


@pytest.mark.parametrize("command", ["show", "retry", "park"])
@pytest.mark.parametrize(
    "position", [str(2**63), "-1", "", "x", "\x1b", "9" * 5_000], ids=lambda text: ascii(text[:20])
)
def test_an_odd_outbox_position_is_wrong_usage(
    database: Path, capsys: pytest.CaptureFixture[str], command: str, position: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run("outbox", command, "--", position)
    assert ended.value.code == 2
    assert f"argument position: invalid position value: {position!r}" in capsys.readouterr().err


def test_the_largest_outbox_position_is_looked_for(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("migrate")
    assert run("outbox", "show", str(2**63 - 1)) == 1
    assert capsys.readouterr().err == f"there is no row {2**63 - 1}: it is published, or never was\n"


def set_revision(database: Path, revision: str) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
    connection.close()


def test_migrate_of_newer_database_succeeds_in_one_line(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("migrate") == 0
    set_revision(database, "9999")
    capsys.readouterr()
    assert run("migrate") == 0
    said = f"nothing to do: the database is at revision 9999, ahead of this release's {HEAD}\n"
    assert capsys.readouterr() == (said, "")


def test_migrate_of_foreign_database_fails_in_one_line(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("migrate") == 0
    set_revision(database, "ae1027a6acf")
    capsys.readouterr()
    assert run("migrate") == 1
    told = capsys.readouterr()
    assert told.err.startswith(
        "TIDINGS_DATABASE_URL: the database is at revision 'ae1027a6acf', which tidings_messages"
    )
    assert len(told.err.splitlines()) == 1


def test_migrate_waits_no_longer_than_it_is_told(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with sqlite3.connect(database, isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert run("migrate", "--wait", "0") == 1
        connection.execute("ROLLBACK")
    connection.close()
    assert "another migration of this database still runs after 0 s" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["-1", "nan", "inf", "soon"])
def test_migrate_refuses_wait_that_is_no_length(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("migrate", f"--wait={seconds}")
    assert "argument --wait: invalid" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [(), ("other",)])
def test_a_command_that_is_none_shows_the_usage(argv: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*argv)
    assert ended.value.code == 2
    assert "usage: python -m tidings_messages" in capsys.readouterr().err


def test_a_service_s_own_command_is_asked_for_no_settings_but_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("greet", "mina") == 0
    assert capsys.readouterr() == ("production greets mina\n", "")


def test_a_command_that_fails_says_so_in_one_line_and_by_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("greet", "nobody") == 1
    assert capsys.readouterr() == ("", "nobody is there to be greeted\n")


def test_every_command_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["--help"], ["greet", "--help"]):
        with pytest.raises(SystemExit):
            run(*argv)
        assert "say hello" in capsys.readouterr().out


def test_a_database_in_a_folder_that_is_not_there_is_told_before_anything_is_opened(
    database: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TIDINGS_DATABASE_URL", f"sqlite+aiosqlite:///{database.parent}/none/x.db")
    assert run("migrate") == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "TIDINGS_DATABASE_URL: the folder of the file does not exist or cannot be written" in told.err
    assert "Traceback" not in told.err


def test_a_file_that_is_no_database_is_told_by_its_variable(database: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database.write_text("no database" * 1_000)
    assert run("migrate") == 1
    told = capsys.readouterr()
    assert told.err == "TIDINGS_DATABASE_URL: the database cannot be migrated: file is not a database\n"


def test_a_keys_file_without_a_key_is_one_message_of_the_command(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text("garbage")
    monkeypatch.setenv("TIDINGS_SIGNING_KEYS_FILE", str(tmp_path / "key"))
    assert main("tidings_auth", AuthSettings, create_auth, ["serve"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("TIDINGS_SIGNING_KEYS_FILE: ")
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("package", ["tidings_auth", "tidings_messages", "tidings_log_consumer"])
def test_revisions_by_file_name_are_those_of_alembic(package: str) -> None:
    by_alembic = [script.revision for script in ScriptDirectory(str(location(package))).walk_revisions()]
    assert list(revisions(package)) == by_alembic[::-1]
    assert head(package) == by_alembic[0]


def test_service_that_serves_does_not_import_alembic() -> None:
    """It would take a quarter of its start."""
    code = "import sys, tidings.commands, tidings_messages.app; assert 'alembic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
