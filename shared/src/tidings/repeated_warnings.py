"""Warnings that a flood of requests would repeat: written at most once a second for each kind, with their number."""

import asyncio
import logging

LOG_SECONDS = 1.0


class RepeatedWarnings:
    """Writes the first warning of a kind at once, and then how many more there were, once a second while there are any.

    Args:
        logger: the warnings are written there.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._unwritten: dict[str, int] = {}

    def warn(self, kind: str, message: str) -> None:
        """Write `message`, or count it when one of its kind was written within the last second.

        Args:
            kind: a short text from a fixed set, e.g. a problem's name; it is written before the message.
            message: what happened.
        """
        if kind in self._unwritten:
            self._unwritten[kind] += 1
            return
        self._logger.warning("%s: %s", kind, message)
        self._count_from_now(kind)

    def _count_from_now(self, kind: str) -> None:
        self._unwritten[kind] = 0
        asyncio.get_running_loop().call_later(LOG_SECONDS, self._write_number, kind)

    def _write_number(self, kind: str) -> None:
        if number := self._unwritten.pop(kind):
            self._logger.warning("%s: %d more since the last line", kind, number)
            self._count_from_now(kind)
