"""Commands of the auth service: those of every service, and its own."""

import sys

from tidings.standard_variables import drop_unused

if __name__ == "__main__":
    drop_unused()  # before the imports below, which import OpenTelemetry
    from tidings.commands import main
    from tidings_auth.app import PACKAGE, create_app
    from tidings_auth.key_commands import ROTATE_KEYS
    from tidings_auth.managing import COMMANDS
    from tidings_auth.settings import AuthSettings
    from tidings_auth.tables import outbox

    sys.exit(main(PACKAGE, AuthSettings, create_app, outbox=outbox, commands=[*COMMANDS, ROTATE_KEYS]))
