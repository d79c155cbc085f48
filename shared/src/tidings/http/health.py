"""Health: is the process alive, and is each thing that it needs there."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

CHECK_SECONDS = 1.5


@dataclass
class Check:
    """One dependency."""

    run: Callable[[], Awaitable[object]]
    """Raises when the dependency is not usable."""
    setting: str
    """The environment variable to look at when it is not, unless the reason names another."""
    only_to_start: bool = False
    """The service goes on without it once it was there: its later absence is shown, but takes no traffic away."""
    as_of: Callable[[], datetime | None] | None = None
    """Gives the time of the last word from it, of a dependency whose news the service lives by."""
    seen: bool = False
    """Whether it was usable since the service started."""


@dataclass
class Health:
    """What is known of a service while it runs."""

    checks: dict[str, Check] = field(default_factory=dict)
    """Each dependency by name."""
    died: list[str] = field(default_factory=list)
    """Background loops that ended of an error that nobody expected; only a new process helps."""


class Dependency(BaseModel):
    """How one dependency is."""

    ok: bool
    reason: str | None = Field(default=None, examples=["not connected to Kafka at kafka:9092"])
    setting: str | None = Field(default=None, examples=["TIDINGS_KAFKA_BOOTSTRAP_SERVERS"])
    as_of: datetime | None = Field(default=None, description="time of the last word from it (RFC 3339)")


class Liveness(BaseModel):
    """Whether the process should be kept."""

    live: bool
    died: list[str]


class Readiness(BaseModel):
    """Whether the service can do its work."""

    ready: bool
    dependencies: dict[str, Dependency]
    died: list[str] = Field(description="background loops that ended of an error that nobody expected")


async def readiness(health: Health) -> Readiness:
    """Run all checks side by side, each within a deadline."""
    checks = health.checks
    results = await asyncio.gather(*(_examine(check) for check in checks.values()))
    return Readiness(
        ready=not health.died
        and all(
            result.ok or (check.only_to_start and check.seen)
            for check, result in zip(checks.values(), results, strict=True)
        ),
        dependencies=dict(zip(checks, results, strict=True)),
        died=health.died,
    )


async def _examine(check: Check) -> Dependency:
    reason = await _trouble(check)
    as_of = check.as_of() if check.as_of else None
    if reason:
        return Dependency(ok=False, reason=reason, setting=check.setting, as_of=as_of)
    check.seen = True
    return Dependency(ok=True, as_of=as_of)


async def _trouble(check: Check) -> str | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check.run()
    except TimeoutError:
        return f"no answer within {CHECK_SECONDS} s"
    except Exception as error:
        return _reason(error)
    return None


def _reason(error: Exception) -> str:
    """Return an error's own words; of a database error only the driver's, without the statement."""
    return str(getattr(error, "orig", None) or error) or type(error).__name__


router = APIRouter(prefix="/health", tags=["health"], include_in_schema=False)


@router.get("/live")
async def live(request: Request, response: Response) -> Liveness:
    """Answer 200 as long as a restart would not help, else 503: a background loop died."""
    died: list[str] = request.state.health.died
    response.status_code = 503 if died else 200
    return Liveness(live=not died, died=died)


@router.get("/ready")
async def ready(request: Request, response: Response) -> Readiness:
    """Answer 200 when every dependency is usable, else 503, naming each and the setting to look at."""
    result = await readiness(request.state.health)
    response.status_code = 200 if result.ready else 503
    return result
