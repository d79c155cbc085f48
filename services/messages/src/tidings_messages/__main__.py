"""Commands of the messages service: `serve`, `migrate`, `outbox`."""

import sys

from tidings.commands import main
from tidings_messages.app import PACKAGE, create_app
from tidings_messages.settings import MessagesSettings
from tidings_messages.tables import outbox

if __name__ == "__main__":
    sys.exit(main(PACKAGE, MessagesSettings, create_app, outbox=outbox))
