"""`python -m faults`: run the matrix, tell of each case, and print a table."""

import argparse
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from faults import report, safeguards
from faults.cases import MATRIX
from faults.runner import Result, running
from faults.safeguards import SCENARIOS
from tidings_local.servers import ServerFailed, ServerMissing


def main() -> int:
    """Run what was asked for; the exit code is 1 when anything was violated, or a safeguard not proven."""
    arguments = _parser().parse_args()
    names = [one.safeguard for one in SCENARIOS] if arguments.safeguards else [str(case) for case in MATRIX]
    chosen = [name for name in names if not arguments.only or any(word in name for word in arguments.only)]
    if arguments.list or not chosen:
        print("\n".join(chosen or names))
        return 0 if chosen else 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = Path(tempfile.mkdtemp(prefix="tidings-faults-"))
    try:
        return _safeguards(chosen, folder, arguments) if arguments.safeguards else _matrix(chosen, folder, arguments)
    except (ServerMissing, ServerFailed) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ended before all was tried", file=sys.stderr)
        return 130
    finally:
        if arguments.keep:
            print(f"logs are kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _matrix(chosen: list[str], folder: Path, arguments: argparse.Namespace) -> int:
    """Run the cases once for each seed, in an order of the seed, on a system of their own."""
    results: list[Result] = []
    try:
        for seed in arguments.seeds:
            cases = [case for case in MATRIX if str(case) in chosen]
            random.Random(seed).shuffle(cases)
            print(f"seed {seed}: starting MariaDB, Redis, three brokers and all services …", flush=True)
            with running(folder / f"seed-{seed}", seed) as runner:
                for number, case in enumerate(cases, start=1):
                    results.append(runner.run(case))
                    print(report.line(number, len(cases), results[-1]), flush=True)
    finally:
        _tell(report.table(results), arguments.report)
    return 1 if any(result.violations for result in results) else 0


def _safeguards(chosen: list[str], folder: Path, arguments: argparse.Namespace) -> int:
    """Run each scenario with its safeguard and without."""
    comparisons: list[safeguards.Comparison] = []
    try:
        for scenario in SCENARIOS:
            if scenario.safeguard in chosen:
                print(f"{scenario.safeguard}: {scenario.case}, with it and without …", flush=True)
                comparisons.append(safeguards.compare(scenario, folder / scenario.safeguard))
                print(report.line(1, 2, comparisons[-1].present), flush=True)
                print(report.line(2, 2, comparisons[-1].absent), flush=True)
    finally:
        _tell(safeguards.table(comparisons), arguments.report)
    return 0 if all(comparison.proven for comparison in comparisons) else 1


def _tell(text: str, file: Path | None) -> None:
    print("\n" + text)
    if file:
        file.write_text(text + "\n", encoding="utf-8")


def _seeds(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m faults",
        description="Break what Tidings depends on, under load, and check that no promise was broken. "
        "Needs MariaDB, Redis, Kafka: make servers. A case takes about half a minute.",
    )
    parser.add_argument("--seeds", type=_seeds, default=[1, 2, 3], help="each runs all cases once (1,2,3)")
    parser.add_argument("--only", nargs="*", metavar="WORD", help="only what has one of these words in its name")
    parser.add_argument("--safeguards", action="store_true", help="switch safeguards off instead, one by one")
    parser.add_argument("--list", action="store_true", help="say what would run, and do nothing")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the table to this file, too")
    parser.add_argument("--keep", action="store_true", help="keep the logs of servers and services")
    return parser


if __name__ == "__main__":
    sys.exit(main())
