"""The app factory: a service's routes, inside what every Tidings service has."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from starlette.middleware import Middleware

from tidings.admission import Admission
from tidings.http import docs, health, problems
from tidings.http.api_document import Components, api_document
from tidings.http.bearer import AmbiguousCredentials, NotAuthenticated, authenticate
from tidings.http.empty_answers import Head, NotModified
from tidings.http.event_docs import event_docs_router
from tidings.http.middleware import MANAGEMENT, Activity, BodyLimit, Identity, SecurityHeaders, UnexpectedErrors
from tidings.http.overload import MAX_BODY, AdmittingService
from tidings.http.pages import BadCursor
from tidings.http.problems import UNAVAILABLE, Errors, Problem
from tidings.http.remote_keys import KeysUnavailable
from tidings.telemetry.setup import Telemetry

VERSION = "0.1.0"

CALLER_ERRORS: Errors = {
    NotAuthenticated: Problem(401, "not-authenticated", "Sign in first.", {"WWW-Authenticate": "Bearer"}),
    AmbiguousCredentials: Problem(
        400,
        "ambiguous-credentials",
        "The call says twice who is calling; send one access token, and one refresh cookie.",
        {"WWW-Authenticate": 'Bearer error="invalid_request"'},
    ),
    KeysUnavailable: UNAVAILABLE,
    BadCursor: Problem(400, "bad-cursor", "The cursor is not one of this list."),
}

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[Mapping[str, Any]]]


def create_service(
    *,
    name: str,
    summary: str,
    public_url: str | None,
    address_key: str,
    telemetry: Telemetry,
    lifespan: Lifespan,
    routers: Sequence[APIRouter],
    public_routers: Sequence[APIRouter] = (),
    errors: Errors | None = None,
    trusted_hops: int = 0,
    max_requests: int = 40,
    max_body: int = MAX_BODY,
    components: Components | None = None,
) -> FastAPI:
    """Return the application of one service.

    Args:
        name: short name, e.g. `messages`; the document is served as `/openapi/messages.json`.
        summary: one sentence for the API document.
        public_url: the public origin, as `servers` of the document; without it, clients use the origin of the document.
        address_key: keys the hash of client addresses.
        telemetry: the service's own.
        lifespan: opens what the routes use; its state has at least `activity`, `health` and `verifier`.
        routers: routes that need an access token.
        public_routers: routes that anybody may call.
        errors: what the service's own error types mean to a client.
        trusted_hops: how many proxies each request comes through.
        max_requests: how many requests are worked on at once.
        max_body: the largest body that is taken, bytes.
        components: what the settings decide in the API document's components, by their kind and name.
    """
    refused = telemetry.meter.create_counter("tidings.http.refused", description="requests refused because it is busy")
    app = AdmittingService(
        admission=Admission(max_requests, refused),
        max_body=max_body,
        title=f"Tidings {name}",
        summary=summary,
        version=VERSION,
        servers=[{"url": public_url}] if public_url else None,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
        # OpenTelemetry's own instrumentation is on (below); both would make every span twice.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        middleware=[
            Middleware(Identity, service=telemetry.service, trusted_hops=trusted_hops),
            Middleware(SecurityHeaders),
            Middleware(Activity, address_key=address_key),
            Middleware(Head),
            Middleware(NotModified),
            Middleware(UnexpectedErrors),
            Middleware(BodyLimit, max_bytes=max_body),
        ],
    )
    meanings = {**CALLER_ERRORS, **docs.ERRORS, **(errors or {})}
    problems.install(app, meanings)
    for router in public_routers:
        app.include_router(router)
    for router in routers:
        app.include_router(router, dependencies=[Depends(authenticate)])
    app.include_router(health.router)
    _serve_documents(app, name, meanings, components or {})
    trace_requests(app, telemetry)
    return app


def trace_requests(app: FastAPI, telemetry: Telemetry) -> None:
    """Make a span of every request to `app`, except of those that operators poll."""
    FastAPIInstrumentor.instrument_app(
        app,
        tracer_provider=telemetry.tracer_provider,
        meter_provider=telemetry.meter_provider,
        excluded_urls=rf"^\w+://[^/]+{MANAGEMENT.pattern}$",
        exclude_spans=["receive", "send"],
    )


def operation_id(route: APIRoute) -> str:
    """Return the operation's name in the API document: that of the route's function, in camelCase.

    Client generators name their functions after it, so another name breaks the clients' code.
    """
    first, *others = route.name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _serve_documents(app: FastAPI, name: str, errors: Errors, components: Components) -> None:
    """Serve the API document also under the service's own name, and a docs page over it."""
    path = f"/openapi/{name}.json"

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = api_document(app, errors, components)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's documented way to extend the document

    @app.get(path, include_in_schema=False)
    async def named_document() -> dict[str, Any]:
        return document()

    app.include_router(docs.docs_router([docs.Document(name, path)]))
    app.include_router(event_docs_router())
