"""Measuring: interleaved rounds of two sides, wall time beside CPU time."""

import gc
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median, quantiles


@dataclass
class Watch:
    """How long something took, in seconds: on the clock, and of this process's CPU."""

    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def watched() -> Iterator[Watch]:
    """Measure the block."""
    watch = Watch()
    wall, cpu = time.perf_counter(), time.process_time()
    yield watch
    watch.wall, watch.cpu = time.perf_counter() - wall, time.process_time() - cpu


@dataclass(frozen=True)
class Sample:
    """One round of one side."""

    figures: Mapping[str, float]
    """By name, e.g. `rate`, `p50`."""
    cpu: float | None = None
    """CPU time of this process for each item, µs; `None` when the work is done by other processes."""


def rate(items: int, watch: Watch) -> Sample:
    """Return how many items a second went through."""
    return Sample({"rate": items / watch.wall}, watch.cpu / items * 1e6)


def latencies(seconds: list[float], unit: float, cpu: float | None = None) -> Sample:
    """Return median and 99th percentile of single times, in `unit` seconds."""
    cuts = quantiles(seconds, n=100)
    return Sample({"p50": cuts[49] / unit, "p99": cuts[98] / unit}, cpu)


Side = Callable[[], Awaitable[Sample]]


@dataclass
class Rounds:
    """The samples of both sides, round by round."""

    ours: list[Sample] = field(default_factory=list)
    peer: list[Sample] = field(default_factory=list)


async def interleaved(name: str, ours: Side, peer: Side, count: int) -> Rounds:
    """Run ours, peer, ours, peer …: `count` rounds after one that only warms up.

    What disturbs the machine for a while so disturbs both.
    """
    rounds = Rounds()
    for number in range(count + 1):
        told = f"round {number} of {count}" if number else "warming up"
        print(f"{name}: {told}", file=sys.stderr, flush=True)
        pair = await _tidied(ours), await _tidied(peer)
        if number:
            rounds.ours.append(pair[0])
            rounds.peer.append(pair[1])
    return rounds


async def _tidied(side: Side) -> Sample:
    """Run a side without the garbage of the other, and with what the benchmark keeps out of the collector's sight."""
    gc.collect()
    gc.freeze()
    return await side()


@dataclass(frozen=True)
class Line:
    """One line of the table: one figure of ours beside the peer's.

    Args:
        name: as in `README.md`.
        unit: of the figure.
        figure: which of a sample's figures.
        rounds: the samples.
        ratio_at_least: the target, when it is a ratio of rates.
        ratio_at_most: the target, when it is a ratio of times.
        at_most: the target, when it is a bound of our own figure.
    """

    name: str
    unit: str
    figure: str
    rounds: Rounds
    ratio_at_least: float | None = None
    ratio_at_most: float | None = None
    at_most: float | None = None

    def ours(self) -> float:
        """Return our median."""
        return median(sample.figures[self.figure] for sample in self.rounds.ours)

    def peer(self) -> float:
        """Return the peer's median."""
        return median(sample.figures[self.figure] for sample in self.rounds.peer)

    def ratios(self) -> list[float]:
        """Return ours divided by the peer's, of each round."""
        pairs = zip(self.rounds.ours, self.rounds.peer, strict=True)
        return [ours.figures[self.figure] / peer.figures[self.figure] for ours, peer in pairs]

    def cpu(self) -> tuple[float, float] | None:
        """Return the medians of the CPU time for each item, ours and the peer's, µs."""
        ours = [sample.cpu for sample in self.rounds.ours if sample.cpu is not None]
        peer = [sample.cpu for sample in self.rounds.peer if sample.cpu is not None]
        return (median(ours), median(peer)) if ours and peer else None

    def reached(self) -> bool | None:
        """Tell whether the target is reached; `None` when there is none."""
        if self.ratio_at_least is not None:
            return median(self.ratios()) >= self.ratio_at_least
        if self.ratio_at_most is not None:
            return median(self.ratios()) <= self.ratio_at_most
        return self.ours() <= self.at_most if self.at_most is not None else None
