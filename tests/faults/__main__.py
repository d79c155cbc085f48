"""`python -m faults`: run the matrix, tell of each case, and print a table."""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

from faults.cases import MATRIX, Case
from faults.report import line, table
from faults.runner import Result, running
from tidings.signals import end_on_signals
from tidings_local.servers import ServerFailed, ServerMissing


def main() -> int:
    """Run what was asked for; the exit code is 1 when anything was violated."""
    arguments = _parser().parse_args()
    cases = [case for case in MATRIX if not arguments.only or any(word in str(case) for word in arguments.only)]
    if not cases or arguments.list:
        print("\n".join(map(str, cases or MATRIX)))
        return 0 if arguments.list else 2
    end_on_signals()
    folder = Path(tempfile.mkdtemp(prefix="tidings-faults-"))
    results: list[Result] = []
    try:
        for seed in arguments.seeds:
            _run(seed, cases, folder / f"seed-{seed}", results)
    except (ServerMissing, ServerFailed) as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        _tell(results, arguments.report)
        if arguments.keep:
            print(f"logs are kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if any(result.violations for result in results) else 0


def _run(seed: int, cases: list[Case], folder: Path, results: list[Result]) -> None:
    """Run the cases in an order of the seed, on a system of their own."""
    print(f"seed {seed}: starting MariaDB, Redis, three brokers and all services …", flush=True)
    order = random.Random(seed).sample(cases, len(cases))
    with running(folder, seed) as runner:
        for number, case in enumerate(order, start=1):
            results.append(runner.run(case))
            print(line(number, len(order), results[-1]), flush=True)


def _tell(results: list[Result], report: Path | None) -> None:
    text = table(results)
    print("\n" + text)
    if report:
        report.write_text(text + "\n", encoding="utf-8")


def _seeds(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m faults",
        description="Break what Tidings depends on, under load, and check that no promise was broken. "
        "Needs MariaDB, Redis, Kafka: make servers. A case takes about half a minute.",
    )
    parser.add_argument("--seeds", type=_seeds, default=[1, 2, 3], help="each runs all cases once (1,2,3)")
    parser.add_argument("--only", nargs="*", metavar="WORD", help="cases whose name has one of these words in it")
    parser.add_argument("--list", action="store_true", help="name the cases and do nothing")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the table to this file, too")
    parser.add_argument("--keep", action="store_true", help="keep the logs of servers and services")
    return parser


if __name__ == "__main__":
    sys.exit(main())
