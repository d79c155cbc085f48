"""Commands of the log consumer: `serve`, `migrate`."""

import sys

from tidings.standard_variables import drop_unused

if __name__ == "__main__":
    drop_unused()  # before the imports below, which import OpenTelemetry
    from tidings.commands import main
    from tidings_log_consumer.app import PACKAGE, create_app
    from tidings_log_consumer.settings import LogSettings

    sys.exit(main(PACKAGE, LogSettings, create_app))
