"""Moments by the database's clock: the one clock that all replicas of a service share.

A time that another replica will compare with its own (when a session ended, when a key expires) comes from here. A
host's clock may be wrong, and then one host would end, forget or outlive what belongs to all.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, literal, select
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from tidings.database.columns import Moment

NOTHING = timedelta()


class ClocksDiffer(Exception):
    """This host's clock and the database's differ by more than is allowed; the message says by how much."""


class _DatabaseNow(FunctionElement[datetime]):
    """The present moment, moved by a number of microseconds."""

    type = Moment()
    inherit_cache = True


def database_now(offset: timedelta = NOTHING) -> _DatabaseNow:
    """Return the SQL expression of the present moment by the database's clock, moved by `offset`."""
    return _DatabaseNow(literal(offset // timedelta(microseconds=1), BigInteger))


@compiles(_DatabaseNow, "mysql")
@compiles(_DatabaseNow, "mariadb")
def _on_mariadb(element: _DatabaseNow, compiler: Any, **options: Any) -> str:
    return f"(UTC_TIMESTAMP(6) + INTERVAL {compiler.process(element.clauses, **options)} MICROSECOND)"


@compiles(_DatabaseNow, "sqlite")
def _on_sqlite(element: _DatabaseNow, compiler: Any, **options: Any) -> str:
    # As text with six digits, because that is how the column's values are stored and compared.
    offset = compiler.process(element.clauses, **options)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', ({offset} / 1000000.0) || ' seconds') || '000')"


async def require_same_clock(engine: AsyncEngine, allowed: timedelta) -> None:
    """Check that this host's clock and the database's agree; the time of the round trip counts as agreement.

    Raises:
        ClocksDiffer: by more than `allowed`.
    """
    async with engine.connect() as connection, connection.begin():
        before = datetime.now(UTC)
        moment: datetime = (await connection.execute(select(database_now()))).scalar_one()
        after = datetime.now(UTC)
    ahead, behind = before - moment, moment - after
    if max(ahead, behind) > allowed:
        direction = "ahead of" if ahead > behind else "behind"
        raise ClocksDiffer(
            f"this host's clock is {max(ahead, behind).total_seconds():.1f} s {direction} the database's; have both "
            f"follow the same time servers (NTP). {allowed.total_seconds():g} s are allowed."
        )
