"""Health: is the process alive, and is each thing that it needs there.

Everybody learns whether the service is ready, and which dependency is not. The reasons are for operators: they go to
admins, to the management port when there is one, and to the log when they change.
"""

import asyncio
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field

from tidings.http.bearer import Credentials, is_admin
from tidings.known_secrets import clean

logger = logging.getLogger(__name__)

CHECK_SECONDS = 1.5
SHARED_SECONDS = 0.2
"""For how long the result of an examination is everybody's: anybody may ask, and each examination asks all servers."""

VARYING = re.compile(r"0x[0-9a-f]+|[0-9]+")
"""What differs between two reasons of one kind, e.g. how many seconds ago something was."""


@dataclass
class Check:
    """One dependency."""

    run: Callable[[], Awaitable[object]]
    """Raises when the dependency is not usable."""
    setting: str | None
    """The environment variable to look at when it is not, unless the reason names another."""
    setting_by_error: Mapping[type[Exception], str] = field(default_factory=dict)
    """The variable to look at instead when the check raises one of these errors."""
    only_to_start: bool = False
    """The service goes on without it once it was there: its later absence is shown, but takes no traffic away."""
    only_shown: bool = False
    """It is shown for somebody to look at, and never takes traffic away."""
    as_of: Callable[[], datetime | None] | None = None
    """Gives the time of the last word from it, of a dependency whose news the service lives by."""
    seen: bool = False
    """Whether it was usable since the service started."""
    logged: set[str] = field(default_factory=set)
    """The kinds of reasons that were logged since it was usable last."""


@dataclass
class Health:
    """What is known of a service while it runs."""

    checks: dict[str, Check] = field(default_factory=dict)
    """Each dependency by name."""
    died: list[str] = field(default_factory=list)
    """Background loops that ended of an error that nobody expected; only a new process helps."""
    management_port: int | None = None
    """Everybody who asks at this port learns the reasons."""
    examination: "asyncio.Task[Readiness] | None" = None
    """The last examination of all dependencies, or the one that runs."""
    examined_at: float = -math.inf
    """When the last examination ended, by the monotonic clock."""


class Dependency(BaseModel):
    """How one dependency is; all but `ok` is for operators."""

    ok: bool
    reason: str | None = Field(default=None, examples=["not connected to Kafka at kafka:9092"])
    setting: str | None = Field(default=None, examples=["TIDINGS_KAFKA_BOOTSTRAP_SERVERS"])
    as_of: datetime | None = Field(default=None, description="time of the last word from it (RFC 3339)")


class Liveness(BaseModel):
    """Whether the process should be kept; `died` is for operators."""

    live: bool = Field(examples=[True])
    died: list[str] = Field(default=[], description="background loops that ended of an error that nobody expected")

    def without_reasons(self) -> "Liveness":
        """Return what everybody may know."""
        return Liveness(live=self.live)


class Readiness(BaseModel):
    """Whether the service can do its work; `died` is for operators."""

    ready: bool = Field(examples=[True])
    dependencies: dict[str, Dependency] = Field(examples=[{"database": {"ok": True}}])
    died: list[str] = Field(default=[], description="background loops that ended of an error that nobody expected")
    draining: bool = Field(default=False, description="whether the process is about to end, and asked no dependency")

    @classmethod
    def of_all(cls, services: Mapping[str, "Readiness"]) -> "Readiness":
        """Return the readiness of several services together; each dependency's name begins with that of its service."""
        return cls(
            ready=all(service.ready for service in services.values()),
            dependencies={
                f"{name}/{dependency}": found
                for name, service in services.items()
                for dependency, found in service.dependencies.items()
            },
            died=[loop for service in services.values() for loop in service.died],
        )

    def without_reasons(self) -> "Readiness":
        """Return what everybody may know."""
        return Readiness(
            ready=self.ready,
            dependencies={name: Dependency(ok=found.ok) for name, found in self.dependencies.items()},
        )


async def recent_readiness(health: Health) -> Readiness:
    """Return what the examination that runs will find, or one of a moment ago has found: one runs at a time."""
    current = health.examination
    if current and current.done():
        recent = time.monotonic() - health.examined_at <= SHARED_SECONDS and current.result().died == health.died
        current = current if recent else None
    if current is None:
        current = health.examination = asyncio.create_task(_examine_all(health))
    return await asyncio.shield(current)  # whoever goes away takes it from nobody else


async def _examine_all(health: Health) -> Readiness:
    try:
        return await readiness(health)
    finally:
        health.examined_at = time.monotonic()


async def readiness(health: Health) -> Readiness:
    """Run all checks side by side, each within a deadline."""
    checks = health.checks
    results = await asyncio.gather(*(_examine(name, check) for name, check in checks.items()))
    return Readiness(
        ready=not health.died
        and all(
            result.ok or check.only_shown or (check.only_to_start and check.seen)
            for check, result in zip(checks.values(), results, strict=True)
        ),
        dependencies=dict(zip(checks, results, strict=True)),
        died=health.died,
    )


async def _examine(name: str, check: Check) -> Dependency:
    error = await _trouble(check)
    reason = _reason(error) if error else None
    setting = check.setting_by_error.get(type(error), check.setting) if error else None
    as_of = check.as_of() if check.as_of else None
    _log_change(name, check, reason, setting)
    if reason:
        return Dependency(ok=False, reason=reason, setting=setting, as_of=as_of)
    check.seen = True
    return Dependency(ok=True, reason=None, setting=None, as_of=as_of)


def _log_change(name: str, check: Check, reason: str | None, setting: str | None) -> None:
    """Log a reason of a kind that is new since the dependency was usable, and that it is usable again."""
    if reason is None:
        if check.logged:
            logger.warning("dependency %s is usable again", name)
        check.logged.clear()
        return
    kind = VARYING.sub("0", reason)
    if kind not in check.logged:
        check.logged.add(kind)
        logger.warning("dependency %s is not usable: %s (%s)", name, reason, setting)


async def _trouble(check: Check) -> Exception | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check.run()
    except TimeoutError:
        return TimeoutError(f"no answer within {CHECK_SECONDS} s")
    except Exception as error:
        return error
    return None


def _reason(error: Exception) -> str:
    """Return an error's own words without secrets; of a database error only the driver's, without the statement."""
    return clean(str(getattr(error, "orig", None) or error)) or type(error).__name__


async def sees_reasons(request: Request, credentials: Credentials) -> bool:
    """Return whether the caller may learn reasons: at the management port everybody may, elsewhere admins."""
    port: int | None = request.state.health.management_port
    server = request.scope.get("server")  # the socket's own address, which no header changes
    return (port is not None and server is not None and server[1] == port) or await is_admin(request, credentials)


SeesReasons = Annotated[bool, Depends(sees_reasons)]


OF_THE_SERVICE = {
    "servers": [
        {"url": "/", "description": "the service itself, at its management port if it has one: no gateway leads there"}
    ],
    "security": [{}],  # besides the access token, which is an admin's
}
"""What the API document says of health, but of no other operation."""
DIED = {
    "model": Liveness,
    "description": "A restart is needed",
    "content": {"application/json": {"example": {"live": False}}},
}
NOT_READY = {
    "model": Readiness,
    "description": "A dependency is not usable, a restart is needed, or the process is about to end",
    "content": {"application/json": {"example": {"ready": False, "dependencies": {"database": {"ok": False}}}}},
}

router = APIRouter(prefix="/health", tags=["health"])


@router.get(
    "/live",
    name="liveness",
    summary="Is the process alive",
    response_model_exclude_unset=True,
    responses={503: DIED},
    openapi_extra=OF_THE_SERVICE,
)
async def live(request: Request, response: Response, sees_reasons: SeesReasons) -> Liveness:
    """Answer 200 as long as a restart would not help, else 503: a background loop died."""
    died: list[str] = request.state.health.died
    response.status_code = 503 if died else 200
    result = Liveness(live=not died, died=died)
    return result if sees_reasons else result.without_reasons()


@router.get(
    "/ready",
    name="readiness",
    summary="Is the service ready",
    response_model_exclude_unset=True,
    responses={503: NOT_READY},
    openapi_extra=OF_THE_SERVICE,
)
async def ready(request: Request, response: Response, sees_reasons: SeesReasons) -> Readiness:
    """Answer 200 when every dependency is usable, else 503; operators learn each reason and the setting to look at."""
    if getattr(request.state, "draining", False):
        response.status_code = 503
        return Readiness(ready=False, dependencies={}, draining=True)
    result = await recent_readiness(request.state.health)
    response.status_code = 200 if result.ready else 503
    return result if sees_reasons else result.without_reasons()
