"""Emit: what telling of an event costs a request, with Kafka well and with Kafka black-holed."""

import asyncio
import itertools
import time
import tracemalloc
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar

from benchmarks.measure import Line, Rounds, Sample, interleaved, latencies, watched
from benchmarks.setting import Setting, calls
from tidings.events import ApiRequest, EventData
from tidings.kafka.activity import MAX_BYTES, MAX_EVENTS, ActivityLane
from tidings.kafka.publisher import Publisher
from tidings.telemetry.setup import Telemetry

EVENTS = 5_000
BURST, PAUSE = 20, 0.005
"""Events come in bursts, so that the lane's own task gets its turns as it does between requests."""
P50, P99 = 5.0, 1000.0
MIB = 2**20


class Call(ApiRequest):
    """An `api.request` into a topic of our own."""

    topic: ClassVar[str] = "benchmark.emit"


async def lines(setting: Setting) -> AsyncIterator[Line]:
    """Measure with Kafka well, then black-holed, then what the full buffer holds in memory."""
    telemetry = Telemetry("benchmark")
    events = calls(setting.items(EVENTS), Call)

    async def well() -> Sample:
        lane, task = _open(setting, telemetry)
        sample = await _timed(lane.emit, events, telemetry)
        await lane.stop(task, 30)
        assert lane.counts["delivered"] == len(events), lane.counts
        return sample

    async def black_holed() -> Sample:
        lane, task = _open(setting, telemetry)
        await _connected(lane, events[0])
        with _paused(setting):
            _fill(lane, events)
            sample = await _timed(lane.emit, events, telemetry)
        await lane.stop(task, 0)
        assert lane.counts["dropped.buffer_full"] >= len(events), lane.counts
        return sample

    async def floor() -> Sample:
        buffer: deque[EventData] = deque(maxlen=MAX_EVENTS)
        return await _timed(buffer.append, events, telemetry)

    for name, side in {"Kafka well": well, "Kafka black-holed": black_holed}.items():
        rounds = await interleaved(f"emit, {name}", side, floor, setting.rounds)
        yield Line(f"emit, {name}, p50", "µs", "p50", rounds, at_most=P50)
        yield Line(f"emit, {name}, p99", "µs", "p99", rounds, at_most=P99)
    held = Rounds([await _held(setting, telemetry)], [Sample({"held": MAX_BYTES / MIB})])
    yield Line("emit, memory of a full buffer", "MiB", "held", held, at_most=MAX_BYTES / MIB)


async def _timed(emit: Callable[[EventData], None], events: Sequence[ApiRequest], telemetry: Telemetry) -> Sample:
    """Time each call of `emit`, made within a span as in a request."""
    times: list[int] = []
    with telemetry.tracer.start_as_current_span("request"), watched() as watch:
        for number, event in enumerate(events):
            start = time.perf_counter_ns()
            emit(event)
            times.append(time.perf_counter_ns() - start)
            if number % BURST == BURST - 1:
                await asyncio.sleep(PAUSE)
    return latencies([single / 1e9 for single in times], 1e-6, watch.cpu / len(events) * 1e6)


async def _held(setting: Setting, telemetry: Telemetry) -> Sample:
    """Return how much memory a lane keeps, in MiB, when no broker takes anything and more comes than fits."""
    lane, task = _open(setting, telemetry)
    await _connected(lane, calls(1, Call)[0])
    with _paused(setting):
        tracemalloc.start()
        for number in range(3):
            for event in calls(MAX_EVENTS // 2, Call):  # the lane alone keeps them
                lane.emit(event)
            await asyncio.sleep(number and 0.01)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    await lane.stop(task, 0)
    return Sample({"held": held / MIB})


def _open(setting: Setting, telemetry: Telemetry) -> "tuple[ActivityLane, asyncio.Task[None]]":
    publisher = Publisher(setting.kafka(), telemetry.tracer, "benchmark-emit")
    lane = ActivityLane(publisher, telemetry.meter, "benchmark")
    return lane, asyncio.create_task(lane.run())


async def _connected(lane: ActivityLane, event: ApiRequest) -> None:
    """Wait until a first event has gone out."""
    lane.emit(event)
    while not lane.counts["delivered"]:  # noqa: ASYNC110  # the lane has no event for it
        await asyncio.sleep(0.01)


def _fill(lane: ActivityLane, events: Sequence[ApiRequest]) -> None:
    for event in itertools.islice(itertools.cycle(events), MAX_EVENTS):
        lane.emit(event)


@contextmanager
def _paused(setting: Setting) -> Iterator[None]:
    setting.servers.kafka.pause()
    try:
        yield
    finally:
        setting.servers.kafka.resume()
