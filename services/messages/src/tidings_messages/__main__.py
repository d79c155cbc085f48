"""Commands of the messages service: `serve`, `migrate`."""

import sys

from tidings.commands import main
from tidings_messages.app import PACKAGE, create_app
from tidings_messages.settings import MessagesSettings

if __name__ == "__main__":
    sys.exit(main(PACKAGE, MessagesSettings, create_app))
