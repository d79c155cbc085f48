"""Home: the page that says what runs here, the docs over all services, and the health of all of them."""

import html
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from starlette.middleware import Middleware

from tidings.http import docs, problems
from tidings.http.app import trace_requests
from tidings.http.bearer import Credentials, is_admin
from tidings.http.docs import Document, docs_router, revalidated
from tidings.http.empty_answers import Head, NotModified
from tidings.http.event_docs import event_docs_router
from tidings.http.headers import ReadableHeaders
from tidings.http.health import Liveness, Readiness, recent_readiness
from tidings.http.middleware import Identity, SecurityHeaders, UnexpectedErrors
from tidings.settings import Settings, load
from tidings.telemetry.setup import Telemetry

SERVICE = "tidings-local"
TELEMETRY_DEADLINE = 1.0
NAMES = ("auth", "messages", "logs")
PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'"

States = Callable[[], Mapping[str, Mapping[str, Any]]]


def create_home(described: str, states: States) -> FastAPI:
    """Return the application of every path that no service owns.

    Args:
        described: what the backends are, for people.
        states: gives the services' states once they run.
    """

    telemetry = Telemetry(SERVICE, load(Settings))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await telemetry.shutdown(TELEMETRY_DEADLINE)

    app = ReadableHeaders(
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
        middleware=[
            Middleware(Identity, service=SERVICE),
            Middleware(SecurityHeaders),
            Middleware(Head),
            Middleware(NotModified),
            Middleware(UnexpectedErrors),
        ],
    )
    problems.install(app, docs.ERRORS)
    page = (Path(__file__).parent / "home.html").read_text(encoding="utf-8")
    page = page.replace("__BACKENDS__", html.escape(described))

    @app.get("/")
    async def home() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": PAGE_POLICY, **revalidated(page)})

    async def sees_reasons(request: Request, credentials: Credentials) -> bool:
        request.state.verifier = states()["auth"]["verifier"]
        return await is_admin(request, credentials)

    @app.get("/health/live", response_model_exclude_unset=True)
    async def live(response: Response, sees_reasons: Annotated[bool, Depends(sees_reasons)]) -> Liveness:
        died = [loop for name in NAMES for loop in states()[name]["health"].died]
        response.status_code = 503 if died else 200
        result = Liveness(live=not died, died=died)
        return result if sees_reasons else result.without_reasons()

    @app.get("/health/ready", response_model_exclude_unset=True)
    async def ready(response: Response, sees_reasons: Annotated[bool, Depends(sees_reasons)]) -> Readiness:
        result = Readiness.of_all({name: await recent_readiness(states()[name]["health"]) for name in NAMES})
        response.status_code = 200 if result.ready else 503
        return result if sees_reasons else result.without_reasons()

    app.include_router(docs_router([Document(name, f"/openapi/{name}.json") for name in NAMES]))
    app.include_router(event_docs_router())
    trace_requests(app, telemetry)
    return app
