"""Output: one module writes it, and every command line begins by preparing the streams that it goes to."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for place in ("shared", "services", "deploy") for path in (ROOT / place).rglob("src/**/*.py"))
MAINS = [path for path in SOURCES if path.name == "__main__.py"]
WRITERS = {
    "shared/src/tidings/terminal.py",
    "shared/src/tidings/signals.py",  # in a signal's handler
    "shared/src/tidings/telemetry/logs.py",  # which gives the stream to logging
}


def writes(source: str) -> bool:
    """Return whether a module prints, or writes to a standard stream by itself."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and node.id == "print":
            return True
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr"):
            return True
    return False


@pytest.mark.parametrize("source", ["print('x')", "import sys\nsys.stderr.write('x')", "f(sys.stdout)"])
def test_a_module_that_writes_is_found(source: str) -> None:
    assert writes(source)


def test_no_other_module_writes_output() -> None:
    assert {str(path.relative_to(ROOT)) for path in SOURCES if writes(path.read_text(encoding="utf-8"))} == WRITERS


@pytest.mark.parametrize("path", MAINS, ids=lambda path: path.parent.name)
def test_a_command_line_prepares_its_streams_before_it_imports(path: Path) -> None:
    """What is imported at the top takes no time, and nothing but `run_command` runs `main`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports}
    assert names <= {"argparse", "tidings.signals", "tidings.terminal"}
    assert ast.unparse(tree.body[-1]).splitlines()[1:] == ["    run_command(main)"]


def test_every_member_has_its_command_line_checked() -> None:
    members = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]["workspace"]["members"]
    assert {str(path.relative_to(ROOT)).split("/src/")[0] for path in MAINS} == set(members)


def test_no_member_is_excused_from_the_ban_on_print() -> None:
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    excused = {place for place, codes in ruff["per-file-ignores"].items() if "T20" in codes}
    assert all(place.startswith(("benchmarks/", "tests/")) for place in excused)
