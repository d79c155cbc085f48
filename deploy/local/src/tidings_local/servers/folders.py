"""The launcher's folders: where downloads are kept between runs."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    """The folder for downloads and builds, outside the checkout; it may not exist yet.

    It follows the XDG Base Directory Specification, which says to ignore a relative path.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "tidings"


def cached(name: str, make: Callable[[Path], Path]) -> Path:
    """Return the cache's folder `name`, made on first use, whole or not at all.

    Args:
        name: says what is in the folder, with its version.
        make: is given an empty folder, and returns the folder in it that is kept.
    """
    kept = cache_folder() / name
    if not kept.is_dir():
        cache_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=f"{name}-") as unfinished:
            made = make(Path(unfinished))
            try:
                made.rename(kept)
            except OSError:
                if not kept.is_dir():  # otherwise another process was faster, and its folder is as good
                    raise
    return kept
