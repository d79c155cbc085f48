"""Overload: what 1,000 connections get done that post without pause, beside what 64 get done."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator

import httpx

from benchmarks.board import Board, open_board
from benchmarks.measure import Line, Sample, interleaved, latencies
from benchmarks.setting import Setting

CROWD, FEW = 1_000, 64
SECONDS = 10.0
GOODPUT = 0.8
SLOWEST_MS = 2_000
PROBE_SECONDS = 1.0
"""How long Kubernetes waits for a probe unless told otherwise."""
PROBES_A_SECOND = 4
GROWTH = 1.1
"""By how much the service's memory may grow in a round; the first round warms it up, and the median counts."""


async def lines(setting: Setting) -> AsyncIterator[Line]:
    """Measure posts and probes of the messages service."""
    async with open_board(setting) as board:

        async def crowded() -> Sample:
            return await flooded(board, setting, CROWD)

        async def few() -> Sample:
            return await flooded(board, setting, FEW)

        rounds = await interleaved("posts of a crowd", crowded, few, setting.rounds)
    yield Line("posts of 1,000 connections", "/s", "rate", rounds, ratio_at_least=GOODPUT)
    yield Line("posts of 1,000 connections, p99", "ms", "p99", rounds, at_most=SLOWEST_MS)
    yield Line("probe, 1,000 connections posting, slowest", "ms", "probe", rounds, at_most=PROBE_SECONDS * 1000)
    yield Line("memory, 1,000 connections posting", "× before", "growth", rounds, at_most=GROWTH)


async def flooded(board: Board, setting: Setting, connections: int) -> Sample:
    """Return what so many connections get done, and how long the slowest probe took meanwhile."""
    seconds = 1.0 if setting.quick else SECONDS
    command = [
        sys.executable,
        "-m",
        "benchmarks.flood",
        "POST",
        board.posts,
        board.token,
        *map(str, (connections, seconds)),
    ]
    before = board.memory()
    flood = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, slowest = await asyncio.gather(flood.communicate(), slowest_probe(board.liveness, flood))
    counts = json.loads(output[0])
    assert not counts["failed"], f"posts got no answer, or a wrong one: {counts['failed']}"
    print(f"{connections} connections: {counts['made']} posts, {counts['refused']} refused", file=sys.stderr)
    figures = latencies(counts["times"], 1e-3).figures
    rate, growth = counts["made"] / seconds, board.memory() / before
    return Sample({**figures, "rate": rate, "probe": slowest * 1000, "growth": growth})


async def slowest_probe(url: str, flood: asyncio.subprocess.Process) -> float:
    """Probe as Kubernetes does, each time on a new connection, until the flood ends; return the longest time."""
    slowest = 0.0
    while flood.returncode is None:
        start = time.perf_counter()
        async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
            assert (await http.get(url)).status_code == 200
        slowest = max(slowest, time.perf_counter() - start)
        await asyncio.sleep(1 / PROBES_A_SECOND)
    return slowest
