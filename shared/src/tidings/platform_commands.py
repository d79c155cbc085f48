"""Commands of the platform: the topics of the cluster, and the contracts of the events."""

import argparse
import asyncio
import logging

from tidings.contracts import ContractError
from tidings.contracts import commands as contracts_commands
from tidings.kafka.topics import Topics, TopicsSettings, TopicsUnavailable
from tidings.known_secrets import mask
from tidings.settings import SettingsError, load
from tidings.telemetry.logs import log_uncaught_errors
from tidings.terminal import Listing, complain, say


async def topics(command: str, settings: TopicsSettings) -> int:
    """Carry out one command, print what it found, and return the exit code."""
    async with Topics(settings) as cluster:
        if command == "list":
            lines, code = await cluster.listing(), 0
        elif command == "apply":
            lines, code = await cluster.apply() or ["nothing to do"], 0
        else:
            lines = await cluster.differences()
            code = 1 if lines else 0
            lines = lines or ["the cluster is as the registry says"]
    said = "\n".join(lines)
    say(said if command == "apply" else Listing(said))
    return code


def main() -> int:
    """Run one command and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tidings")
    commands = parser.add_subparsers(dest="group", required=True)
    contracts_commands.add_arguments(commands.add_parser("contracts", help="what other teams may rely on"))
    actions = commands.add_parser("topics", help="the topics of the cluster").add_subparsers(
        dest="command", required=True
    )
    actions.add_parser("list", help="what there is")
    actions.add_parser("apply", help="make what is missing and set what differs; never shrinks")
    actions.add_parser("check", help="say what differs; exit code 1 if anything does")
    arguments = parser.parse_args()
    log_uncaught_errors()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # our own line says it better
    try:
        if arguments.group == "contracts":
            said, code = contracts_commands.run(arguments)
            say(said if arguments.command == "write" else Listing(said))
            return code
        return asyncio.run(topics(arguments.command, load(TopicsSettings)))
    except (ContractError, SettingsError, TopicsUnavailable) as error:
        complain(mask(str(error)))
        return 2
