"""Outage: what a post costs its caller while Kafka is black-holed, beside what it costs when Kafka is well."""

import time
from collections.abc import AsyncIterator

from benchmarks.board import capacity, loaded, open_board, probed
from benchmarks.measure import Line, Sample, interleaved
from benchmarks.setting import Setting

TIMES = 2.0
"""How much slower the slowest in a hundred may be without Kafka."""


async def lines(setting: Setting) -> AsyncIterator[Line]:
    """Measure posts with a broker that answers nothing, and with one that is well, both under half load."""
    kafka = setting.servers.kafka
    async with open_board(setting) as board:
        load = await capacity(board, setting) / 2

        async def post() -> float:
            start = time.perf_counter()
            await board.post()
            return time.perf_counter() - start

        async def well() -> Sample:
            async with loaded(board, load):
                return await probed(post, setting)

        async def black_holed() -> Sample:
            kafka.pause()
            try:
                return await well()
            finally:
                kafka.resume()
                await board.until_visible()  # the backlog is gone before anything else is measured

        rounds = await interleaved(f"post, Kafka black-holed, {load:.0f} posts/s", black_holed, well, setting.rounds)
    yield Line("post, Kafka black-holed, p50", "ms", "p50", rounds)
    yield Line("post, Kafka black-holed, p99", "ms", "p99", rounds, ratio_at_most=TIMES)
