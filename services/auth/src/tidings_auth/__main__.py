"""Commands of the auth service: `serve`, `migrate`."""

import sys

from tidings.commands import main
from tidings_auth.app import PACKAGE, create_app
from tidings_auth.settings import AuthSettings

if __name__ == "__main__":
    sys.exit(main(PACKAGE, AuthSettings, create_app))
