"""The API document: what FastAPI makes of the routes, with every refusal and an example of every body.

A refusal is documented from the table that answers it: what any call may meet, what its input may be refused for, and
what the route, or a dependency of it, says that it `raises`. `documented_problems` says how it is shown.
"""

import contextlib
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts

from tidings.http.documented_problems import answer_or_reference, description, shared_answers
from tidings.http.problems import (
    CODED,
    MALFORMED,
    NOT_JSON,
    REFUSED,
    SHARED_ERRORS,
    TOO_LARGE,
    UNAVAILABLE,
    UNEXPECTED,
    Errors,
    InvalidField,
    Problem,
    ProblemDetails,
    Varying,
)
from tidings.http.refusals import REFUSALS_OF_ANY_CALL

REFERENCE = "#/components/schemas/"

Operation = dict[str, Any]
Components = Mapping[str, Mapping[str, Mapping[str, Any]]]


def api_document(app: FastAPI, errors: Errors, components: Components | None = None) -> dict[str, Any]:
    """Return the OpenAPI document of `app`.

    Args:
        app: has the routes.
        errors: the table of the problems that it answers with.
        components: what the settings decide, such as the shortest password: keywords that are added to a component,
            by its kind and name.

    Raises:
        KeyError: there is no such component.
    """
    made = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=description(),
        routes=app.routes,
        servers=app.servers,
    )
    made.setdefault("components", {})["responses"] = shared_answers()
    schemas = made["components"].setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's own form of 422; ours is a problem
        schemas.pop(unused, None)
    details = ProblemDetails.model_json_schema(ref_template=REFERENCE + "{model}")
    schemas.update(details.pop("$defs"), ProblemDetails=details)
    for kind, by_name in (components or {}).items():
        for name, keywords in by_name.items():
            made["components"][kind][name].update(keywords)
    for path, method, dependant in _documented_routes(app):
        operation = made["paths"][path][method]
        operation.setdefault("security", [])
        operation["responses"].pop("422", None)
        for parameter in operation.get("parameters", []):
            parameter["schema"] = _without_null(parameter["schema"])
        _show_bodies(operation, schemas)
        problems = [*_problems_of_input(operation), *_problems_raised(dependant, {**SHARED_ERRORS, **errors})]
        _show_problems(path, operation, [*problems, UNEXPECTED, UNAVAILABLE, *REFUSALS_OF_ANY_CALL])
    return made


def example_of(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Any:
    """Return an example of what `schema` allows, put together from those of its parts.

    Raises:
        LookupError: a part has none.
    """
    for stated in ("examples", "enum"):
        if stated in schema:
            return schema[stated][0]
    for stated in ("const", "default"):
        if stated in schema:
            return schema[stated]
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].removeprefix(REFERENCE)], schemas)
    if "properties" in schema:
        return {name: example_of(part, schemas) for name, part in schema["properties"].items()}
    if "items" in schema:
        return [example_of(schema["items"], schemas)]
    raise LookupError(f"no example of {schema}")


def _documented_routes(app: FastAPI) -> Iterator[tuple[str, str, Dependant]]:
    for context in iter_route_contexts(app.routes):
        if getattr(context, "include_in_schema", False):
            for method in context.methods or ():
                yield str(context.path_format), method.lower(), context.dependant


def _show_bodies(operation: Operation, schemas: Mapping[str, Any]) -> None:
    for holder in (operation.get("requestBody", {}), *operation["responses"].values()):
        for body in holder.get("content", {}).values():
            with contextlib.suppress(LookupError):
                body.setdefault("example", example_of(body["schema"], schemas))


def _problems_of_input(operation: Operation) -> Iterator[Problem]:
    yield TOO_LARGE  # a GET may have a body, too
    if "requestBody" in operation:
        yield from (MALFORMED, NOT_JSON, CODED)
    if "requestBody" in operation or any(map(_is_limited, operation.get("parameters", []))):
        yield REFUSED


def _without_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter that may be left out: no URL or header can say `null`."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) != 1:
        return dict(schema)
    return {**kinds[0], **{keyword: value for keyword, value in schema.items() if keyword != "anyOf"}}


def _is_limited(parameter: Mapping[str, Any]) -> bool:
    """Return whether there is any text that is refused as this parameter."""
    annotations = {"title", "description", "examples", "default"}
    return {keyword: value for keyword, value in parameter["schema"].items() if keyword not in annotations} != {
        "type": "string"
    }


def _problems_raised(dependant: Dependant, errors: Errors) -> Iterator[Problem]:
    for error in getattr(dependant.call, "raises", ()):
        meaning = errors[error]
        yield meaning.make(meaning.example) if isinstance(meaning, Varying) else meaning
    for dependency in dependant.dependencies:
        yield from _problems_raised(dependency, errors)


def _show_problems(path: str, operation: Operation, problems: list[Problem]) -> None:
    """Add an answer for each status; to an answer of the route's own, add that it may be a problem too."""
    instance = path.format_map({it["name"]: _example_of_parameter(it) for it in operation.get("parameters", [])})
    for status, group in groupby(sorted(problems, key=_status), key=_status):
        distinct = list({problem.name: problem for problem in group}.values())
        answer = answer_or_reference(distinct, instance, _refused_fields(operation))
        own = operation["responses"].get(str(status))
        if own:
            answer["description"] = f"{own['description']}, or {answer['description']}"
            answer["content"] = own["content"] | answer["content"]
        operation["responses"][str(status)] = answer


def _example_of_parameter(parameter: Mapping[str, Any]) -> Any:
    return parameter["schema"].get("examples", [parameter["name"]])[0]


def _status(problem: Problem) -> int:
    return problem.status


def _refused_fields(operation: Operation) -> list[InvalidField]:
    """Return an example of what may be refused."""
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("example")
    if body:
        return [InvalidField(pointer=f"/{next(iter(body))}", detail="Field required")]
    return [InvalidField(pointer=it["name"], detail="Input is not valid") for it in operation.get("parameters", [])[:1]]
