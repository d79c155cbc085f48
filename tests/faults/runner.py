"""The runner: leads one system through many cases, and looks after each of them whether all promises were kept."""

import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import TimeoutExpired
from types import MappingProxyType

from faults.cases import SERVICE_FAULTS, SERVICES, SLOW_DELETES, Case, suffer
from faults.checker import Violation, check
from faults.evidence import gather, outbox_age, waiting
from faults.history import Operation, Outcome
from faults.load import Load, running_load
from faults.servers import BROKERS, running_servers
from faults.system import FaultySystem, running_system

WARM_SECONDS = 2.0
AFTER_SECONDS = 5.0
REST_SECONDS = 40.0
"""Within this time after the load everything has to come to rest."""
SUCCESS_SECONDS = 5.0
FRESH_SECONDS = 30.0
COPIES = 3
"""How often an event may be in its topic when only the database is slow."""
AGE_SECONDS = 5.0
"""The age under which an outbox is fresh, `FRESH_SECONDS` after a heal."""


@dataclass
class Result:
    """What one case showed."""

    case: Case
    seed: int
    seconds: float = 0.0
    outcomes: dict[Outcome, int] = field(default_factory=dict)
    slowest: float = 0.0
    """The longest time until an answer, in seconds."""
    success: float = 0.0
    """Seconds from the heal to the first success of each kind of call, of the kind that took longest."""
    fresh: float = 0.0
    """Seconds from the heal until the outboxes were fresh for good."""
    rest: float = 0.0
    """Seconds from the end of the load until nothing waited anywhere."""
    retries: int = 0
    counts: tuple[int, int, int] = (0, 0, 0)
    violations: list[Violation] = field(default_factory=list)


class Runner:
    """Runs cases on a system that is up.

    Args:
        system: which suffers.
        load: which goes on meanwhile.
        seed: of all chances.
    """

    def __init__(self, system: FaultySystem, load: Load, seed: int) -> None:
        self._system = system
        self._load = load
        self._seed = seed
        self._known: set[Violation] = set()
        self._retries = 0

    def run(self, case: Case) -> Result:
        """Run one case and return what it showed; what earlier cases broke is not told again."""
        result = Result(case, self._seed)
        started, exits = time.monotonic(), len(self._system.exits)
        chance = random.Random(f"{self._seed} {case}")
        self._load.resume()
        time.sleep(WARM_SECONDS * chance.uniform(0.5, 1.5))
        try:
            worse = suffer(case, self._system, chance, self._load.newcomers_token)
            result.violations += [Violation("overloaded", reason) for reason in worse]
        except (AssertionError, TimeoutExpired) as error:
            result.violations.append(Violation("not recovered", f"{type(error).__name__}: {error}"))
        healed = time.monotonic()
        with _Ages(self._system) as ages:
            time.sleep(AFTER_SECONDS)
            self._load.pause()
            paused = time.monotonic()
            reason = self._rest(paused)
        result.rest = time.monotonic() - paused
        result.fresh = ages.fresh_after(healed)
        ended = self._system.exits[exits:]
        if len(ended) > (case.target in SERVICES and case.fault in SERVICE_FAULTS):
            result.violations.append(Violation("crash", ", ".join(ended)))
        if reason:
            # What waits is not lost: whether it is, shows when the system has been helped.
            result.violations.append(Violation("not recovered", reason))
            self._system.restart_by_hand()
            self._rest(time.monotonic())
        self._judge(result, healed, started)
        result.seconds = time.monotonic() - started
        return result

    def _rest(self, paused: float) -> str | None:
        """Wait until nothing waits anywhere; return what does not come to rest."""
        while reason := waiting(self._system) or self._system.ready():
            if time.monotonic() - paused > REST_SECONDS:
                return reason
            time.sleep(0.2)
        return None

    def _judge(self, result: Result, healed: float, started: float) -> None:
        evidence = gather(self._system)
        operations = self._load.history.since(started)
        result.outcomes = {outcome: sum(one.outcome is outcome for one in operations) for outcome in Outcome}
        result.slowest = max(one.ended - one.invoked for one in operations if one.kind != "refusal")
        result.success = max(_first_success(operations, kind, healed) for kind in ("post", "register", "login"))
        result.retries, self._retries = evidence.retries - self._retries, evidence.retries
        result.counts = evidence.counts
        found = check(self._load.history.operations, evidence)
        result.violations += [violation for violation in found if violation not in self._known]
        self._known.update(found)
        if result.case.target != "redis":  # without it a token is good until it expires
            late = [one for one in operations if one.kind == "refusal" and one.outcome is Outcome.FAIL]
            result.violations += [Violation("not refused", f"the token of {one.subject}") for one in late]
        if result.case == SLOW_DELETES and evidence.most_copies > COPIES:
            copies = f"one event is in its topic {evidence.most_copies} times"
            result.violations.append(Violation("published again", copies))
        if len(set(evidence.counts)) > 1:
            result.violations.append(Violation("counts", "database, topics, store: {} {} {}".format(*evidence.counts)))
        if result.success > SUCCESS_SECONDS:
            result.violations.append(Violation("slow", f"first success {result.success:.1f} s after the heal"))
        if result.fresh > FRESH_SECONDS:
            result.violations.append(Violation("stale", f"outbox age ≥ {AGE_SECONDS} s {result.fresh:.1f} s after"))


class _Ages:
    """Samples the age of the outboxes while the block runs."""

    def __init__(self, system: FaultySystem) -> None:
        self._system = system
        self._stale: list[float] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="ages", daemon=True)

    def __enter__(self) -> "_Ages":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def fresh_after(self, moment: float) -> float:
        """Return the seconds from `moment` to the last sample that was stale."""
        return max(self._stale, default=moment) - moment

    def _sample(self) -> None:
        while not self._ending.wait(0.25):
            if outbox_age(self._system) >= AGE_SECONDS:
                self._stale.append(time.monotonic())


def _first_success(operations: list[Operation], kind: str, healed: float) -> float:
    ended = [one.ended for one in operations if one.kind == kind and one.outcome is Outcome.OK and one.ended > healed]
    return min(ended, default=float("inf")) - healed


@contextmanager
def running(
    folder: Path, seed: int, without: Mapping[str, str] = MappingProxyType({}), copies: int = BROKERS
) -> Iterator[Runner]:
    """Bring up servers, system and load, and take them down when the block ends; for arguments see `running_system`."""
    folder.mkdir(parents=True)
    with (
        running_servers(folder / "servers") as servers,
        running_system(folder, servers, without, copies) as system,
        running_load(system, seed) as load,
    ):
        yield Runner(system, load, seed)
