"""Commands of the log consumer: `serve`, `migrate`."""

import sys

from tidings.commands import main
from tidings_log_consumer.app import PACKAGE, create_app
from tidings_log_consumer.settings import LogSettings

if __name__ == "__main__":
    sys.exit(main(PACKAGE, LogSettings, create_app))
