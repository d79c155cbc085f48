"""The launcher's folders: where downloads are kept between runs."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """The folder for downloads and builds, outside the checkout; it may not exist yet.

    It follows the XDG Base Directory Specification, which says to ignore a relative path.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "tidings"
