"""The API documents of the three services: each says all that a call takes, answers and refuses, with examples."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

import tidings.http.docs
import tidings_auth.app
from support.documents import NAMES, Operation, api_documents, documented_problems, problems_of
from support.documents import operations as described
from tidings.http.app import CALLER_ERRORS
from tidings.http.problems import SHARED_ERRORS, Errors, Varying

OPERATION_IDS = {
    "register",
    "login",
    "refresh",
    "logout",
    "getKeys",
    "getMe",
    "changePassword",
    "deleteMe",
    "listSessions",
    "endSession",
    "endOtherSessions",
    "listUsers",
    "changeUser",
    "postMessage",
    "listMessages",
    "listLogs",
    "liveness",
    "readiness",
}
"""Generated clients call their functions by these names: another name here breaks the code of their users."""


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return api_documents(tmp_path_factory.mktemp("secrets"))


@pytest.fixture(params=NAMES)
def document(request: pytest.FixtureRequest, documents: dict[str, dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = documents[request.param]
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, Operation]]:
    return ((f"{method} {path}", operation) for method, path, operation in described(document))


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
            assert parameter["description"], (name, parameter["name"])
            assert parameter["schema"].get("examples") or parameter.get("examples"), (name, parameter["name"])


def test_operation_ids_are_short_and_frozen(documents: dict[str, dict[str, Any]]) -> None:
    ids = {name: [it["operationId"] for _, it in operations(document)] for name, document in documents.items()}
    assert set().union(*ids.values()) == OPERATION_IDS
    assert all(len(set(of_one)) == len(of_one) for of_one in ids.values())


def test_health_is_documented_with_both_answers(document: dict[str, Any]) -> None:
    for path, name, schema in (("live", "liveness", "Liveness"), ("ready", "readiness", "Readiness")):
        operation = document["paths"][f"/health/{path}"]["get"]
        assert (operation["operationId"], operation["tags"]) == (name, ["health"])
        assert {"access-token": []} in operation["security"]
        assert {} in operation["security"]
        assert operation["servers"][0]["url"] == "/"  # not the public origin: a gateway does not lead there
        for status, usable in (("200", True), ("503", False)):
            body = operation["responses"][status]["content"]["application/json"]
            assert body["schema"] == {"$ref": f"#/components/schemas/{schema}"}
            assert body["example"][path] is usable


def test_operations_of_health_are_the_only_ones_with_another_server(document: dict[str, Any]) -> None:
    assert {operation["operationId"] for _, operation in operations(document) if "servers" in operation} == {
        "liveness",
        "readiness",
    }


def test_no_parameter_is_documented_as_null(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for parameter in operation.get("parameters", []):
            assert isinstance(parameter["schema"]["type"], str), (name, parameter["name"])


def test_every_parameter_example_is_allowed_by_its_schema(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        for parameter in operation.get("parameters", []):
            for example in parameter["schema"].get("examples", []):
                assert Draft202012Validator(parameter["schema"]).is_valid(example), (name, parameter["name"])


def test_an_answer_of_ours_always_has_its_constant_members(documents: dict[str, dict[str, Any]]) -> None:
    schemas = documents["auth"]["components"]["schemas"]
    assert set(schemas["AccessToken"]["required"]) == set(schemas["AccessToken"]["properties"])
    assert schemas["SignedOut"]["required"] == ["status"]


def test_only_what_may_be_refused_is_documented_as_such(documents: dict[str, dict[str, Any]]) -> None:
    found = dict(operations(documents["auth"]))
    assert {name for name, it in found.items() if "422" not in it["responses"]} == {
        "POST /api/refresh",
        "POST /api/logout",
        "GET /.well-known/jwks.json",
        "GET /api/me",
        "DELETE /api/sessions",
        "GET /health/live",
        "GET /health/ready",
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
            for example in examples(answer["content"]["application/problem+json"]):
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
    return {type_.rsplit(":", 1)[1] for _, type_ in documented_problems(document)}


def test_every_error_of_the_table_can_be_met_somewhere(documents: dict[str, dict[str, Any]]) -> None:
    table: Errors = {**SHARED_ERRORS, **CALLER_ERRORS, **tidings.http.docs.ERRORS, **tidings_auth.app.ERRORS}
    problems = [it.make(it.example) if isinstance(it, Varying) else it for it in table.values()]
    assert {problem.name for problem in problems} - types(documents["auth"]) == set()


def problems_in_source() -> set[tuple[int, str]]:
    """Return status and name of each problem in the source code of auth and of the HTTP modules."""
    folders = [Path(str(module.__file__)).parent for module in (tidings.http.docs, tidings_auth.app)]
    trees = [ast.parse(file.read_text()) for folder in folders for file in folder.rglob("*.py")]
    found = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        match node:
            case ast.Call(
                func=ast.Name(id="Problem"),
                args=[ast.Constant(value=int(status)), ast.Constant(value=str(name)), *_],
            ):
                found.add((status, name))
    return found


def test_every_problem_of_the_source_is_documented(documents: dict[str, dict[str, Any]]) -> None:
    found = {(status, f"urn:tidings:problem:{name}") for status, name in problems_in_source()}
    assert len(found) > 30
    assert found - documented_problems(documents["auth"]) == set()


def test_problems_of_no_operation_are_described(document: dict[str, Any]) -> None:
    for name in ("NotFound", "MethodNotAllowed", "MethodNotImplemented", "MalformedRange", "RangeNotSatisfiable"):
        ((status, type_),) = problems_of(document["components"]["responses"][name])
        assert f"| {status} | `{type_}` |" in document["info"]["description"]


def test_shared_answers_have_examples_that_their_schema_allows(document: dict[str, Any]) -> None:
    schema = {"$ref": "#/components/schemas/ProblemDetails", "components": document["components"]}
    for name, answer in document["components"]["responses"].items():
        (body,) = answer["content"].values()
        for example in examples(body):
            assert Draft202012Validator(schema).is_valid(example), name
            assert example["type"] in answer["description"], name


def test_every_reference_to_an_answer_resolves(document: dict[str, Any]) -> None:
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    references = {it["$ref"] for one in operations for it in one["responses"].values() if "$ref" in it}
    assert {"#/components/responses/RequestTimeout"} <= references
    assert references <= {f"#/components/responses/{name}" for name in document["components"]["responses"]}
