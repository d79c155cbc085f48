"""The API documents of the three services, without a running service."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tidings_local.backends import Backends
from tidings_local.services import build_services

NAMES = ("auth", "messages", "logs")
NOWHERE = Backends("sqlite+aiosqlite:///{}.db".format, "redis://nowhere", "nowhere:9092", "nothing that is asked")

Operation = dict[str, Any]


def api_documents(folder: Path) -> dict[str, dict[str, Any]]:
    """Return each service's document; `folder` keeps the secrets that the services need to be built."""
    services = build_services(NOWHERE, folder, "http://127.0.0.1:9")
    return {name: app.openapi() for name, app in services.apps.items()}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    """Return method, path and description of every operation."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation
