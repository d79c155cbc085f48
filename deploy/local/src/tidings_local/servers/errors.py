"""The launcher's errors: what a caller can tell the person at the keyboard."""


class ServerMissing(Exception):
    """A program is not installed; the text is one line that says what to install."""


class ServerFailed(Exception):
    """A server did not come up, died, or refused; the text names it and ends with its log."""
