"""The command `python -m benchmarks`, which `make bench` runs: measures and prints one table."""

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import emit, ingest, logins, outage, overload, relay, visible
from benchmarks.measure import Line
from benchmarks.setting import Setting
from benchmarks.table import raw, table
from support.servers import RealServers
from tidings_local.servers import missing

BENCHMARKS = {
    "relay": relay.lines,
    "emit": emit.lines,
    "ingest": ingest.lines,
    "visible": visible.lines,
    "outage": outage.lines,
    "logins": logins.lines,
    "overload": overload.lines,
}
ROUNDS = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Run what the command line asks for and return the exit code."""
    arguments = _parser().parse_args(argv)
    if lacking := [missing()[name] for name in ("MariaDB", "Redis", "Kafka") if name in missing()]:
        print("\n".join(lacking), "or all of them: make servers", sep="\n", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.CRITICAL)  # a black-holed broker makes many words
    with TemporaryDirectory(prefix="tidings-bench-") as folder:
        servers = RealServers(Path(folder) / "servers")
        try:
            setting = Setting(servers, Path(folder), arguments.rounds, arguments.quick)
            lines = asyncio.run(measure(setting, arguments.only))
        finally:
            servers.stop()
    print(table(lines))
    if arguments.json:
        arguments.json.write_text(json.dumps(raw(lines), indent=1))
    return 0


async def measure(setting: Setting, names: Sequence[str]) -> list[Line]:
    """Return the lines of the benchmarks `names`, in their order."""
    return [line for name in names async for line in BENCHMARKS[name](setting)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description="Measure Tidings beside its peers.")
    parser.add_argument("--only", type=_names, default=list(BENCHMARKS), help=f"some of {','.join(BENCHMARKS)}")
    parser.add_argument("--rounds", type=_count, default=ROUNDS, help=f"of each side, {ROUNDS} when not given")
    parser.add_argument("--quick", action="store_true", help="hardly any items: shows that it runs, measures nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round there")
    return parser


def _names(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := set(names) - set(BENCHMARKS):
        raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    return names or list(BENCHMARKS)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of rounds, which is 1 or more")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
