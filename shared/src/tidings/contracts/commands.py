"""Commands on the contracts: `python -m tidings contracts check|write`."""

import argparse
from pathlib import Path

from tidings.contracts.compatibility import Breaks, Change
from tidings.contracts.stored import changes, load, record
from tidings.terminal import path_argument

FOLDER = Path("shared/contracts")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the commands and their arguments."""
    parser.add_argument(
        "--folder", type=path_argument, default=FOLDER, help=f"where the contracts are stored, else {FOLDER}"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser(
        "check", help="compare the events of today with the stored contracts; exit code 1 if any breaks"
    )
    commands.add_parser("write", help="record what is new; refuses what would break a contract, with exit code 1")


def run(arguments: argparse.Namespace) -> tuple[str, int]:
    """Carry out one command and return what to say, and the exit code.

    Raises:
        ContractError: the stored contracts cannot be read, or a model gives no example.
    """
    found = changes(load(arguments.folder))
    lines = [_described(name, change) for name, differing in found.items() for change in differing]
    if any(change.breaks is not Breaks.NOBODY for differing in found.values() for change in differing):
        return "\n".join(lines), 1
    if arguments.command == "check":
        return "\n".join([*lines, "make contracts records this"] if lines else ["the contracts are kept"]), 0
    record(arguments.folder)
    return "\n".join([*lines, "recorded"] if lines else ["nothing to record"]), 0


def _described(name: str, change: Change) -> str:
    where = f"{name}: {change.field + ': ' if change.field else ''}{change.what}"
    if change.breaks is Breaks.NOBODY:
        return where
    stem, _, version = name.rpartition(".v")
    return f"{where}. {change.breaks.value.capitalize()}: leave {name} as it was and make {stem}.v{int(version) + 1}."
