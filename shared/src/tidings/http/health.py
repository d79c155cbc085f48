"""Health: is the process alive, and is each thing that it needs there."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

CHECK_SECONDS = 1.5


@dataclass(frozen=True)
class Check:
    """One dependency."""

    run: Callable[[], Awaitable[object]]
    """Raises when the dependency is not usable."""
    setting: str
    """The environment variable to look at when it is not."""


Checks = Mapping[str, Check]


class Dependency(BaseModel):
    """How one dependency is."""

    ok: bool
    reason: str | None = Field(default=None, examples=["not connected to Kafka at kafka:9092"])
    setting: str | None = Field(default=None, examples=["TIDINGS_KAFKA_BOOTSTRAP_SERVERS"])


class Readiness(BaseModel):
    """Whether the service can do its work."""

    ready: bool
    dependencies: dict[str, Dependency]


async def readiness(checks: Checks) -> Readiness:
    """Run all checks side by side, each within a deadline."""
    results = await asyncio.gather(*(_examine(check) for check in checks.values()))
    return Readiness(ready=all(result.ok for result in results), dependencies=dict(zip(checks, results, strict=True)))


async def _examine(check: Check) -> Dependency:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check.run()
    except TimeoutError:
        return Dependency(ok=False, reason=f"no answer within {CHECK_SECONDS} s", setting=check.setting)
    except Exception as error:
        return Dependency(ok=False, reason=_reason(error), setting=check.setting)
    return Dependency(ok=True)


def _reason(error: Exception) -> str:
    """Return an error's own words; of a database error only the driver's, without the statement."""
    return str(getattr(error, "orig", None) or error) or type(error).__name__


router = APIRouter(prefix="/health", tags=["health"], include_in_schema=False)


@router.get("/live")
async def live() -> dict[str, bool]:
    """Answer as long as the process can."""
    return {"live": True}


@router.get("/ready")
async def ready(request: Request, response: Response) -> Readiness:
    """Answer 200 when every dependency is usable, else 503, naming each and the setting to look at."""
    result = await readiness(request.state.checks)
    response.status_code = 200 if result.ready else 503
    return result
