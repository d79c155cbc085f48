"""A short selection of the matrix; `make faults` runs all of it."""

from collections.abc import Iterator

import pytest

from faults.cases import SLOW_DELETES, SMALL_RECORDS, Case
from faults.runner import Runner, running
from support.servers import require

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

SEED = 1
CASES = [
    Case("sigkill", "brokers"),
    Case("black-hole", "mariadb"),
    Case("sigkill", "log-consumer"),
    Case("reset", "broker"),
    Case("sigkill", "relay-leader"),
    SLOW_DELETES,
    SMALL_RECORDS,
    Case("crowd", "messages"),
]


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
