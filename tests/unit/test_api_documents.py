"""The API documents of the three services: each says all that a call takes, answers and refuses, with examples."""

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

import tidings_auth.app
from tidings.http.app import CALLER_ERRORS
from tidings.http.problems import SHARED_ERRORS, Errors, Varying
from tidings_local.backends import Backends
from tidings_local.services import build_services

NAMES = ("auth", "messages", "logs")
NOWHERE = Backends("sqlite+aiosqlite:///{}.db".format, "redis://nowhere", "nowhere:9092", "nothing that is asked")

Operation = dict[str, Any]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    services = build_services(NOWHERE, tmp_path_factory.mktemp("secrets"), "http://127.0.0.1:9")
    return {name: app.openapi() for name, app in services.apps.items()}


@pytest.fixture(params=NAMES)
def document(request: pytest.FixtureRequest, documents: dict[str, dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = documents[request.param]
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, Operation]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def bodies(operation: Operation) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every body that an operation takes or answers, by where it is."""
    for place, holder in {"request": operation.get("requestBody", {}), **operation["responses"]}.items():
        for body in holder.get("content", {}).values():
            yield place, body


def examples(body: dict[str, Any]) -> list[Any]:
    return [body["example"]] if "example" in body else [it["value"] for it in body.get("examples", {}).values()]


def test_each_document_is_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert [str(error) for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_each_operation_says_what_it_does_who_may_call_it_and_what_each_parameter_is(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        assert operation["summary"], name
        assert operation["description"], name
        assert isinstance(operation["security"], list), name
        for parameter in operation.get("parameters", []):
            assert parameter.get("description") or parameter["schema"].get("examples"), (name, parameter["name"])


def test_only_what_may_be_refused_is_documented_as_such(documents: dict[str, dict[str, Any]]) -> None:
    found = dict(operations(documents["auth"]))
    assert {name for name, it in found.items() if "422" not in it["responses"]} == {
        "POST /api/refresh",
        "POST /api/logout",
        "GET /.well-known/jwks.json",
        "GET /api/me",
        "DELETE /api/sessions",
    }


def test_only_the_calls_that_anybody_may_make_need_no_security(documents: dict[str, dict[str, Any]]) -> None:
    by_security = {name: it["security"] for one in documents.values() for name, it in operations(one)}
    cookie: dict[str, list[str]] = {"refresh-cookie": []}
    token: dict[str, list[str]] = {"access-token": []}
    assert {name for name, security in by_security.items() if not security} == {
        "POST /api/register",
        "POST /api/login",
        "GET /.well-known/jwks.json",
    }
    assert by_security["POST /api/refresh"] == [cookie]
    assert by_security["POST /api/logout"] == [cookie, token]
    assert by_security["GET /api/me"] == [token]


def test_every_body_has_an_example_that_its_schema_allows(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for place, body in bodies(operation):
            assert examples(body), (name, place)
            schema = {**body["schema"], "components": document["components"]}
            validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
            for example in examples(body):
                assert [error.message for error in validator.iter_errors(example)] == [], (name, place)


def test_every_refusal_is_a_problem_that_names_its_types(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        refusals = {status: answer for status, answer in operation["responses"].items() if status >= "400"}
        assert set(refusals) >= {"500", "503"}, name
        for status, answer in refusals.items():
            (body,) = answer["content"].values()
            for example in examples(body):
                assert example["status"] == int(status), name
                assert example["type"] in answer["description"], name


def test_who_must_wait_is_told_how_long(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for status in {"429", "503"} & operation["responses"].keys():
            assert operation["responses"][status]["headers"]["Retry-After"]["example"].isdigit(), name


def test_the_calls_that_set_or_clear_the_cookie_say_so(documents: dict[str, dict[str, Any]]) -> None:
    found = dict(operations(documents["auth"]))
    for call, status in (("login", "200"), ("refresh", "200"), ("logout", "200"), ("logout", "204")):
        header = found[f"POST /api/{call}"]["responses"][status]["headers"]["Set-Cookie"]
        assert header["example"].startswith("__Secure-tidings_refresh=")


def types(document: dict[str, Any]) -> set[str]:
    return {
        example["type"].rsplit(":", 1)[1]
        for _, operation in operations(document)
        for place, body in bodies(operation)
        if place >= "400" and place != "request"
        for example in examples(body)
    }


def test_every_error_of_the_table_can_be_met_somewhere(documents: dict[str, dict[str, Any]]) -> None:
    table: Errors = {**SHARED_ERRORS, **CALLER_ERRORS, **tidings_auth.app.ERRORS}
    problems = [it.make(it.example) if isinstance(it, Varying) else it for it in table.values()]
    assert {problem.name for problem in problems} - types(documents["auth"]) == set()
