"""Safeguards switched off one by one: for each the smallest case in which its check turns red, and only without it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from faults.cases import SLOW_DELETES, SMALL_RECORDS, Case
from faults.runner import Result, running
from faults.servers import BROKERS

SEED = 1


@dataclass(frozen=True)
class Scenario:
    """A safeguard, and what it is there for."""

    safeguard: str
    service: str
    case: Case
    check: str
    """The check that has to turn red."""
    copies: int = BROKERS


SCENARIOS: Sequence[Scenario] = [
    Scenario("inbox-key", "logs", Case("sigkill", "log-consumer"), "duplicate"),
    Scenario("aggregate-lock", "auth", Case("latency", "redis"), "order"),
    Scenario("commit-before-answer", "messages", Case("sigkill", "messages"), "lost"),
    Scenario("idempotency-key", "messages", Case("sigkill", "messages"), "duplicate"),
    Scenario("admission", "messages", Case("overload", "messages"), "overloaded"),
    Scenario("body-before-place", "messages", Case("crowd", "messages"), "overloaded"),
    Scenario("seek-back", "logs", Case("unreadable", "log-consumer"), "lost"),
    Scenario("delete-in-pieces", "messages", SLOW_DELETES, "published again"),
    Scenario("parked-retry", "messages", SMALL_RECORDS, "not recovered"),
    # A partition without a leader for longer than ten seconds: aiokafka drops a batch whose numbers it has given out,
    # and the broker takes none of that producer's later ones.
    Scenario("producer-rebuild", "messages", Case("sigkill", "broker", seconds=16.0), "not recovered", copies=1),
]


@dataclass(frozen=True)
class Comparison:
    """What a scenario showed with its safeguard, and without."""

    scenario: Scenario
    present: Result
    absent: Result

    @property
    def proven(self) -> bool:
        """Whether the check is green with the safeguard and red without."""
        names = {violation.check for violation in self.absent.violations}
        return not self.present.violations and self.scenario.check in names

    def row(self) -> str:
        """Return a row of the table in Markdown."""
        names = sorted({violation.check for violation in self.absent.violations})
        cells = [
            self.scenario.safeguard,
            str(self.scenario.case),
            self.scenario.check,
            ", ".join(sorted({one.check for one in self.present.violations})) or "green",
            ", ".join(names) or "green",
        ]
        return "| " + " | ".join(cells) + " |"


def compare(scenario: Scenario, folder: Path) -> Comparison:
    """Run a scenario with its safeguard and without."""
    with running(folder / "with", SEED, copies=scenario.copies) as runner:
        present = runner.run(scenario.case)
    with running(folder / "without", SEED, {scenario.service: scenario.safeguard}, scenario.copies) as runner:
        absent = runner.run(scenario.case)
    return Comparison(scenario, present, absent)


def table(comparisons: Sequence[Comparison]) -> str:
    """Return what all scenarios showed, in Markdown."""
    head = ["| safeguard | case | check | with it | without it |", "| --- | --- | --- | --- | --- |"]
    return "\n".join([*head, *(one.row() for one in comparisons)])
