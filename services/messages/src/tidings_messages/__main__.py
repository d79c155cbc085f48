"""Commands of the messages service: `serve`, `migrate`, `outbox`."""

from tidings.terminal import run_command


def main() -> int:
    """Run one command and return the exit code."""
    # The imports take seconds; here they do not delay the handling of signals and closed streams.
    from tidings.standard_variables import drop_unused

    drop_unused()  # before the imports below, which import OpenTelemetry
    from tidings.commands import main as run
    from tidings_messages.app import PACKAGE, create_app
    from tidings_messages.settings import MessagesSettings
    from tidings_messages.tables import outbox

    return run(PACKAGE, MessagesSettings, create_app, outbox=outbox)


if __name__ == "__main__":
    run_command(main)
