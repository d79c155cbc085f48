"""The command line and the terminal: what must happen does, whoever reads the output, and however a person ends it."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from support.client import Person, eventually
from support.console import Terminal, python, redirected
from support.servers import require
from support.system import Process, System
from tidings_local.servers.ports import free_port

ROOT = Path(__file__).parents[2]
CTRL_C = "\x03"
POSTS = 20
PASSWORD = "비밀 번호 é ☂ that nobody else has"


def environment(folder: Path) -> dict[str, str]:
    """Settings with which every command of every member runs, though nothing but its database is there."""
    return {
        "TIDINGS_ENVIRONMENT": "development",
        "TIDINGS_DATABASE_URL": f"sqlite+aiosqlite:///{folder}/service.db",
        "TIDINGS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9",
        "TIDINGS_TOKENS_JWKS_URL": "http://127.0.0.1:9/.well-known/jwks.json",
        "TIDINGS_ACTIVITY_ADDRESS_KEY": "0123456789abcdef",
        "TIDINGS_REDIS_URL": "redis://127.0.0.1:9/0",
        "TIDINGS_SIGNING_KEYS_FILE": f"{folder}/signing-keys.json",
        "TIDINGS_SIGNING_GENERATE": "true",
    }


def local(folder: Path, port: int, real: bool = False) -> dict[str, str]:
    """The settings of the local runner."""
    if real:
        for name in ("MariaDB", "Redis", "Kafka"):
            require(name)
    return {"PORT": str(port), "DATA": str(folder / "var"), "REAL": "1" if real else ""}


def password_file(folder: Path, octets: bytes = PASSWORD.encode()) -> str:
    file = folder / "password"
    file.write_bytes(octets)
    return str(file)


def migrated(package: str, folder: Path) -> None:
    assert redirected("", python(package, "migrate"), environment(folder)).returncode == 0


def usernames(folder: Path) -> list[str]:
    with sqlite3.connect(folder / "service.db") as database:
        found = [name for (name,) in database.execute("SELECT username FROM users")]
    database.close()
    return found


def stored(folder: Path) -> int:
    """Return how many posts are in the embedded log."""
    with sqlite3.connect(folder / "var" / "logs.db") as database:
        (count,) = database.execute("SELECT count(*) FROM entries WHERE type = 'message.created'").fetchone()
    database.close()
    return int(count)


@contextmanager
def person(url: str) -> Iterator[Person]:
    with httpx.Client(base_url=url, timeout=15, trust_env=False) as http:
        yield Person(http)


def post(url: str) -> None:
    """Post as somebody new, from the first moment at which that is possible."""
    with person(url) as somebody:
        for number in range(POSTS):
            somebody.say(f"acknowledged {number}")


@pytest.fixture(scope="module")
def account_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database that has auth's schema."""
    folder = tmp_path_factory.mktemp("accounts")
    migrated("tidings_auth", folder)
    return folder


@pytest.mark.parametrize(
    ("redirection", "encoding", "printed"),
    [
        ("", "utf-8", "{} is an admin now\n"),
        ("", "ascii:strict", "\\ubbfc\\uc544\\ub098-{} is an admin now\n"),
        ("<&- >&- 2>&-", "utf-8", ""),
        (">/dev/full 2>&1", "latin-1", ""),
        ("2>&1 | exec true", "ascii", ""),
    ],
)
def test_an_admin_is_made_wherever_the_message_goes(
    redirection: str, encoding: str, printed: str, account_folder: Path
) -> None:
    username = f"민아나-{len(usernames(account_folder))}"
    command = python("tidings_auth", "create-admin", username, "--password-file", password_file(account_folder))
    ended = redirected(redirection, command, environment(account_folder) | {"PYTHONIOENCODING": encoding})
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert username in usernames(account_folder)
    assert ended.stdout.decode() == printed.format(username if encoding == "utf-8" else username.split("-")[1])


def test_an_admin_is_made_in_a_locale_without_utf8(account_folder: Path) -> None:
    file = account_folder / "비밀번호"
    file.write_text(PASSWORD, "utf-8")
    command = python("tidings_auth", "create-admin", "민아나둘", "--password-file", str(file))
    ended = redirected("", command, environment(account_folder) | {"LC_ALL": "C", "PYTHONUTF8": "0"})
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert ended.stdout.decode() == "\\ubbfc\\uc544\\ub098\\ub458 is an admin now\n"
    assert "민아나둘" in usernames(account_folder)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["tidings_messages", "migrate"], 0),
        (["tidings_log_consumer", "migrate"], 0),
        (["tidings_auth", "rotate-keys"], 0),
        (["tidings_auth", "rotate-keys", "--output", "-"], 1),
        (["tidings", "contracts", "--folder", str(ROOT / "shared" / "contracts"), "write"], 0),
        (["tidings", "contracts", "--folder", str(ROOT / "shared" / "contracts"), "check"], 1),
        (["tidings", "topics", "apply"], 2),
    ],
    ids=lambda words: " ".join((words[0], words[1], words[-1])) if isinstance(words, list) else str(words),
)
def test_each_member_ends_by_what_it_did_on_a_full_disk(words: list[str], code: int, tmp_path: Path) -> None:
    ended = redirected(">/dev/full", python(*words), environment(tmp_path))
    assert ended.returncode == code, ended.stderr
    assert b"Traceback" not in ended.stderr
    assert b"Exception ignored" not in ended.stderr


@pytest.mark.parametrize(
    "package", ["tidings", "tidings_auth", "tidings_messages", "tidings_log_consumer", "tidings_local"]
)
def test_each_member_refuses_an_argument_that_is_not_utf8(package: str) -> None:
    ended = redirected("", python(package, "list", b"caf\xe9"), {})
    line = "argument 2 is not valid UTF-8: type it again where the terminal and locale use UTF-8\n"
    assert (ended.returncode, ended.stdout, ended.stderr.decode()) == (1, b"", line)


@pytest.mark.parametrize(
    ("source", "octets"),
    [("file", b"\xef\xbb\xbf" + PASSWORD.encode() + b"\r\n"), ("pipe", PASSWORD.encode() + b"\n")],
)
def test_a_password_from_a_file_or_pipe_signs_in_over_http(
    system: System, source: str, octets: bytes, tmp_path: Path
) -> None:
    username = f"{source}-{system.kind}"
    file = password_file(tmp_path, octets)
    given, redirection = (file, "") if source == "file" else ("-", f"< {file}")
    command = python("tidings_auth", "create-admin", username, "--password-file", given)
    settings = {"TIDINGS_DATABASE_URL": database_of_auth(system), "PYTHONIOENCODING": "ascii"}
    ended = redirected(redirection, command, settings)
    assert (ended.returncode, ended.stderr) == (0, b"")
    with system.client() as http:
        answer = http.post("/api/login", json={"username": username, "password": PASSWORD})
    assert answer.status_code == 200, answer.text


def database_of_auth(system: System) -> str:
    if system.kind == "embedded":
        return f"sqlite+aiosqlite:///{system.processes['all'].environment['DATA']}/auth.db"
    return system.processes["auth"].environment["TIDINGS_DATABASE_URL"]


@pytest.mark.parametrize("keys", [CTRL_C, "a password that\n" + CTRL_C], ids=["first question", "second question"])
def test_ctrl_c_at_the_password_is_an_interruption(keys: str, tmp_path: Path) -> None:
    migrated("tidings_auth", tmp_path)
    terminal = Terminal([sys.executable, "-m", "tidings_auth", "create-admin", "boss"], environment(tmp_path))
    try:
        terminal.output(until="Password: ")
        terminal.press(keys)
        assert terminal.wait() == 130
        assert "interrupted" in terminal.output()
        assert "Traceback" not in terminal.output()
    finally:
        terminal.close()
    assert usernames(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "number"),
    [
        (["tidings_auth", "serve"], signal.SIGINT),
        (["tidings_local", "run"], signal.SIGHUP),
        (["tidings_local", "demo"], signal.SIGTERM),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_signal_during_the_imports_is_no_traceback(words: list[str], number: int, tmp_path: Path) -> None:
    port = free_port()
    process = Process(
        name=words[0],
        command=[sys.executable, "-m", *words],
        environment=environment(tmp_path) | local(tmp_path, port),
        url=f"http://127.0.0.1:{port}",
        log=tmp_path / "log",
    )
    process.launch()
    assert process.running
    maps = Path(f"/proc/{process.running.pid}/maps")
    assert eventually(maps.read_text, lambda text: "pydantic_core" in text or "httpx" in text)
    process.signal(number)
    assert process.wait() == (0 if words[1] == "run" else 130)
    assert "Traceback" not in process.output()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_it_starts_ends_it_cleanly(number: int, tmp_path: Path) -> None:
    process = embedded(tmp_path)
    process.launch()
    assert eventually(lambda: (tmp_path / "var" / "logs.db").exists(), bool, seconds=30)
    process.signal(number)
    assert process.wait() == 0
    assert "Traceback" not in process.output()


FINALIZER = """
import signal
from tidings.http.settings import HttpSettings
from tidings.serving import Server, listen, server_config
from tidings.signals import end_on_signals
from tidings.terminal import run_command

class Finalized:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)

async def app(scope, receive, send):
    raise AssertionError("it does not start")

def main():
    end_on_signals()
    Finalized()
    Server(server_config(app, HttpSettings(), finish_seconds=1)).run([listen("127.0.0.1", 0, "HOST", "PORT")])
    return 0

run_command(main)
"""


def test_a_signal_that_interrupts_a_finalizer_is_not_forgotten() -> None:
    """Python drops the exception that would end the process there."""
    ended = redirected("", [sys.executable, "-c", FINALIZER], {})
    assert ended.returncode == 0
    assert b"Exception ignored in: <function Finalized.__del__" in ended.stderr


def embedded(folder: Path) -> Process:
    port = free_port()
    return Process(
        name="all",
        command=[sys.executable, "-m", "tidings_local", "run"],
        environment=local(folder, port),
        url=f"http://127.0.0.1:{port}",
        log=folder / "log",
    )


def test_what_was_posted_in_the_first_moment_is_stored_at_the_end(tmp_path: Path) -> None:
    """The log consumer needs seconds to join its group; an end before that still waits for it."""
    process = embedded(tmp_path)
    process.environment["PYTHONIOENCODING"] = "ascii:strict"
    process.start()
    post(process.url)
    assert process.stop() == 0, process.output()
    assert stored(tmp_path) == POSTS
    assert "finishing what is under way \\u2026" in process.output()
    assert "nothing is left to send" in process.output()


@pytest.mark.parametrize("reader", ["leaves", "stops reading", "is a full disk", "never was"])
def test_everything_is_stored_whatever_became_of_the_reader(reader: str, tmp_path: Path) -> None:
    port = free_port()
    reading, writing = os.pipe()
    if reader == "is a full disk":
        os.close(writing)
        writing = os.open("/dev/full", os.O_WRONLY)
    command = [sys.executable, "-m", "tidings_local", "run"]
    if reader == "never was":
        command = ["bash", "-c", 'exec "$@" >&- 2>&-', "bash", *command]
    process = subprocess.Popen(command, env=os.environ | local(tmp_path, port), stdout=writing, stderr=writing)
    if reader == "stops reading":
        fill(writing)
    os.close(writing)
    try:
        url = f"http://127.0.0.1:{port}"
        assert eventually(lambda: alive(url), bool, seconds=30)
        post(url)
        if reader == "leaves":
            os.close(reading)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        if reader != "leaves":
            os.close(reading)
    assert stored(tmp_path) == POSTS


def fill(pipe: int) -> None:
    """Write into a pipe until it takes no more; only this description of it does not block."""
    again = os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        while os.write(again, b"x" * 4096):
            pass
    except BlockingIOError:
        os.close(again)


def alive(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live", timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def test_ctrl_c_at_make_run_with_tee_stores_everything(tmp_path: Path) -> None:
    """The terminal's Ctrl-C reaches make, tee and Tidings at the same time; make itself always ends as interrupted."""
    settings = local(tmp_path, free_port())
    variables = " ".join(f"{name}={value}" for name, value in settings.items())
    made = f"make VENV={sys.prefix} -o {sys.prefix}/ready run {variables}"
    terminal = Terminal(["bash", "-c", f"trap : INT; {made} | tee {tmp_path}/log; echo ended"], {}, ROOT)
    try:
        terminal.output(until="Stop               Ctrl-C")
        post(f"http://127.0.0.1:{settings['PORT']}")
        terminal.press(CTRL_C)
        output = terminal.output(until="ended\n")
        assert terminal.wait() == 0
    finally:
        terminal.close()
    assert "Error" not in output  # make's word for another exit code than 0
    assert "Traceback" not in output
    assert stored(tmp_path) == POSTS


@pytest.mark.parametrize("real", [False, pytest.param(True, marks=pytest.mark.real)], ids=["embedded", "real"])
@pytest.mark.parametrize("way", ["Ctrl-C", "hang up"])
def test_the_end_of_a_terminal_ends_it_cleanly(way: str, real: bool, tmp_path: Path) -> None:
    port = free_port()
    terminal = Terminal([sys.executable, "-m", "tidings_local", "run"], local(tmp_path, port, real))
    try:
        terminal.output(until="Stop               Ctrl-C")
        post(f"http://127.0.0.1:{port}")
        if way == "Ctrl-C":
            terminal.press(CTRL_C)
        else:
            terminal.hang_up()
        assert terminal.wait() == 0
        if way == "Ctrl-C":
            assert "nothing is left to send" in terminal.output()
    finally:
        terminal.close()
    if real:
        assert "Shutdown complete" in (tmp_path / "var" / "servers" / "mariadb" / "server.log").read_text()
        assert "ready to exit" in (tmp_path / "var" / "servers" / "redis" / "server.log").read_text()
    else:
        assert stored(tmp_path) == POSTS


def test_a_second_ctrl_c_does_not_cut_the_end_short(tmp_path: Path) -> None:
    process = embedded(tmp_path)
    process.start()
    System("embedded", {"all": process}).wait_until_ready()  # the log consumer has joined its group
    with log_locked(tmp_path):
        post(process.url)
        process.signal(signal.SIGINT)
        eventually(process.output, lambda text: "finishing what is under way" in text)
        process.signal(signal.SIGINT)
        assert "one more Ctrl-C ends" in eventually(process.output, lambda text: "one more Ctrl-C ends" in text)
        for number in (signal.SIGTERM, signal.SIGHUP):
            process.signal(number)
    assert process.wait() == 0, process.output()
    assert "Traceback" not in process.output()
    assert stored(tmp_path) == POSTS


def test_a_third_ctrl_c_ends_it_at_once_as_was_said(tmp_path: Path) -> None:
    process = embedded(tmp_path)
    process.start()
    System("embedded", {"all": process}).wait_until_ready()  # the log consumer has joined its group
    with log_locked(tmp_path):
        post(process.url)
        process.signal(signal.SIGINT)
        eventually(process.output, lambda text: "finishing what is under way" in text)
        process.signal(signal.SIGINT)
        eventually(process.output, lambda text: "one more Ctrl-C ends" in text)
        process.signal(signal.SIGINT)
        assert process.wait() == -signal.SIGINT
    assert "what is not stored yet is lost" in process.output()


@contextmanager
def log_locked(folder: Path) -> Iterator[None]:
    """Have nobody write to the embedded log for a while."""
    database = sqlite3.connect(folder / "var" / "logs.db", isolation_level=None)
    try:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")
    finally:
        database.close()


def test_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    process = embedded(tmp_path)
    process.command = ["nohup", *process.command]
    process.start()
    process.signal(signal.SIGHUP)
    post(process.url)
    assert process.stop() == 0
    assert stored(tmp_path) == POSTS


def test_a_service_ends_cleanly_whatever_signals_come(tmp_path: Path) -> None:
    migrated("tidings_messages", tmp_path)
    port = free_port()
    process = Process(
        name="messages",
        command=[sys.executable, "-m", "tidings_messages", "serve"],
        environment=environment(tmp_path) | {"TIDINGS_HTTP_PORT": str(port)},
        url=f"http://127.0.0.1:{port}",
        log=tmp_path / "log",
    )
    process.start()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        process.signal(number)
    assert process.wait() == 0, process.output()
    assert "Traceback" not in process.output()


@pytest.mark.parametrize(("encoding", "redirection"), [("latin-1", ""), ("ascii:strict", "2>&1 | head -1")])
def test_the_demo_runs_to_its_end_whatever_its_output(encoding: str, redirection: str, tmp_path: Path) -> None:
    settings = local(tmp_path, free_port()) | {"PYTHONIOENCODING": encoding, "TMPDIR": str(tmp_path)}
    ended = redirected(redirection, python("tidings_local", "demo"), settings)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert list(tmp_path.glob("tidings-demo-*")) == []  # its own instance has ended, and its folder is gone
    if not redirection:
        assert "POST /api/messages" in ended.stdout.decode(encoding)
