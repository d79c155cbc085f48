"""The benchmarks run: what nobody runs for a month still measures what it says."""

from pathlib import Path

import pytest

from benchmarks.__main__ import BENCHMARKS, main, measure
from benchmarks.measure import Line, Rounds, Sample
from benchmarks.setting import Setting
from benchmarks.table import table
from support.servers import RealServers

README = Path(__file__).parents[2] / "benchmarks" / "README.md"


@pytest.mark.real
@pytest.mark.serial
@pytest.mark.parametrize("name", BENCHMARKS)
async def test_each_benchmark_runs_and_its_lines_are_explained(name: str, servers: RealServers, tmp_path: Path) -> None:
    lines = await measure(Setting(servers, tmp_path, rounds=1, quick=True), [name])
    assert all(line.ours() > 0 and line.peer() > 0 for line in lines)
    explained = README.read_text()
    assert [line.name for line in lines if f"**{line.name}**" not in explained] == []
    assert len(table(lines).splitlines()) == 2 + len(lines)


def sampled(*rates: float) -> list[Sample]:
    return [Sample({"rate": rate}, cpu=2.0) for rate in rates]


def test_the_ratio_is_that_of_each_round_and_says_when_a_target_is_missed() -> None:
    rounds = Rounds(ours=sampled(50, 60, 10), peer=sampled(100, 100, 100))
    reached, missed = (Line("a", "rows/s", "rate", rounds, ratio_at_least=target) for target in (0.5, 0.6))
    assert table([reached]).splitlines()[2] == (
        "| a | 50 rows/s | 100 rows/s | 0.50 (0.10–0.60) | 2 / 2 = 1.00 | ratio ≥ 0.5 | yes |"
    )
    assert "**no**" in table([missed])
    assert "ratio ≤ 0.4 | **no**" in table([Line("a", "ms", "rate", rounds, ratio_at_most=0.4)])


def test_an_unknown_benchmark_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "relay,nothing"])
    assert (
        "there is no nothing; there are relay, emit, ingest, visible, outage, logins, overload"
        in capsys.readouterr().err
    )
