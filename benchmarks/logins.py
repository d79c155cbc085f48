"""Logins: what another call costs its caller while 64 at a time try to sign in, beside what it costs in peace."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.board import Board, open_board, probed
from benchmarks.measure import Line, Sample, interleaved
from benchmarks.setting import Setting

TIMES = 2.0
"""How much slower the slowest in a hundred may be in a flood of logins."""
SETTLE_SECONDS = 2.0
PROBES = 700
PROBES_A_SECOND = 50


async def lines(setting: Setting) -> AsyncIterator[Line]:
    """Measure calls of the service that is flooded, with and without the flood."""
    async with open_board(setting) as board:

        async def call() -> float:
            await asyncio.sleep(1 / PROBES_A_SECOND)
            start = time.perf_counter()
            await board.me()
            return time.perf_counter() - start

        async def peace() -> Sample:
            return await probed(call, setting, PROBES)

        async def flooded() -> Sample:
            async with crowd(board):
                await asyncio.sleep(0.1 if setting.quick else SETTLE_SECONDS)
                return await probed(call, setting, PROBES)

        rounds = await interleaved("call, logins flooding", flooded, peace, setting.rounds)
    yield Line("call, logins flooding, p50", "ms", "p50", rounds)
    yield Line("call, logins flooding, p99", "ms", "p99", rounds, ratio_at_most=TIMES)


@asynccontextmanager
async def crowd(board: Board) -> AsyncIterator[None]:
    """Have a crowd try to sign in until the block ends."""
    command = [sys.executable, "-m", "benchmarks.crowd", board.auth]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    try:
        await process.stdout.readline()
        yield
        assert process.returncode is None, "the crowd went home"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
