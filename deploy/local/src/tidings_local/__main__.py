"""Commands of the local runner: `run`, `demo`, `install-servers`."""

import argparse

from tidings.signals import end_on_signals
from tidings.terminal import complain, run_command


def main() -> int:
    """Run one command and return the exit code; what a person can mend is one clear message."""
    parser = argparse.ArgumentParser(
        prog="python -m tidings_local",
        description="Tidings on one machine. Environment: PORT (8080), DATA (var), REAL=1 (real servers), "
        "TIDINGS_HOST (127.0.0.1).",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="run all services in one process on one port")
    commands.add_parser("demo", help="sign in, post, and print the journey of one request")
    commands.add_parser("install-servers", help="install MariaDB, Redis, Kafka, kcat and Node.js (root on Debian)")
    command = parser.parse_args().command
    if command == "run":
        end_on_signals()
    from tidings.standard_variables import drop_unused

    drop_unused()  # before the imports below, which import OpenTelemetry
    # Each command imports what it needs by itself: the services take seconds, which the others need not wait for.
    from tidings.commands import CommandFailed
    from tidings.known_secrets import mask
    from tidings.settings import SettingsError
    from tidings_local.demo import DemoFailed, demo
    from tidings_local.servers import ServerFailed, ServerMissing, install_missing
    from tidings_local.settings import read_settings

    try:
        if command == "run":
            from tidings_local.run import run

            run(read_settings())
        elif command == "demo":
            demo(read_settings())
        else:
            install_missing()
    except (CommandFailed, SettingsError, ServerMissing, ServerFailed, DemoFailed) as error:
        complain(mask(str(error)))
        return 2 if isinstance(error, SettingsError) else 1
    return 0


if __name__ == "__main__":
    run_command(main)
