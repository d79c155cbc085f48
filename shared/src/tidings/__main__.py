"""Commands of the platform: `python -m tidings topics list|apply|check` and `contracts check|write`."""

from tidings.terminal import run_command


def main() -> int:
    """Run one command and return the exit code."""
    # The imports take seconds; here they do not delay the handling of signals and closed streams.
    from tidings.standard_variables import drop_unused

    drop_unused()  # before the import below, which imports OpenTelemetry
    from tidings import platform_commands

    return platform_commands.main()


if __name__ == "__main__":
    run_command(main)
