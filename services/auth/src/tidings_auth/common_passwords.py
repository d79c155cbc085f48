"""The most common passwords, which everybody who guesses tries first: 11,611 of 8 or more characters, from zxcvbn."""

import importlib.util
from functools import cache
from pathlib import Path

from tidings_auth.usernames import folded

SHORTEST = 8


def is_common(password: str) -> bool:
    """Tell whether this is one of them, whatever its case and width."""
    return folded(password) in _common()


@cache
def _common() -> frozenset[str]:
    """Read the list once; takes some 100 ms, so something calls this early, where nobody waits for it.

    The package's own import would keep its lists of words and names in memory for good.
    """
    package = importlib.util.find_spec("zxcvbn")
    assert package
    assert package.submodule_search_locations
    path = Path(package.submodule_search_locations[0]) / "frequency_lists.py"
    spec = importlib.util.spec_from_file_location("frequency_lists", path)
    assert spec
    assert spec.loader
    lists = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lists)
    return frozenset(folded(entry) for entry in lists.FREQUENCY_LISTS["passwords"] if len(entry) >= SHORTEST)
