"""The API documents of the three services, without a running service."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tidings_local.backends import Backends
from tidings_local.services import build_services

NAMES = ("auth", "messages", "logs")
NOWHERE = Backends("sqlite+aiosqlite:///{}.db".format, "redis://nowhere", "nowhere:9092", "nothing that is asked")

RESPONSES = "#/components/responses/"

Operation = dict[str, Any]


def api_documents(folder: Path) -> dict[str, dict[str, Any]]:
    """Return each service's document; `folder` keeps the secrets that the services need to be built."""
    services = build_services(NOWHERE, folder, "http://127.0.0.1:9")
    return {name: app.openapi() for name, app in services.apps.items()}


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, Operation]]:
    """Return method, path and description of every operation, with the responses themselves instead of references."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            responses = {status: _response(document, it) for status, it in operation["responses"].items()}
            yield method.upper(), path, {**operation, "responses": responses}


def _response(document: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in response:
        return response
    found: dict[str, Any] = document["components"]["responses"][response["$ref"].removeprefix(RESPONSES)]
    return found


def problems_of(response: dict[str, Any]) -> set[tuple[int, str]]:
    """Return status and type of each problem that a response documents."""
    examples = response.get("content", {}).get("application/problem+json", {}).get("examples", {})
    return {(example["value"]["status"], example["value"]["type"]) for example in examples.values()}


def documented_problems(document: dict[str, Any]) -> set[tuple[int, str]]:
    """Return status and type of each problem that the document names, of its operations and of none."""
    of_operations = (it for _, _, operation in operations(document) for it in operation["responses"].values())
    responses = [*of_operations, *document["components"]["responses"].values()]
    return {problem for response in responses for problem in problems_of(response)}
