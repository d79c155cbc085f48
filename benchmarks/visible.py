"""Visible: how long until a post is in the log, with the whole system at half of what it can take."""

import time
from collections.abc import AsyncIterator

from benchmarks.board import capacity, loaded, open_board, probed
from benchmarks.measure import Line, Sample, interleaved
from benchmarks.setting import Setting

P99 = 250.0


async def lines(setting: Setting) -> AsyncIterator[Line]:
    """Measure posts, and beside them the one read that each of them ends with, both under the same load."""
    async with open_board(setting) as board:
        load = await capacity(board, setting) / 2
        known = await board.post()
        await board.until_visible()

        async def ours() -> Sample:
            async with loaded(board, load):
                return await probed(board.until_visible, setting)

        async def peer() -> Sample:
            async def read() -> float:
                start = time.perf_counter()
                await board.is_visible(known)
                return time.perf_counter() - start

            async with loaded(board, load):
                return await probed(read, setting)

        rounds = await interleaved(f"post → visible at {load:.0f} posts/s", ours, peer, setting.rounds)
    yield Line("post → visible, p50", "ms", "p50", rounds)
    yield Line("post → visible, p99", "ms", "p99", rounds, at_most=P99)
