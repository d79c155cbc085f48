"""The report: a line for each case while it goes on, and a table in Markdown at the end."""

from collections import Counter
from collections.abc import Sequence

from faults.history import Outcome
from faults.runner import Result

HEAD = (
    "fault",
    "target",
    "runs",
    "acknowledged",
    "refused",
    "unknown",
    "slowest answer s",
    "first success s",
    "outbox fresh s",
    "at rest s",
    "retries",
    "violations",
)
SHOWN = 5


def line(number: int, count: int, result: Result) -> str:
    """Return what there is to say of one case."""
    verdict = " ".join(f"{name}={times}" for name, times in _violations([result]).items()) or "ok"
    figures = (
        f"{result.outcomes.get(Outcome.OK, 0)} acknowledged, {result.outcomes.get(Outcome.UNKNOWN, 0)} unknown, "
        f"slowest {result.slowest:.1f} s, success {result.success:.1f} s, rest {result.rest:.1f} s"
    )
    head = f"[{number}/{count}] seed {result.seed} {result.case!s:<24} {verdict:<12} {result.seconds:.0f} s: {figures}"
    details = [f"    {one.check}: {one.detail}" for one in result.violations[:SHOWN]]
    return "\n".join([head, *details])


def table(results: Sequence[Result]) -> str:
    """Return all results in Markdown: a row for each case over its seeds, and the sums."""
    cases = sorted({result.case for result in results}, key=str)
    rows = [_row(case.fault, case.target, [one for one in results if one.case == case]) for case in cases]
    rows.append(_row("**all**", "", results))
    lines = [HEAD, ["---"] * len(HEAD), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _row(fault: str, target: str, results: Sequence[Result]) -> list[str]:
    outcomes = sum((Counter(one.outcomes) for one in results), Counter[Outcome]())
    times = [
        max((getattr(one, name) for one in results), default=0.0) for name in ("slowest", "success", "fresh", "rest")
    ]
    return [
        fault,
        target,
        str(len(results)),
        *(str(outcomes[outcome]) for outcome in Outcome),
        *(f"{seconds:.1f}" for seconds in times),
        str(sum(one.retries for one in results)),
        ", ".join(f"{name} {count}" for name, count in _violations(results).items()) or "0",
    ]


def _violations(results: Sequence[Result]) -> Counter[str]:
    return Counter(violation.check for result in results for violation in result.violations)
