"""The cache's folders: made once, whole or not at all."""

from pathlib import Path

import pytest

from tidings_local.servers.folders import cache_folder, cached


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def make(folder: Path) -> Path:
    (folder / "kept").mkdir()
    (folder / "kept" / "file").write_text("whole")
    (folder / "rest").write_text("not kept")
    return folder / "kept"


def never(_: Path) -> Path:
    raise AssertionError("it is there already")


def test_cached_folder_is_made_once_and_found_again() -> None:
    kept = cached("things-1", make)
    assert kept == cache_folder() / "things-1"
    assert [file.name for file in kept.iterdir()] == ["file"]
    assert cached("things-1", never) == kept
    assert list(cache_folder().iterdir()) == [kept]


def test_cached_folder_that_failed_leaves_nothing() -> None:
    def fail(folder: Path) -> Path:
        make(folder)
        raise OSError("no network")

    with pytest.raises(OSError, match="no network"):
        cached("things-1", fail)
    assert list(cache_folder().iterdir()) == []


def test_cached_folder_of_a_faster_process_is_used() -> None:
    def slower(folder: Path) -> Path:
        cached("things-1", make)
        return make(folder)

    assert (cached("things-1", slower) / "file").read_text() == "whole"
    assert [entry.name for entry in cache_folder().iterdir()] == ["things-1"]


def test_cached_folder_needs_what_it_is_made_of() -> None:
    with pytest.raises(FileNotFoundError):
        cached("things-1", lambda folder: folder / "missing")
