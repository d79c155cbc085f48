"""Commands of the messages service: `serve`, `migrate`, `outbox`."""

import sys

from tidings.standard_variables import drop_unused

if __name__ == "__main__":
    drop_unused()  # before the imports below, which import OpenTelemetry
    from tidings.commands import main
    from tidings_messages.app import PACKAGE, create_app
    from tidings_messages.settings import MessagesSettings
    from tidings_messages.tables import outbox

    sys.exit(main(PACKAGE, MessagesSettings, create_app, outbox=outbox))
