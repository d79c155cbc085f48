"""Rotation: what `rotate-keys` does at which time, and what it tells."""

import json
import stat
import time
from pathlib import Path
from typing import NoReturn

import pytest

from tidings.commands import CommandFailed, main
from tidings_auth.key_commands import ROTATE_KEYS
from tidings_auth.key_rotation import DAY, DROP_SECONDS, PUBLISHED_SECONDS, rotated
from tidings_auth.keyring import Keyring, new_key, new_keyring, read_keyring
from tidings_auth.settings import AuthSettings, SigningSettings

SETTINGS = SigningSettings(keys_file=Path("unused"))
NOW = 1_700_000_000
DUE = NOW + 90 * DAY


def turn(ring: Keyring, at: int, *, force: bool = False) -> tuple[Keyring, list[str]]:
    """Rotate, and return the ring and the first word of each thing done."""
    rotation = rotated(ring, SETTINGS, at, force=force)
    return rotation.ring, [line.split()[0] for line in rotation.done]


def test_nothing_is_done_before_the_current_key_is_old_enough() -> None:
    ring = new_keyring(NOW)
    assert turn(ring, DUE - 1) == (ring, [])


def test_when_it_is_next_becomes_current_and_a_new_next_is_added() -> None:
    ring = new_keyring(NOW)
    old, following = ring.keys
    after, done = turn(ring, DUE)
    assert done == ["promoted", "added"]
    assert after.current(DUE).kid == following.kid
    assert after.current(DUE).active_from == DUE
    assert old in after.keys
    assert (added := after.next(DUE))
    assert added.created == DUE


def test_a_second_time_in_a_row_nothing_is_done() -> None:
    after, _ = turn(new_keyring(NOW), DUE)
    assert turn(after, DUE + 1) == (after, [])
    assert turn(after, DUE + DROP_SECONDS - 1) == (after, [])


def test_a_key_is_dropped_once_nobody_can_have_a_live_token_of_it() -> None:
    after, _ = turn(new_keyring(NOW), DUE)
    later, done = turn(after, DUE + DROP_SECONDS)
    assert done == ["dropped"]
    assert later.keys == after.keys[1:]
    assert turn(later, DUE + DROP_SECONDS) == (later, [])


def test_a_next_key_that_verifiers_may_not_know_is_not_promoted_unless_forced() -> None:
    young = new_key(DUE - PUBLISHED_SECONDS + 1)
    ring = Keyring((new_key(NOW, active_from=NOW), young))
    with pytest.raises(CommandFailed, match=rf"{young.kid}.*can sign from 2024-02-12 22:13:21 UTC, or .*--force"):
        turn(ring, DUE)
    assert turn(ring, DUE + 1)[1] == ["promoted", "added"]
    assert turn(ring, DUE, force=True)[1] == ["promoted", "added"]


def test_without_a_next_key_one_is_added_and_promoted_when_it_is_known() -> None:
    ring, done = turn(Keyring((new_key(NOW, active_from=NOW),)), DUE)
    assert done == ["added"]
    assert turn(ring, DUE + PUBLISHED_SECONDS)[1] == ["promoted", "added"]


def test_force_promotes_whatever_is_due_and_whether_or_not_there_is_a_next_key() -> None:
    for ring in (new_keyring(NOW), Keyring((new_key(NOW, active_from=NOW),))):
        after, done = turn(ring, NOW + 10, force=True)
        assert done == ["promoted", "added"]
        assert after.current(NOW + 10).kid != ring.keys[0].kid
        assert len(after.keys) == 3


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TIDINGS_SIGNING_KEYS_FILE", str(tmp_path / "keys.json"))
    return tmp_path / "keys.json"


def run(*options: str) -> int:
    def no_app(_: AuthSettings) -> NoReturn:
        raise AssertionError("the application is not built for this")

    return main("tidings_auth", AuthSettings, no_app, ["rotate-keys", *options], commands=[ROTATE_KEYS])


def private_parts(path: Path) -> list[str]:
    return [key["d"] for key in json.loads(path.read_text())["keys"]]


def test_the_command_makes_the_file_and_the_second_time_leaves_it(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run() == 0
    told = capsys.readouterr().out
    assert "made a key that signs at once, and the next one" in told
    assert f"written to {path}" in told
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.stat()
    assert run() == 0
    assert capsys.readouterr().out.startswith("nothing to do\n")
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_it_tells_each_keys_name_role_and_times_and_nothing_private(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    run("--force")
    told = capsys.readouterr().out
    for key, role in zip(read_keyring(path.read_bytes()).keys, ("superseded", "current", "next"), strict=True):
        (line,) = [line for line in told.splitlines()[-4:] if line.startswith(f"  {key.kid}  {role}")]
        assert "created 20" in line
    assert not any(part in told for part in private_parts(path))


@pytest.mark.parametrize("there", [False, True])
def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    path: Path, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    if there:
        run()
    before = path.read_bytes() if there else None
    assert run("--dry-run", "--force") == 0
    told = capsys.readouterr().out
    assert "nothing is written; without --dry-run this would be done:" in told
    assert ("promoted" in told) is there
    assert (path.read_bytes() if path.exists() else None) == before


def test_the_keys_go_to_standard_output_alone_and_the_words_beside_it(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--output", "-") == 0
    told = capsys.readouterr()
    ring = read_keyring(told.out.encode())
    assert ring.keys[0].kid in told.err
    assert '"d"' not in told.err
    assert not path.exists()


def test_the_keys_go_to_another_file_also_when_nothing_was_due(path: Path, tmp_path: Path) -> None:
    run()
    path.chmod(0o400)
    other = tmp_path / "other.json"
    assert run("--output", str(other)) == 0
    assert other.read_bytes() == path.read_bytes()
    assert stat.S_IMODE(other.stat().st_mode) == 0o600


def test_a_file_that_is_no_keyring_is_left_alone(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text("{}")
    path.chmod(0o600)
    assert run() == 2
    assert capsys.readouterr().err.startswith("TIDINGS_SIGNING_KEYS_FILE: ")
    assert path.read_text() == "{}"


def test_a_refusal_is_one_line_and_an_exit_code(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = int(time.time())
    ring = Keyring((new_key(now, active_from=now - 2 * DAY), new_key(now)))
    path.write_text(ring.document())
    path.chmod(0o600)
    monkeypatch.setenv("TIDINGS_SIGNING_ROTATE_DAYS", "1")
    assert run() == 1
    assert capsys.readouterr().err.startswith("nothing was changed: ")
    assert path.read_text() == ring.document()


def test_an_output_that_cannot_be_written_is_one_line(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--output", str(tmp_path / "none" / "keys.json")) == 1
    assert capsys.readouterr().err == (
        f"{tmp_path}/none/keys.json cannot be written (No such file or directory); --output writes elsewhere\n"
    )


def test_the_help_says_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("--help")
    told = " ".join(capsys.readouterr().out.split())
    assert "TIDINGS_SIGNING_ROTATE_DAYS" in told
    assert "PRIVATE KEYS" in told


def test_a_folder_is_refused_as_output_and_keeps_no_key_beside_it(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    before = set(tmp_path.iterdir())
    assert run("--output", str(folder)) == 1
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_a_file_that_an_editor_saved_is_read(path: Path, mark: bytes, line_end: bytes) -> None:
    ring = new_keyring(NOW)
    document = mark + ring.document().encode().replace(b"\n", line_end)
    assert [key.kid for key in read_keyring(document).keys] == [key.kid for key in ring.keys]


def test_a_file_of_another_encoding_is_named() -> None:
    with pytest.raises(ValueError, match="it is UTF-16; save it as UTF-8"):
        read_keyring(new_keyring(NOW).document().encode("utf-16"))
