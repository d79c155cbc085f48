"""The clients of docs/clients.md: the programs on that page run as they stand."""

import contextlib
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.client import Person
from support.system import System, embedded_system

PAGE = (Path(__file__).parents[2] / "docs" / "clients.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """What `make run` runs: the cookie of a real deployment needs HTTPS."""
    with embedded_system(tmp_path_factory.mktemp("clients"), {}) as system:
        yield system


@pytest.fixture
def url(running: System) -> str:
    return running.processes["all"].url


def program(language: str) -> str:
    """The one program of a language on the page."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(text)


def test_curl_with_a_cookie_jar_signs_in_refreshes_and_signs_out(url: str, tmp_path: Path) -> None:
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", program("sh") + '\necho; echo "TOKEN=$TOKEN"'],
        env={"URL": url, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert '"message":"hello"' in ran.stdout
    token = ran.stdout.rsplit("TOKEN=", 1)[1].strip()
    assert httpx.get(f"{url}/api/me", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def python_program(folder: Path) -> Path:
    path = folder / "client.py"
    path.write_text(program("python"), encoding="utf-8")
    return path


def registered(url: str) -> str:
    """Make an account with the password that the page uses."""
    with httpx.Client(base_url=url) as http:
        name = Person(http).username + "-too"
        body = {"username": name, "password": "correct horse battery"}
        assert http.post("/api/register", json=body).status_code == 201
    return name


def test_the_python_program_runs_as_it_stands(url: str, tmp_path: Path) -> None:
    name = registered(url)
    ran = subprocess.run(
        [sys.executable, python_program(tmp_path)],
        env={"URL": url, "NAME": name},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert name in ran.stdout


def test_the_python_client_goes_on_when_its_token_is_refused_and_stops_when_its_session_is_over(
    url: str, tmp_path: Path
) -> None:
    name = registered(url)
    tidings: Any = runpy.run_path(str(python_program(tmp_path)))["Tidings"](url, name, "correct horse battery")
    with contextlib.closing(tidings._http):
        for _ in range(2):
            tidings._http.headers["Authorization"] = "Bearer expired"
            assert tidings.call("GET", "/api/me").json()["username"] == name
        assert tidings.call("POST", "/api/logout").status_code == 204
        with pytest.raises(httpx.HTTPStatusError, match="401"):
            tidings.call("GET", "/api/me")
