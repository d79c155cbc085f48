"""The keys file: made for this user only, replaced whole, read again when it changes, and never half believed."""

import logging
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tidings.settings import SettingsError
from tidings_auth import key_file
from tidings_auth.key_file import SigningKeys
from tidings_auth.keyring import Keyring, new_key, new_keyring
from tidings_auth.settings import SigningSettings


def now() -> int:
    return int(time.time())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def opened(path: Path, *, generate: bool = False) -> SigningKeys:
    return SigningKeys(SigningSettings(keys_file=path, generate=generate))


def kids(keys: SigningKeys) -> list[str]:
    return [key.kid for key in keys.ring.keys]


def test_a_file_that_is_made_is_for_this_user_only_and_is_kept(path: Path) -> None:
    first = opened(path, generate=True)
    assert len(first.ring.keys) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    content = path.read_bytes()
    assert kids(opened(path, generate=True)) == kids(first)
    assert path.read_bytes() == content
    assert [file.name for file in path.parent.iterdir()] == ["keys.json"]


@pytest.mark.parametrize("generate", [False, True])
def test_a_file_without_usable_keys_is_refused_by_its_variable_and_left_alone(path: Path, generate: bool) -> None:
    path.write_bytes(b"-----BEGIN PRIVATE KEY-----")
    path.chmod(0o600)
    with pytest.raises(SettingsError, match=r"^TIDINGS_SIGNING_KEYS_FILE: ") as caught:
        opened(path, generate=generate)
    assert str(path) in str(caught.value)
    assert "`python -m tidings_auth rotate-keys`" in str(caught.value)
    assert path.read_bytes() == b"-----BEGIN PRIVATE KEY-----"


def test_a_file_that_is_not_there_is_refused_and_not_made(path: Path) -> None:
    with pytest.raises(SettingsError, match=r"TIDINGS_SIGNING_KEYS_FILE: .*No such file"):
        opened(path)
    assert not path.exists()


@pytest.mark.parametrize("generate", [False, True])
def test_a_folder_that_is_not_there_is_refused_and_not_made(tmp_path: Path, generate: bool) -> None:
    with pytest.raises(SettingsError, match=r"TIDINGS_SIGNING_KEYS_FILE: .*No such file"):
        opened(tmp_path / "none" / "keys.json", generate=generate)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o601, 0o660, 0o620])
def test_a_file_that_others_may_read_or_write_is_refused_with_what_mends_it(path: Path, mode: int) -> None:
    key_file.write(path, new_keyring(now()))
    path.chmod(mode)
    with pytest.raises(SettingsError, match=f"TIDINGS_SIGNING_KEYS_FILE: .*chmod 600 {path}"):
        opened(path)


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600, 0o640])
def test_a_file_that_its_group_may_read_is_taken_as_kubernetes_mounts_it(path: Path, mode: int) -> None:
    key_file.write(path, new_keyring(now()))
    path.chmod(mode)
    opened(path)


def test_keys_without_an_active_one_are_refused(path: Path) -> None:
    key_file.write(path, Keyring((new_key(now()), new_key(now(), active_from=now() + 60))))
    with pytest.raises(SettingsError, match=r"TIDINGS_SIGNING_KEYS_FILE: .*no key in it is active"):
        opened(path)


def test_a_new_file_is_taken_without_a_restart(path: Path) -> None:
    keys = opened(path, generate=True)
    before = kids(keys)
    keys.look()
    assert kids(keys) == before
    key_file.write(path, new_keyring(now()))
    keys.look()
    assert not set(kids(keys)) & set(before)


def test_a_secret_that_kubernetes_swaps_is_taken(tmp_path: Path) -> None:
    """Kubernetes mounts `keys.json -> ..data/keys.json`, and replaces the link `..data -> ..time`."""
    rings = [new_keyring(now()) for _ in range(2)]
    for name, ring in zip(("..one", "..two"), rings, strict=True):
        (tmp_path / name).mkdir()
        key_file.write(tmp_path / name / "keys.json", ring)
    (tmp_path / "..data").symlink_to("..one")
    (tmp_path / "keys.json").symlink_to("..data/keys.json")
    keys = opened(tmp_path / "keys.json")
    (tmp_path / "..new").symlink_to("..two")
    (tmp_path / "..new").rename(tmp_path / "..data")
    keys.look()
    assert kids(keys) == [key.kid for key in rings[1].keys]


def open_to_others(path: Path) -> None:
    key_file.write(path, new_keyring(now()))
    path.chmod(0o644)


HARMS: dict[str, Callable[[Path], object]] = {
    "half": lambda path: path.write_bytes(path.read_bytes()[:300]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "open to others": open_to_others,
    "nothing active": lambda path: key_file.write(path, Keyring((new_key(now()),))),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
async def test_after_a_reload_that_failed_the_old_keys_hold_and_it_is_said(
    path: Path, harm: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    keys = opened(path, generate=True)
    before = kids(keys)
    await keys.check()
    harm(path)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            keys.look()
    assert len(caplog.records) == 1
    assert "TIDINGS_SIGNING_KEYS_FILE: " in caplog.text
    assert kids(keys) == before
    with pytest.raises(SettingsError, match=r"TIDINGS_SIGNING_KEYS_FILE: .*the keys known before are used"):
        await keys.check()
    key_file.write(path, new_keyring(now()))
    keys.look()
    await keys.check()
    assert not set(kids(keys)) & set(before)


def test_a_file_is_replaced_whole_and_a_reader_keeps_what_it_opened(path: Path) -> None:
    key_file.write(path, new_keyring(now()))
    with path.open() as old:
        content = path.read_text()
        key_file.write(path, new_keyring(now()))
        assert old.read() == content
    assert path.read_text() != content
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_a_crash_left_behind_is_no_hindrance_and_no_way_in(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    (tmp_path / ".keys.json.new").symlink_to(target)
    key_file.write(path, new_keyring(now()))
    assert not target.exists()
    opened(path)


def test_a_folder_that_cannot_be_written_is_named(path: Path) -> None:
    (path.parent / ".keys.json.new").mkdir()  # root is stopped by no mode
    with pytest.raises(SettingsError, match=r"TIDINGS_SIGNING_KEYS_FILE: .*cannot be written"):
        opened(path, generate=True)
