"""Commands of the auth service: those of every service, and its own."""

from tidings.terminal import run_command


def main() -> int:
    """Run one command and return the exit code."""
    # The imports take seconds; here they do not delay the handling of signals and closed streams.
    from tidings.standard_variables import drop_unused

    drop_unused()  # before the imports below, which import OpenTelemetry
    from tidings.commands import main as run
    from tidings_auth.app import PACKAGE, create_app
    from tidings_auth.key_commands import ROTATE_KEYS
    from tidings_auth.managing import COMMANDS
    from tidings_auth.settings import AuthSettings
    from tidings_auth.tables import outbox

    return run(PACKAGE, AuthSettings, create_app, outbox=outbox, commands=[*COMMANDS, ROTATE_KEYS])


if __name__ == "__main__":
    run_command(main)
