"""The table: every line's ratio, its target, and whether it is reached."""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from benchmarks.measure import Line

HEADINGS = ("line", "ours", "peer", "ratio (least–most)", "CPU µs per item", "target", "reached")


def table(lines: Sequence[Line]) -> str:
    """Return `lines` as a Markdown table."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(_cells(line) for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def raw(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return every figure of every round, for JSON."""
    return [asdict(line) | {"ratios": line.ratios(), "reached": line.reached()} for line in lines]


def _cells(line: Line) -> tuple[str, ...]:
    ratios, cpu = line.ratios(), line.cpu()
    return (
        line.name,
        f"{_figure(line.ours())} {line.unit}",
        f"{_figure(line.peer())} {line.unit}",
        f"{median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})",
        f"{_figure(cpu[0])} / {_figure(cpu[1])} = {cpu[0] / cpu[1]:.2f}" if cpu else "–",
        _target(line),
        {True: "yes", False: "**no**", None: "–"}[line.reached()],
    )


def _target(line: Line) -> str:
    if line.ratio_at_least is not None:
        return f"ratio ≥ {line.ratio_at_least}"
    if line.ratio_at_most is not None:
        return f"ratio ≤ {line.ratio_at_most}"
    return f"ours ≤ {_figure(line.at_most)} {line.unit}" if line.at_most is not None else "–"


def _figure(value: float) -> str:
    """Return a number with three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
