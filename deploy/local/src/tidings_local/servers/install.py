"""The launcher's installer: brings what is missing, on a Debian machine and as root."""

import os
from collections.abc import Sequence

from tidings_local.servers.command import run
from tidings_local.servers.errors import ServerFailed, ServerMissing
from tidings_local.servers.kafka_jars import fetch_jars
from tidings_local.servers.programs import find, missing, packages_for

# The packages whose installation starts a service of the machine, and that service's name.
_SERVICES = {"mariadb-server": "mariadb", "redis-server": "redis-server"}


def install_missing() -> None:
    """Install the missing servers and fetch Kafka's files; nothing happens if all is there.

    Only root on a machine with apt-get can do it. No service of the machine is left running.

    Raises:
        ServerMissing: this is another machine or user; the text is one line naming what to install.
        ServerFailed: the installation or the download failed.
    """
    packages = sorted({package for server in missing() for package in packages_for(server)})
    if packages:
        _check_possible(packages)
        _install(packages)
    fetch_jars()


def _check_possible(packages: Sequence[str]) -> None:
    if os.geteuid() != 0 or find("apt-get") is None:
        servers = ", ".join(missing())
        raise ServerMissing(f"not installed: {servers}; run apt-get install {' '.join(packages)}")


def _install(packages: Sequence[str]) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120"]
    run("apt-get update", [*apt, "update"], environment=environment)
    install = [*apt, "install", "--no-install-recommends", *packages]
    run(f"apt-get install {' '.join(packages)}", install, environment=environment)
    for package in packages:
        if package in _SERVICES:
            _silence(_SERVICES[package])


def _silence(service: str) -> None:
    # The package starts its service now and at every boot; the launcher runs its own instead.
    for command in (["service", service, "stop"], ["update-rc.d", service, "disable"]):
        try:
            run(" ".join(command), command)
        except ServerFailed:
            # A machine without a running service manager has started nothing.
            continue
