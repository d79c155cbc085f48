"""A short selection of the matrix, and a longer one in `make test-thorough`; `make faults` runs all of it."""

from collections.abc import Iterator

import pytest

from faults.cases import SLOW_DELETES, SMALL_RECORDS, Case
from faults.runner import Runner, running
from support.servers import require

pytestmark = [pytest.mark.real, pytest.mark.serial, pytest.mark.timeout(300)]

SEED = 1
EACH_TIME = [Case("sigkill", "brokers"), Case("sigkill", "relay-leader"), Case("crowd", "messages")]
THOROUGH = [
    Case("black-hole", "mariadb"),
    Case("sigkill", "log-consumer"),
    Case("reset", "broker"),
    SLOW_DELETES,
    SMALL_RECORDS,
]
CASES = [*EACH_TIME, *(pytest.param(case, marks=pytest.mark.thorough) for case in THOROUGH)]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    for server in ("MariaDB", "Redis", "Kafka"):
        require(server)
    with running(tmp_path_factory.mktemp("faults") / "system", SEED) as runner:
        yield runner


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_promise_is_broken(runner: Runner, case: Case) -> None:
    result = runner.run(case)
    assert result.violations == []
    assert len(set(result.counts)) == 1
