"""Clients that generators make from the API documents: they compile, have short names, and work."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.documents import NAMES
from support.node import CLIENTS, node_packages
from support.system import System, embedded_system

SECONDS = 120


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with embedded_system(tmp_path_factory.mktemp("generated"), {}) as system:
        yield system


@pytest.fixture(scope="module")
def url(running: System) -> str:
    return running.processes["all"].url


@pytest.fixture(scope="module")
def documents(url: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The three documents, as files."""
    folder = tmp_path_factory.mktemp("documents")
    files = {name: folder / f"{name}.json" for name in NAMES}
    for name, file in files.items():
        file.write_bytes(httpx.get(f"{url}/openapi/{name}.json").raise_for_status().content)
    return files


def run(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it printed; fail with its output when it fails."""
    ran = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | (environment or {}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def check_that_it_worked(printed: str, name: str, language: str) -> None:
    found: dict[str, Any] = json.loads(printed)
    assert found == {
        "author": name,
        "listed": f"안녕하세요 from {language}",
        "pointer": "/message",
        "types": ["message.created"],
    }


def test_typescript_client_compiles_strictly_and_works(url: str, documents: dict[str, Path], tmp_path: Path) -> None:
    packages = node_packages()
    (tmp_path / "node_modules").symlink_to(packages)
    for file in ("client.ts", "tsconfig.json", "package.json"):
        (tmp_path / file).write_bytes((CLIENTS / file).read_bytes())
    for name, document in documents.items():
        run(["node", packages / "openapi-typescript" / "bin" / "cli.js", document, "-o", f"{name}.ts"], tmp_path)
    run(["node", packages / "typescript" / "bin" / "tsc", "--project", "."], tmp_path)
    username = f"typed-{secrets.token_hex(4)}"
    printed = run(["node", "client.js"], tmp_path, {"URL": url, "NAME": username})
    check_that_it_worked(printed, username, "TypeScript")


@pytest.fixture(scope="module")
def generated(documents: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages `auth_client`, `messages_client` and `logs_client`."""
    folder = tmp_path_factory.mktemp("python")
    config = folder / "config.json"
    config.write_text(json.dumps({"post_hooks": []}))  # nobody reads this code, so nothing needs to format it
    generator = [str(Path(sys.executable).parent / "openapi-python-client"), "generate", "--meta", "none"]
    for name, document in documents.items():
        options = ["--config", str(config), "--path", str(document), "--output-path", f"{name}_client"]
        run([*generator, "--fail-on-warning", *options], folder)
    return folder


def test_python_client_works(url: str, generated: Path) -> None:
    username = f"python-{secrets.token_hex(4)}"
    printed = run(
        [sys.executable, CLIENTS / "client.py"],
        generated,
        {"URL": url, "NAME": username, "PYTHONPATH": str(generated)},
    )
    check_that_it_worked(printed, username, "Python")


def test_python_client_functions_have_short_names(generated: Path) -> None:
    modules = {file.stem for file in generated.glob("*_client/api/*/*.py")} - {"__init__"}
    assert {"register", "login", "refresh", "logout", "post_message", "list_messages", "list_logs"} <= modules
    assert max(map(len, modules)) <= 20
