"""The terminal: what a command's streams, arguments and exit code do where its output cannot be written."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.console import python, redirected
from tidings.terminal import Listing, OutputLost, Stream, output_failure, path_argument, say

BROKEN = [">&-", ">&- 2>&-", "<&- >&- 2>&-", "| exec true", "2>&1 | exec true", ">/dev/full", ">/dev/full 2>&1"]
PROBE = """
import argparse, logging, sys, warnings
from pathlib import Path
from tidings.terminal import Document, Listing, complain, run_command, say

def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("kind")
    arguments = parser.parse_args()
    sys.stdin.read()
    logging.warning("민아나")
    warnings.warn("민아나")
    complain("민아나")
    with arguments.file.open("w") as file:  # gets the number of a stream that is closed
        for _ in range(1_000):
            say({"message": str, "listing": Listing, "document": Document}[arguments.kind]("민아나" * 100))
        file.write("done")
    return 0

run_command(main)
"""


def probe(redirection: str, *words: str | bytes, encoding: str = "utf-8") -> "subprocess.CompletedProcess[bytes]":
    return redirected(redirection, [sys.executable, "-c", PROBE, *words], {"PYTHONIOENCODING": encoding})


@pytest.mark.parametrize("redirection", ["", *BROKEN])
@pytest.mark.parametrize("kind", ["message", "listing", "document"])
def test_work_is_done_wherever_output_goes(redirection: str, kind: str, tmp_path: Path) -> None:
    ended = probe(redirection, str(tmp_path / "file"), kind)
    failed = {
        "message": False,
        "listing": "/dev/full" in redirection,
        "document": bool(redirection),
    }[kind]
    assert ended.returncode == (1 if failed else 0), ended.stderr
    assert b"Traceback" not in ended.stderr
    assert b"Exception ignored" not in ended.stderr
    assert (tmp_path / "file").read_text() == ("" if failed else "done")
    if failed and redirection == ">/dev/full":
        assert ended.stderr.endswith(b"standard output cannot be written: No space left on device\n")


@pytest.mark.parametrize("redirection", ["", *BROKEN])
@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["--nonsense"], 2)], ids=["help", "wrong usage"])
def test_usage_keeps_its_exit_code_wherever_output_goes(redirection: str, words: list[str], code: int) -> None:
    ended = probe(redirection, *words)
    assert ended.returncode == code
    assert b"Exception ignored" not in ended.stderr


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_interruption_within_exec_is_one_like_any_other(number: str, tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text(
        "import signal\n"
        "from tidings.terminal import run_command\n"
        f"run_command(lambda: exec('signal.raise_signal(signal.{number})'))\n"
    )
    ended = redirected("", python("probe"), {"PYTHONPATH": str(tmp_path)})
    assert (ended.returncode, ended.stderr) == (130, b"interrupted\n")


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "latin-1", "cp949", "utf-16"])
def test_a_missing_character_is_escaped(encoding: str, tmp_path: Path) -> None:
    ended = probe("", str(tmp_path / "file"), "listing", encoding=encoding)
    assert ended.returncode == 0
    text = "민아나" if encoding in ("cp949", "utf-16") else "\\ubbfc\\uc544\\ub098"
    assert ended.stdout.decode(encoding.split(":")[0]).splitlines()[0] == text * 100
    assert b"Logging error" not in ended.stderr


@pytest.mark.parametrize("words", [[b"\xff"], [b"list", b"caf\xe9"], [b"list", b"--file", b"\xb9\xce"]], ids=repr)
@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0"}], ids=["locale", "without UTF-8"])
def test_an_argument_that_is_not_utf8_is_one_line(words: list[str | bytes], locale: dict[str, str]) -> None:
    ended = redirected("", [sys.executable, "-c", ARGUMENTS, *words], locale)
    line = f"argument {len(words)} is not valid UTF-8: type it again where the terminal and locale use UTF-8\n"
    assert (ended.returncode, ended.stdout, ended.stderr.decode()) == (1, b"", line)


ARGUMENTS = """
import sys
from tidings.terminal import file_path, run_command

def main():
    file_path(sys.argv[1]).write_text(ascii(sys.argv[1:]), "ascii")
    return 0

run_command(main)
"""


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C", "PYTHONUTF8": "0"}, {"LC_ALL": "C.UTF-8"}], ids=["without UTF-8", "with UTF-8"]
)
def test_arguments_are_utf8_whatever_the_locale(locale: dict[str, str], tmp_path: Path) -> None:
    words = [str(tmp_path / "파일 é"), "민아나둘", "☂"]
    ended = redirected("", [sys.executable, "-c", ARGUMENTS, *words], locale)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert (tmp_path / "파일 é").read_text("ascii") == ascii(words)


@contextmanager
def stream(descriptor: int, encoding: str = "utf-8") -> Iterator[Stream]:
    yield Stream(descriptor, encoding)
    os.close(descriptor)


def test_escapes_keep_json_as_it_was(tmp_path: Path) -> None:
    """A letter of Latin-1, one of Hangul, an emoji and half of one: Python's own escapes are not JSON's."""
    text = "é 민 🌤 \ud83c"
    with stream(os.open(tmp_path / "file", os.O_WRONLY | os.O_CREAT), "ascii") as opened:
        opened.write(json.dumps(text, ensure_ascii=False))
    assert json.loads((tmp_path / "file").read_text("ascii")) == text


def test_a_reader_that_stops_reading_is_not_waited_for_for_ever() -> None:
    reading, writing = os.pipe()
    with stream(writing) as opened:
        opened.descriptor.patience = 0.01
        for _ in range(100):
            assert opened.write("x" * 10_000) == 10_000
        held = os.read(reading, 2_000_000)
        assert 0 < len(held) < 1_000_000
        opened.write("read again\n")
    assert os.read(reading, 2_000_000).endswith(b"read again\n")
    os.close(reading)


def test_a_pipe_that_does_not_block_takes_everything(tmp_path: Path) -> None:
    """Whoever shares a terminal may set it so; a write that would block then writes nothing."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with (tmp_path / "read").open("wb") as read, subprocess.Popen(["cat"], stdin=reading, stdout=read):
        os.close(reading)
        with stream(writing) as opened:
            opened.write("x" * 1_000_000)
    assert (tmp_path / "read").stat().st_size == 1_000_000


def test_a_stream_keeps_why_it_lost_something(monkeypatch: pytest.MonkeyPatch) -> None:
    assert output_failure() is None
    with stream(os.open("/dev/full", os.O_WRONLY)) as opened:
        monkeypatch.setattr(sys, "stdout", opened)
        say("a message")
        assert output_failure()
        with pytest.raises(OutputLost, match="No space left on device"):
            say(Listing("a listing"))
        monkeypatch.setattr(sys, "stdout", io.StringIO())


def test_an_empty_path_is_not_the_current_folder() -> None:
    assert path_argument("a/b") == Path("a/b")
    with pytest.raises(Exception, match="is empty; name a file or folder"):
        path_argument("")
