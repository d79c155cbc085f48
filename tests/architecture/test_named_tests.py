"""The pages' word: each test that a page names exists, and docs/security.md has a row for each requirement of ASVS."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMED = re.compile(r"`(?=[\w/]*test_)(?P<file>(?:[\w/]+/)?test_\w+\.py)?(?:::)?(?P<test>test_\w+)?`")

REQUIRED = {
    # section: last requirement of level 1 or 2, of those that OWASP numbers through; 6.7 is of level 3 altogether
    **{"6.1": 3, "6.2": 12, "6.3": 4, "6.4": 4, "6.5": 5, "6.6": 3, "6.8": 4},
    **{"7.1": 3, "7.2": 4, "7.3": 2, "7.4": 5, "7.5": 2, "7.6": 2},
    **{"9.1": 3, "9.2": 4},
}
ROW = re.compile(r"^\| (\d\.\d)\.(\d+)(?: – \1\.(\d+))? [^|]+ \| [12] \| ([^|]+) \| ([^|]*)\|$", re.MULTILINE)


@pytest.fixture(scope="module")
def tests() -> dict[str, set[str]]:
    """The names of the tests in each file."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return {str(it.relative_to(ROOT)): set(re.findall(r"def (test_\w+)\(", it.read_text())) for it in files}


def missing(page: str, tests: dict[str, set[str]]) -> list[str]:
    """Return what `page` names that is no test, or no file of tests."""
    return [match[0] for match in NAMED.finditer(page) if not any(_is_in(it, match) for it in tests.items())]


def _is_in(tests: tuple[str, set[str]], named: re.Match[str]) -> bool:
    file, names = tests
    return (not named["file"] or f"/{file}".endswith(f"/{named['file']}")) and (
        not named["test"] or named["test"] in names
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_test_that_a_page_names_exists(page: Path, tests: dict[str, set[str]]) -> None:
    assert missing(page.read_text(encoding="utf-8"), tests) == []


@pytest.mark.parametrize(
    "name", ["test_none.py", "test_none", "test_named_tests.py::test_none", "tests/unit/test_named_tests.py"]
)
def test_a_name_that_is_no_test_is_found(name: str, tests: dict[str, set[str]]) -> None:
    assert missing(f"see `{name}`", tests) == [f"`{name}`"]


def test_each_requirement_has_a_row_and_each_that_is_met_a_test() -> None:
    rows = ROW.findall((ROOT / "docs" / "security.md").read_text(encoding="utf-8"))
    found = [
        f"{section}.{number}"
        for section, first, last, *_ in rows
        for number in range(int(first), int(last or first) + 1)
    ]
    assert found == [f"{section}.{number}" for section, last in REQUIRED.items() for number in range(1, last + 1)]
    for section, first, _, how, named in rows:
        has_none = how.startswith(("not covered", "does not apply", "by absence"))
        assert has_none is not bool(named.strip()), f"{section}.{first}"
