"""The data folder: one process at a time, and secrets for this user only."""

import stat
from pathlib import Path

import pytest

from tidings.settings import SettingsError
from tidings_local.folder import data_folder, kept_secret


def test_the_folder_is_made_for_this_user_only(tmp_path: Path) -> None:
    with data_folder(tmp_path / "a" / "var") as folder:
        assert folder == (tmp_path / "a" / "var").resolve()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_in_use_is_refused_and_free_again_afterwards(tmp_path: Path) -> None:
    with (
        data_folder(tmp_path),
        pytest.raises(SettingsError, match="DATA: another Tidings is running"),
        data_folder(tmp_path),
    ):
        raise AssertionError("two processes use one folder")
    with data_folder(tmp_path):
        pass


def test_a_folder_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), data_folder(tmp_path):
        raise RuntimeError
    with data_folder(tmp_path):
        pass


def test_a_folder_of_endless_links_is_refused_by_its_variable(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(SettingsError, match="DATA: it is a symbolic link that leads back to itself"):
        data_folder(tmp_path / "link").__enter__()


def test_a_path_that_is_no_folder_is_refused_by_its_variable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SettingsError, match=r"DATA: .* cannot be written"), data_folder(path):
            raise AssertionError("a file was taken for a folder")


def test_a_secret_is_made_once_for_this_user_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "key"
    secret = kept_secret(path)
    assert len(secret) >= 32
    assert kept_secret(path) == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_no_two_secrets_are_the_same(tmp_path: Path) -> None:
    assert kept_secret(tmp_path / "one") != kept_secret(tmp_path / "two")


def test_a_secret_that_a_killed_process_half_wrote_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "key.new").write_text("half")
    secret = kept_secret(tmp_path / "key")
    assert len(secret) >= 32
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
    assert kept_secret(tmp_path / "key") == secret


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%20b", "a\nb", "a\x7fb", "a\udcffb"], ids=ascii)
def test_folder_that_no_address_can_name_is_refused_before_it_is_made(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="DATA: has a "):
        data_folder(tmp_path / name).__enter__()
    assert list(tmp_path.iterdir()) == []
