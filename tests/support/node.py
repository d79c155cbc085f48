"""Node.js and the packages of tests/clients, for the tests that compile and run TypeScript."""

import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from support.servers import INSIST, require
from tidings_local.servers import ServerFailed
from tidings_local.servers.command import run
from tidings_local.servers.folders import cached

CLIENTS = Path(__file__).parents[1] / "clients"
LOCK = ("package.json", "package-lock.json", ".npmrc")


def node_packages() -> Path:
    """Return the folder `node_modules` of what the lock names; fetched on first use, then kept in the cache."""
    require("Node.js")
    version = sha256(b"".join((CLIENTS / name).read_bytes() for name in LOCK)).hexdigest()[:16]
    try:
        return cached(f"node-packages-{version}", _install) / "node_modules"
    except ServerFailed as error:
        if INSIST:
            raise
        pytest.skip(f"the Node.js packages cannot be fetched: {str(error).splitlines()[0]}")


def _install(folder: Path) -> Path:
    packages = folder / "packages"
    packages.mkdir()
    for name in LOCK:
        shutil.copy(CLIENTS / name, packages / name)
    run("npm ci", ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], packages)
    return packages
