"""Each member of the workspace is installed by itself and imported: a shared environment hides undeclared imports."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")
MEMBERS = {
    "shared[service]": "tidings",
    "services/auth": "tidings_auth",
    "services/messages": "tidings_messages",
    "services/log-consumer": "tidings_log_consumer",
    "deploy/local": "tidings_local",
}
EVERY_MODULE = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if "migrations" not in module.name:
        importlib.import_module(module.name)
"""


def install(folder: Path, *members: str) -> Path:
    """Make an environment with `members` and what they declare, pinned by the lock; return its Python."""
    python = folder / "bin" / "python"
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    subprocess.run(
        [UV, "pip", "install", "--quiet", "--python", python, "--constraint", ROOT / "requirements.lock", *members],
        check=True,
        cwd=ROOT,
    )
    return python


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_alone_imports_every_module_it_has(member: str, tmp_path: Path) -> None:
    python = install(tmp_path / "env", f"./{member}")
    subprocess.run([python, "-c", EVERY_MODULE, MEMBERS[member]], check=True, cwd=tmp_path)


@pytest.mark.parametrize("member", ["services/auth", "services/messages", "services/log-consumer"])
def test_a_wheel_carries_its_migrations(member: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / member, source, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([UV, "build", "--quiet", "--wheel", "--out-dir", tmp_path / "dist", source], check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    listing = subprocess.run(
        [sys.executable, "-m", "zipfile", "-l", wheel], check=True, capture_output=True, text=True
    ).stdout
    assert f"{MEMBERS[member]}/migrations/env.py" in listing
    assert f"{MEMBERS[member]}/migrations/versions/0001_" in listing


def test_the_core_needs_pydantic_and_nothing_else(tmp_path: Path) -> None:
    python = install(tmp_path / "env", "./shared")
    subprocess.run([python, "-c", "import tidings.events, tidings.contracts.asyncapi"], check=True, cwd=tmp_path)
    listed = subprocess.run(
        [UV, "pip", "list", "--quiet", "--python", python, "--format", "freeze"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    names = {line.split("==")[0].split(" ")[0] for line in listed.splitlines()}
    assert names <= {
        "tidings",
        "pydantic",
        "pydantic-core",
        "annotated-types",
        "typing-extensions",
        "typing-inspection",
    }


def test_the_producers_extra_brings_no_server_and_no_sdk(tmp_path: Path) -> None:
    python = install(tmp_path / "env", "./shared[kafka]")
    for module in ("tidings.kafka.publisher", "tidings.kafka.activity", "tidings.kafka.consumer"):
        subprocess.run([python, "-c", f"import {module}"], check=True, cwd=tmp_path)


def test_every_member_is_in_the_workspace_and_in_the_tests_of_it() -> None:
    workspace = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]
    assert {member.split("[")[0] for member in MEMBERS} == set(workspace)


def test_the_lock_names_no_registry() -> None:
    assert "://" not in (ROOT / "requirements.lock").read_text()
