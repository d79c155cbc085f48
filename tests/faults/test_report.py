"""The report: one row for each case over its seeds, and nothing hidden."""

from faults.cases import Case
from faults.checker import Violation
from faults.history import Outcome
from faults.report import line, table
from faults.runner import Result

KILL = Case("sigkill", "redis")


def result(seed: int, *violations: Violation) -> Result:
    return Result(KILL, seed, outcomes={Outcome.OK: 100, Outcome.UNKNOWN: 2}, slowest=seed, violations=[*violations])


def test_seeds_are_summed_and_times_are_the_worst() -> None:
    rows = table([result(1), result(2, Violation("lost", "a post"), Violation("lost", "another"))]).splitlines()
    assert rows[2] == "| sigkill | redis | 2 | 200 | 0 | 4 | 2.0 | 0.0 | 0.0 | 0.0 | 0 | lost 2 |"
    assert rows[3].startswith("| **all** |  | 2 | 200 |")


def test_a_line_names_what_was_violated() -> None:
    told = line(1, 32, result(1, Violation("order", "2 then 1")))
    assert "order=1" in told
    assert told.endswith("order: 2 then 1")
